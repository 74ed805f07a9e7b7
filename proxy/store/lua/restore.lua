-- Write back a request that the store lost, or has in an older state than the audit.
-- `fence` is that of the record to replace, '' if there must be none; an empty `payload` keeps the
-- stored one. From `rest` on, ARGV has lines of history (the last one is new, and goes into the
-- audit), record fields as name and value, then texts as name and value.
-- The operation makes a repeat after a lost reply answer as the first time.
-- Answers ok | stale | superseded (a newer request has its URL).
local now = clock(now)
local record = key('r', id)
local old = redis.call('HMGET', record, 'fence', 'op', 'state', 'decision', 'instance', 'system')
if old[2] == operation then return 'ok' end
if (old[1] or '') ~= fence then return 'stale' end
local first_field = rest + tonumber(history_count)
local first_text = first_field + 2 * tonumber(field_count)
local fields = {unpack(ARGV, first_field, first_text - 1)}
local new = {}
for i = 1, #fields, 2 do new[fields[i]] = fields[i + 1] end
local is_final = final(new.state, new.decision)
local url = key('u', new.url)
local newest = redis.call('GET', url)
if newest and newest ~= id and redis.call('EXISTS', key('r', newest)) == 1 then
  if not is_final then return 'superseded' end
else redis.call('SET', url, id) end
if old[1] then
  redis.call('ZREM', key('s', old[3]), id)
  if not final(old[3], old[4]) then
    redis.call('HINCRBY', tag .. ':open', old[5] .. '/' .. (old[6] or ''), -1)
  end
end
redis.call('DEL', record, key('x', id), key('h', id))
redis.call('HSET', record, 'op', operation, unpack(fields))
if #ARGV >= first_text then redis.call('HSET', key('x', id), unpack(ARGV, first_text)) end
if payload ~= '' then redis.call('SET', key('p', id), payload) end
redis.call('ZADD', key('s', new.state), new.admitted_at, id)
if not is_final then
  redis.call('HINCRBY', tag .. ':open', new.instance .. '/' .. (new.system or ''), 1)
end
update_ticket_index(references, id)
for i = rest, first_field - 2 do redis.call('RPUSH', key('h', id), ARGV[i]) end
append_history(id, {ARGV[first_field - 1]})
local due = due_time(new, now, tonumber(retention))
if due then make_due(id, due) else redis.call('ZREM', tag .. ':due', id) end
return 'ok'
