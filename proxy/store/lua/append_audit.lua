-- Append an audit entry that is about no request, together with the value whose change it records.
-- KEYS: stream, value. `before` is '*' for any value; `entry` is a JSON object.
-- Answers 1, also for a repeat; 0 if the value is not `before`.
local now = clock(now)
local value = redis.call('GET', KEYS[2]) or ''
if value == after then return 1 end
if before ~= '*' and value ~= before then return 0 end
redis.call('SET', KEYS[2], after)
redis.call('XADD', KEYS[1], '*', '', '{"at":' .. now .. ',' .. string.sub(entry, 2))
return 1
