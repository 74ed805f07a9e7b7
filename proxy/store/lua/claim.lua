-- Claim what is due: raise the fence and move the due time one lease forward.
-- The token makes a repeat after a lost reply answer as the first time; the lease makes a dead
-- worker need no recovery.
-- Answers {now, run id, {record, payload, texts}, ...}; record and texts are flat lists of fields.
-- The run id is read only if some record has no ticket: if an earlier server lost the intent to
-- create one, the record does not show it, but its run id differs.
-- Calling a command from Lua costs more than most commands do: each record is read once, and the
-- rest is done for all records together.
local now, last_claim = clock(now), key('c', worker)
local lease, due = tonumber(lease), tag .. ':due'

-- Return the value of a field in a flat list of names and values, and its position.
local function field(flat, name)
  for i = 1, #flat, 2 do
    if flat[i] == name then return flat[i + 1], i + 1 end
  end
end

local ids, again = {}, false
for item in string.gmatch(redis.call('GET', last_claim) or '', '%S+') do
  if again then ids[#ids + 1] = item
  elseif item == token then again = true
  else break end
end
if not again then
  ids = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, limit)
end
local answer, any_without_ticket = {now, ''}, false
local taken, payloads, scores = {}, {}, {}
for _, id in ipairs(ids) do
  local record = key('r', id)
  local flat = redis.call('HGETALL', record)
  local claimed = #flat > 0
  if again then claimed = field(flat, 'holder') == token
  elseif claimed then
    local fence, at = field(flat, 'fence')
    flat[at] = string.format('%d', fence + 1)
    redis.call('HSET', record, 'fence', flat[at], 'holder', token, 'leased', now + lease)
    scores[#scores + 1], scores[#scores + 2] = now + lease, id
  else redis.call('ZREM', due, id) end
  if claimed then
    taken[#taken + 1], payloads[#payloads + 1] = id, key('p', id)
    answer[#answer + 1] = {flat, false, redis.call('HGETALL', key('x', id))}
    any_without_ticket = any_without_ticket
      or not (field(flat, 'ticket_id') or field(flat, 'finished_at'))
  end
end
if #taken == 0 then return answer end
for i, payload in ipairs(redis.call('MGET', unpack(payloads))) do answer[2 + i][2] = payload end
if #scores > 0 then
  redis.call('ZADD', due, unpack(scores))
  redis.call('SET', last_claim, token .. ' ' .. table.concat(taken, ' '), 'PX', lease)
end
if any_without_ticket then answer[2] = run_id() end
return answer
