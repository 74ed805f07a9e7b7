-- Make the requests due that wait for a destination which is in use again: in the order of their due
-- times, `spacing` apart, so that they neither flood the destination nor delay the others, and none
-- later than it was due anyway (within `ahead` from now). Held and dead requests that met the pause
-- are included: looking at one of them once more costs little. A leased record is left alone.
-- Answers 1.
local now, ahead, spacing = clock(now), tonumber(ahead), tonumber(spacing)
local at = now
local rows = redis.call('ZRANGEBYSCORE', tag .. ':due', '(' .. now, now + ahead, 'WITHSCORES')
for i = 1, #rows, 2 do
  local id, due = rows[i], tonumber(rows[i + 1])
  local record = redis.call('HMGET', key('r', id), 'code', 'state', 'system', 'instance', 'leased')
  local waits = record[1] == 'paused' or record[2] == 'held' or record[2] == 'dead'
  local here = record[3] == destination or record[4] == destination
  if waits and here and tonumber(record[5] or '0') <= now then
    if at < due then make_due(id, at) end
    at = at + spacing
  end
end
return 1
