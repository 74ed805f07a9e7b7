-- Who seals the audit now, and how far it is sealed; in the hash KEYS[1].
-- ARGV: action, now, owner, then
--   take: lease (ms)   answers {1 for whoever holds the lease, lines, hash, positions}
--   advance: hash before, lines, hash, positions   answers 1 while the lease is the caller's; a
--            repeat answers as the first time
local action, now, owner = ARGV[1], clock(ARGV[2]), ARGV[3]
local old = redis.call('HMGET', KEYS[1], 'owner', 'until', 'hash', 'lines', 'positions')
if action == 'take' then
  local free = old[1] == owner or tonumber(old[2] or '0') <= now
  local lease, left = tonumber(ARGV[4]), tonumber(old[2] or '0') - now
  -- written only where it is more than half over: an idle sealer costs the disk little
  if free and (old[1] ~= owner or left < lease / 2 or lease == 0) then
    redis.call('HSET', KEYS[1], 'owner', owner, 'until', now + lease)
  end
  return {free and 1 or 0, old[4] or '0', old[3] or '', old[5] or '{}'}
end
if old[1] ~= owner then return 0 end
if old[3] == ARGV[6] then return 1 end
if (old[3] or '') ~= ARGV[4] then return 0 end
redis.call('HSET', KEYS[1], 'lines', ARGV[5], 'hash', ARGV[6], 'positions', ARGV[7])
return 1
