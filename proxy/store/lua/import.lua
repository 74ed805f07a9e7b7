-- Write an exported request into a namespace that no service uses. A repeat changes nothing.
-- From `rest` on, ARGV has record fields as name and value, lines of history, then texts as name
-- and value.
local record, texts, history = key('r', id), key('x', id), key('h', id)
local first_line = rest + 2 * tonumber(field_count)
local first_text = first_line + tonumber(history_count)
local counted = redis.call('EXISTS', record) == 1
redis.call('DEL', record, texts, history)
redis.call('HSET', record, unpack(ARGV, rest, first_line - 1))
if payload ~= '' then redis.call('SET', key('p', id), payload) end
for i = first_line, first_text - 1 do redis.call('RPUSH', history, ARGV[i]) end
if #ARGV >= first_text then redis.call('HSET', texts, unpack(ARGV, first_text)) end
local new = redis.call('HMGET', record, 'state', 'decision', 'admitted_at', 'instance', 'system')
redis.call('ZADD', key('s', new[1]), new[3], id)
if not counted and not final(new[1], new[2]) then
  redis.call('HINCRBY', tag .. ':open', new[4] .. '/' .. (new[5] or ''), 1)
end
if due ~= '' then redis.call('ZADD', tag .. ':due', due, id) end
if url_digest ~= '' then redis.call('SET', key('u', url_digest), id) end
return 1
