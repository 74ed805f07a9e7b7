-- An event about a ticket: read it soon and restart the fast phase of its polls. Nothing else. Of a
-- finished request it is read as well: a decision that was reversed is an alarm.
-- ARGV: now, id, interval (ms), burst, wake channel, who says so. A token bucket (GCRA) per record:
-- `burst` reads at once, then one per interval; an event within a time for which a read is already
-- planned adds nothing, because that read comes after it.
-- Answers the verdict: soon | planned | ignored (no ticket to read in this state).
local now, id = clock(ARGV[1]), ARGV[2]
local interval, burst = tonumber(ARGV[3]), tonumber(ARGV[4])
local record = key('r', id)
local old = redis.call('HMGET', record, 'state', 'leased', 'wake', 'bucket')
if old[1] ~= 'pending' and old[1] ~= 'fulfilling' and old[1] ~= 'done' then return 'ignored' end
local full = math.max(tonumber(old[4] or '0'), now)
local at = math.max(now, full - (burst - 1) * interval)
local leased = tonumber(old[2] or '0') > now
local planned
if leased then planned = tonumber(old[3] or '')
else planned = tonumber(redis.call('ZSCORE', tag .. ':due', id) or '') end
if planned and planned >= now and planned <= at then return 'planned' end
redis.call('HSET', record, 'bucket', full + interval)
audit(id, '{"at":' .. now .. ',"event":"Hinted","state":"' .. old[1] .. '","by":"' .. ARGV[6] .. '"}')
if leased then redis.call('HSET', record, 'wake', at)
else
  redis.call('HSET', record, 'polls', 0)
  make_due(id, at, ARGV[5])
end
return 'soon'
