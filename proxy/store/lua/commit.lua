-- Write a change of one record, only if the fence is still the one it was read under.
-- ARGV: id, operation, expected fence, new fence, due (number | 'none' | 'keep'), lines of history
--       or '', '1' if only the newest request of its URL may change, changed ticket
--       references (as `refer` takes them), wake channel,
--       n, n record fields and values (an empty value unsets), then texts as name, value, ...
-- 'keep' leaves lease and due time alone: the same worker goes on. The operation makes a repeat
-- after a lost reply answer as the first time.
-- Answers {verdict, detail}: ok | gone | stale | superseded.
-- To call a command from here costs more than what most commands do, so fields are set together,
-- and unset together, and what was just written is not read back.
local id, due = ARGV[1], ARGV[5]
local record = key('r', id)
local old = redis.call('HMGET', record, 'fence', 'op', 'state', 'decision', 'wake', 'url',
  'admitted_at', 'instance', 'system')
if not old[1] then return {'gone', ''} end
if old[2] == ARGV[2] then return {'ok', ''} end
if old[1] ~= ARGV[3] then return {'stale', old[1]} end
if ARGV[7] == '1' then
  local newest = redis.call('GET', key('u', old[6]))
  if newest and newest ~= id then return {'superseded', newest} end
end
local new = {state = old[3], decision = old[4], instance = old[8], system = old[9] or ''}
local set, unset = {'op', ARGV[2], 'fence', ARGV[4]}, {}
local texts = 11 + 2 * tonumber(ARGV[10])
for i = 11, texts - 2, 2 do
  local name, value = ARGV[i], ARGV[i + 1]
  new[name] = value
  if value == '' then unset[#unset + 1] = name
  else set[#set + 1], set[#set + 2] = name, value end
end
if due ~= 'keep' then
  for _, name in ipairs({'holder', 'leased', 'wake'}) do unset[#unset + 1] = name end
  -- an event that came while we worked always leads to one more read
  local wake = tonumber(old[5] or '')
  if wake and (new.state == 'pending' or new.state == 'fulfilling') then
    set[#set + 1], set[#set + 2] = 'polls', 0
    if due == 'none' or wake < tonumber(due) then due = wake end
  end
end
redis.call('HSET', record, unpack(set))
if #unset > 0 then redis.call('HDEL', record, unpack(unset)) end
if #ARGV >= texts then redis.call('HSET', key('x', id), unpack(ARGV, texts)) end
if new.state ~= old[3] then
  redis.call('ZREM', key('s', old[3]), id)
  redis.call('ZADD', key('s', new.state), old[7], id)
end
local was, is = not final(old[3], old[4]), not final(new.state, new.decision)
local from, to = old[8] .. '/' .. (old[9] or ''), new.instance .. '/' .. new.system
if was ~= is or from ~= to then
  if was then redis.call('HINCRBY', tag .. ':open', from, -1) end
  if is then redis.call('HINCRBY', tag .. ':open', to, 1) end
end
refer(ARGV[8], id)
local lines = {}
for line in string.gmatch(ARGV[6], '[^\n]+') do lines[#lines + 1] = line end
if #lines > 0 then note(id, lines) end
if due == 'none' then redis.call('ZREM', tag .. ':due', id)
elseif due ~= 'keep' then make_due(id, tonumber(due), ARGV[9]) end
return {'ok', ''}
