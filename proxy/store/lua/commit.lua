-- Write a change of one record, only if the fence is still the one it was read under.
-- ARGV: now, id, operation, expected fence, new fence, due (number | 'none' | 'keep'), lines
--       of history or '', '1' if only the newest request of its URL may change,
--       changed ticket references (as `refer` takes them), wake channel,
--       n, n record fields and values (an empty value unsets), then texts as name, value, ...
-- 'keep' leaves lease and due time alone: the same worker goes on. The operation makes a repeat
-- after a lost reply answer as the first time.
-- Answers {verdict, detail}: ok | gone | stale | superseded.
local now, id = clock(ARGV[1]), ARGV[2]
local record = key('r', id)
local old = redis.call('HMGET', record, 'fence', 'op', 'state', 'decision', 'wake', 'url',
  'admitted_at', 'instance', 'system')
if not old[1] then return {'gone', ''} end
if old[2] == ARGV[3] then return {'ok', ''} end
if old[1] ~= ARGV[4] then return {'stale', old[1]} end
if ARGV[8] == '1' then
  local newest = redis.call('GET', key('u', old[6]))
  if newest and newest ~= id then return {'superseded', newest} end
end
local n = tonumber(ARGV[11])
for i = 12, 11 + 2 * n, 2 do
  if ARGV[i + 1] == '' then redis.call('HDEL', record, ARGV[i])
  else redis.call('HSET', record, ARGV[i], ARGV[i + 1]) end
end
redis.call('HSET', record, 'op', ARGV[3], 'fence', ARGV[5])
if #ARGV > 11 + 2 * n then redis.call('HSET', key('x', id), unpack(ARGV, 12 + 2 * n)) end
local new = redis.call('HMGET', record, 'state', 'decision', 'instance', 'system')
if new[1] ~= old[3] then
  redis.call('ZREM', key('s', old[3]), id)
  redis.call('ZADD', key('s', new[1]), old[7], id)
end
local was, is = not final(old[3], old[4]), not final(new[1], new[2])
local from, to = old[8] .. '/' .. (old[9] or ''), new[3] .. '/' .. (new[4] or '')
if was ~= is or from ~= to then
  if was then redis.call('HINCRBY', tag .. ':open', from, -1) end
  if is then redis.call('HINCRBY', tag .. ':open', to, 1) end
end
refer(ARGV[9], id)
if ARGV[7] ~= '' then
  for line in string.gmatch(ARGV[7], '[^\n]+') do note(id, line) end
  redis.call('LTRIM', key('h', id), -200, -1)
end
local due = ARGV[6]
if due == 'keep' then return {'ok', ''} end
redis.call('HDEL', record, 'holder', 'leased', 'wake')
-- an event that came while we worked always leads to one more read
local wake = tonumber(old[5] or '')
if wake and (new[1] == 'pending' or new[1] == 'fulfilling') then
  redis.call('HSET', record, 'polls', 0)
  if due == 'none' or wake < tonumber(due) then due = wake end
end
if due == 'none' then redis.call('ZREM', tag .. ':due', id)
else make_due(id, tonumber(due), ARGV[10]) end
return {'ok', ''}
