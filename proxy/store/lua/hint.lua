-- An event about a ticket: read the ticket soon, and restart the fast phase of its polls. A finished
-- request's ticket is read as well, because a reversed decision raises an alarm.
-- A token bucket (GCRA) per record allows `burst` reads at once, then one per interval. A read that
-- is planned soon enough answers the event, so nothing is added.
-- Answers the verdict: soon | planned | ignored (no ticket can be read in this state).
local now = clock(now)
local interval, burst = tonumber(interval), tonumber(burst)
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
audit(id, '{"at":' .. now .. ',"event":"Hinted","state":"' .. old[1] .. '","by":"' .. source .. '"}')
if leased then redis.call('HSET', record, 'wake', at)
else
  redis.call('HSET', record, 'polls', 0)
  make_due(id, at)
end
return 'soon'
