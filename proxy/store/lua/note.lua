-- An entry of the audit that is about no request, together with the value whose change it tells.
-- KEYS: stream, value. ARGV: now, value before ('*': whatever it is), value after, entry (a JSON
-- object). Answers 1, also for a repeat; 0 where the value before is another one.
local now, before, after = clock(ARGV[1]), ARGV[2], ARGV[3]
local found = redis.call('GET', KEYS[2]) or ''
if found == after then return 1 end
if before ~= '*' and found ~= before then return 0 end
redis.call('SET', KEYS[2], after)
redis.call('XADD', KEYS[1], '*', '', '{"at":' .. now .. ',' .. string.sub(ARGV[4], 2))
return 1
