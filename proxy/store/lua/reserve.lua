-- One holder at a time. KEYS[1]; ARGV: who, for how long (ms). Answers who holds it now.
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
