-- Write back a request that the store lost, or has in an older state than is known of it.
-- ARGV: now, id, operation, fence of the record that is replaced ('' where there must be none),
--       retention (ms), wake channel, ticket references (as `refer` takes them),
--       payload ('' keeps it), m, m lines of history (the last one is new, and for the audit),
--       n, n record fields and values, then texts as name, value, ...
-- Answers ok | stale | superseded (a newer request has its URL). The operation makes a repeat after
-- a lost reply answer as the first time.
local now, id = clock(ARGV[1]), ARGV[2]
local record = key('r', id)
local old = redis.call('HMGET', record, 'fence', 'op', 'state', 'decision', 'instance', 'system')
if old[2] == ARGV[3] then return 'ok' end
if (old[1] or '') ~= ARGV[4] then return 'stale' end
local m = tonumber(ARGV[9])
local n = tonumber(ARGV[10 + m])
local fields = {unpack(ARGV, 11 + m, 10 + m + 2 * n)}
local new = {}
for i = 1, 2 * n, 2 do new[fields[i]] = fields[i + 1] end
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
redis.call('HSET', record, 'op', ARGV[3], unpack(fields))
if #ARGV > 10 + m + 2 * n then
  redis.call('HSET', key('x', id), unpack(ARGV, 11 + m + 2 * n))
end
if ARGV[8] ~= '' then redis.call('SET', key('p', id), ARGV[8]) end
redis.call('ZADD', key('s', new.state), new.admitted_at, id)
if not is_final then
  redis.call('HINCRBY', tag .. ':open', new.instance .. '/' .. (new.system or ''), 1)
end
refer(ARGV[7], id)
for i = 10, 8 + m do redis.call('RPUSH', key('h', id), ARGV[i]) end
note(id, {ARGV[9 + m]})
local due = due_of(new, now, tonumber(ARGV[5]))
if due then make_due(id, due, ARGV[6]) else redis.call('ZREM', tag .. ':due', id) end
return 'ok'
