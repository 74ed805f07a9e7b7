-- Claim what is due: raise the fence and move the due time one lease forward.
-- ARGV: now, worker, token, limit, lease (ms). The token makes a repeat after a lost reply answer
-- as the first time; the lease makes a dead worker need no recovery.
-- Answers {now, run id, uptime (s), {record, payload, texts}, ...}; record and texts are flat lists
-- of fields. The server is asked who it is only where a ticket may have to be created: by then, an
-- intent that an earlier server lost is missing from the record, and shows by the other run id.
local now, worker, token = clock(ARGV[1]), key('c', ARGV[2]), ARGV[3]
local lease = tonumber(ARGV[5])
local ids = {}
local last = redis.call('HGET', worker, token)
if last then
  for id in string.gmatch(last, '%S+') do
    if redis.call('HGET', key('r', id), 'holder') == token then ids[#ids + 1] = id end
  end
else
  local due = redis.call('ZRANGEBYSCORE', tag .. ':due', '-inf', now, 'LIMIT', 0, ARGV[4])
  for _, id in ipairs(due) do
    local record = key('r', id)
    if redis.call('EXISTS', record) == 1 then
      redis.call('HINCRBY', record, 'fence', 1)
      redis.call('HSET', record, 'holder', token, 'leased', now + lease)
      redis.call('ZADD', tag .. ':due', now + lease, id)
      ids[#ids + 1] = id
    else
      redis.call('ZREM', tag .. ':due', id)
    end
  end
  if #ids > 0 then
    redis.call('DEL', worker)
    redis.call('HSET', worker, token, table.concat(ids, ' '))
    redis.call('PEXPIRE', worker, lease)
  end
end
local answer = {now, '', '0'}
for _, id in ipairs(ids) do
  if answer[2] == '' and redis.call('HGET', key('r', id), 'state') == 'received' then
    local info = redis.call('INFO', 'server')
    answer[2] = string.match(info, 'run_id:(%w+)')
    answer[3] = string.match(info, 'uptime_in_seconds:(%d+)')
  end
  answer[#answer + 1] = {redis.call('HGETALL', key('r', id)), redis.call('GET', key('p', id)),
    redis.call('HGETALL', key('x', id))}
end
return answer
