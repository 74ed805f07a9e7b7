-- Polling turns for ticket systems that list their changes, in the hash KEYS[1]: with a watermark,
-- store up to when the changes were read; without one, take the turn if the interval is over.
-- Answers {1 if it is the caller's turn, when the next turn is, the watermark or ''}.
local now, interval = clock(now), tonumber(interval)
if watermark ~= '' then
  redis.call('HSET', KEYS[1], system .. ':known', watermark)
  return {0, 0, watermark}
end
local stored = redis.call('HGET', KEYS[1], system .. ':known') or ''
local at = tonumber(redis.call('HGET', KEYS[1], system .. ':next') or '0')
-- a turn more than one interval away was planned by a clock that has been corrected since
if at > now and at <= now + interval then return {0, at, stored} end
redis.call('HSET', KEYS[1], system .. ':next', now + interval)
return {1, now + interval, stored}
