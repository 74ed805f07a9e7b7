-- Write a change of one record, if its fence is still the one under which it was read.
-- `due` is a time, 'none' (never by itself) or 'keep' (lease and due time stay, because the same
-- worker continues). `only_newest` is '1' if only the newest request of a URL may change. From
-- `rest` on, ARGV has record fields, then texts, as name and value; an empty value unsets a field.
-- The operation makes a repeat after a lost reply answer as the first time.
-- Answers {verdict, detail}: ok | gone | stale | superseded.
-- Calling a command from Lua costs more than most commands do: fields are set together and unset
-- together, and what was just written is not read back.
local record = key('r', id)
local old = redis.call('HMGET', record, 'fence', 'op', 'state', 'decision', 'wake', 'url',
  'admitted_at', 'instance', 'system')
if not old[1] then return {'gone', ''} end
if old[2] == operation then return {'ok', ''} end
if old[1] ~= expected_fence then return {'stale', old[1]} end
if only_newest == '1' then
  local newest = redis.call('GET', key('u', old[6]))
  if newest and newest ~= id then return {'superseded', newest} end
end
local new = {state = old[3], decision = old[4], instance = old[8], system = old[9] or ''}
local set, unset = {'op', operation, 'fence', fence}, {}
local first_text = rest + 2 * tonumber(field_count)
for i = rest, first_text - 2, 2 do
  local name, value = ARGV[i], ARGV[i + 1]
  new[name] = value
  if value == '' then unset[#unset + 1] = name
  else set[#set + 1], set[#set + 2] = name, value end
end
if due ~= 'keep' then
  for _, name in ipairs({'holder', 'leased', 'wake'}) do unset[#unset + 1] = name end
  -- an event that came while a worker held the record always leads to one more read
  local wake = tonumber(old[5] or '')
  if wake and (new.state == 'pending' or new.state == 'fulfilling') then
    set[#set + 1], set[#set + 2] = 'polls', 0
    if due == 'none' or wake < tonumber(due) then due = wake end
  end
end
redis.call('HSET', record, unpack(set))
if #unset > 0 then redis.call('HDEL', record, unpack(unset)) end
if #ARGV >= first_text then redis.call('HSET', key('x', id), unpack(ARGV, first_text)) end
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
update_ticket_index(references, id)
local lines = {}
for line in string.gmatch(history, '[^\n]+') do lines[#lines + 1] = line end
if #lines > 0 then append_history(id, lines) end
if due == 'none' then redis.call('ZREM', tag .. ':due', id)
elseif due ~= 'keep' then make_due(id, tonumber(due)) end
return {'ok', ''}
