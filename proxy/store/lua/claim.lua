-- Claim what is due: raise the fence and move the due time one lease forward.
-- ARGV: now, worker, token, limit, lease (ms). The token makes a repeat after a lost reply answer
-- as the first time; the lease makes a dead worker need no recovery.
-- Answers {now, run id, {record, payload, texts}, ...}; record and texts are flat lists of fields. The
-- server is asked who it is only where no ticket is known: an intent to create one that an earlier
-- server lost is missing from the record, and shows by the other run id.
-- To call a command from here costs more than most commands do: each record is read once, and what
-- can be done for all of them together is.
local now, worker, token = clock(ARGV[1]), key('c', ARGV[2]), ARGV[3]
local lease, due = tonumber(ARGV[5]), tag .. ':due'

-- The value of a field in a flat list of names and values, and where it stands.
local function field(flat, name)
  for i = 1, #flat, 2 do
    if flat[i] == name then return flat[i + 1], i + 1 end
  end
end

local ids, again = {}, false
for word in string.gmatch(redis.call('GET', worker) or '', '%S+') do
  if again then ids[#ids + 1] = word
  elseif word == token then again = true
  else break end
end
if not again then
  ids = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, ARGV[4])
end
local answer, unknown = {now, ''}, false
local taken, payloads, scores = {}, {}, {}
for _, id in ipairs(ids) do
  local record = key('r', id)
  local flat = redis.call('HGETALL', record)
  local ours = #flat > 0
  if again then ours = field(flat, 'holder') == token
  elseif ours then
    local fence, place = field(flat, 'fence')
    flat[place] = string.format('%d', fence + 1)
    redis.call('HSET', record, 'fence', flat[place], 'holder', token, 'leased', now + lease)
    scores[#scores + 1], scores[#scores + 2] = now + lease, id
  else redis.call('ZREM', due, id) end
  if ours then
    taken[#taken + 1], payloads[#payloads + 1] = id, key('p', id)
    answer[#answer + 1] = {flat, false, redis.call('HGETALL', key('x', id))}
    unknown = unknown or not (field(flat, 'ticket_id') or field(flat, 'finished_at'))
  end
end
if #taken == 0 then return answer end
for i, payload in ipairs(redis.call('MGET', unpack(payloads))) do answer[2 + i][2] = payload end
if #scores > 0 then
  redis.call('ZADD', due, unpack(scores))
  redis.call('SET', worker, token .. ' ' .. table.concat(taken, ' '), 'PX', lease)
end
if unknown then answer[2] = run_id() end
return answer
