-- Write a request as an export has it, into a namespace that no service uses. A repeat changes
-- nothing.
-- ARGV: id, due ('' where it never is), digest of its URL ('' where a newer request has that),
--       payload, n, n record fields and values, m, m lines of history, then texts as name, value,
--       ...
local id = ARGV[1]
local record, texts, history = key('r', id), key('x', id), key('h', id)
local n = tonumber(ARGV[5])
local m = tonumber(ARGV[6 + 2 * n])
local last = 6 + 2 * n + m
local counted = redis.call('EXISTS', record) == 1
redis.call('DEL', record, texts, history)
redis.call('HSET', record, unpack(ARGV, 6, 5 + 2 * n))
if ARGV[4] ~= '' then redis.call('SET', key('p', id), ARGV[4]) end
for i = 7 + 2 * n, last do redis.call('RPUSH', history, ARGV[i]) end
if #ARGV > last then redis.call('HSET', texts, unpack(ARGV, last + 1)) end
local kept = redis.call('HMGET', record, 'state', 'decision', 'admitted_at', 'instance', 'system')
redis.call('ZADD', key('s', kept[1]), kept[3], id)
if not counted and not final(kept[1], kept[2]) then
  redis.call('HINCRBY', tag .. ':open', kept[4] .. '/' .. (kept[5] or ''), 1)
end
if ARGV[2] ~= '' then redis.call('ZADD', tag .. ':due', ARGV[2], id) end
if ARGV[3] ~= '' then redis.call('SET', key('u', ARGV[3]), id) end
return 1
