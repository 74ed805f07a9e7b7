-- Bring back what waits for a destination that is in use again: in the order in which it was due,
-- so far apart that it neither floods the destination nor crowds out the others, none later than it
-- was due anyway. What was set aside keeps the reason for that while it waits, so it is brought back
-- as well: to look at it once more costs little. What somebody works on is theirs.
-- ARGV: now, destination, how far ahead that may be due (ms), time between two (ms), wake channel.
-- Answers 1.
local now, name, ahead, between = clock(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local at = now
local rows = redis.call('ZRANGEBYSCORE', tag .. ':due', '(' .. now, now + ahead, 'WITHSCORES')
for i = 1, #rows, 2 do
  local id, due = rows[i], tonumber(rows[i + 1])
  local it = redis.call('HMGET', key('r', id), 'code', 'state', 'system', 'instance', 'leased')
  local waits = it[1] == 'paused' or it[2] == 'held' or it[2] == 'dead'
  local here = it[3] == name or it[4] == name
  if waits and here and tonumber(it[5] or '0') <= now then
    if at < due then make_due(id, at, ARGV[5]) end
    at = at + between
  end
end
return 1
