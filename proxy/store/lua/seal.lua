-- Which process seals the audit, and how far it is sealed; in the hash KEYS[1].
-- Each action uses some of the arguments:
--   take: `lease`. Answers {1 if the caller has the lease, lines, hash, positions}.
--   advance: `expected_hash`, `lines`, `hash`, `positions`. Answers 1 while the caller has the
--            lease; a repeat answers as the first time.
local now = clock(now)
local old = redis.call('HMGET', KEYS[1], 'owner', 'until', 'hash', 'lines', 'positions')
if action == 'take' then
  local lease, remaining = tonumber(lease), tonumber(old[2] or '0') - now
  local free = old[1] == owner or remaining <= 0
  -- written only when more than half of it is over, so that an idle sealer costs the disk little
  if free and (old[1] ~= owner or remaining < lease / 2 or lease == 0) then
    redis.call('HSET', KEYS[1], 'owner', owner, 'until', now + lease)
  end
  return {free and 1 or 0, old[4] or '0', old[3] or '', old[5] or '{}'}
end
if old[1] ~= owner then return 0 end
if old[3] == hash then return 1 end
if (old[3] or '') ~= expected_hash then return 0 end
redis.call('HSET', KEYS[1], 'lines', lines, 'hash', hash, 'positions', positions)
return 1
