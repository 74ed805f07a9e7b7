-- Whose turn it is to ask a ticket system for everything that changed; in the hash KEYS[1].
-- ARGV: now, ticket system, interval (ms), then nothing to take a turn, or
--       a moment: what changed up to then is known now.
-- Answers {1 if it is the caller's turn, when the next turn is, the last such moment or ''}.
local now, system, interval = clock(ARGV[1]), ARGV[2], tonumber(ARGV[3])
if ARGV[4] then
  redis.call('HSET', KEYS[1], system .. ':known', ARGV[4])
  return {0, 0, ARGV[4]}
end
local known = redis.call('HGET', KEYS[1], system .. ':known') or ''
local at = tonumber(redis.call('HGET', KEYS[1], system .. ':next') or '0')
-- a turn further away than one interval was planned by a clock that has been put right since
if at > now and at <= now + interval then return {0, at, known} end
redis.call('HSET', KEYS[1], system .. ':next', now + interval)
return {1, now + interval, known}
