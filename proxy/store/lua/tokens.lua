-- Tokens: KEYS[1] is the key concerned, KEYS[2] for `sending` its turn, for `rotate` and `put` the
-- audit stream. ARGV: action, then
--   load:    answers value and remaining time (ms)
--   drop:    value: deletes exactly that value
--   begin:   owner, within (ms): 1 for the one who has the turn now
--   end:     owner
--   sending: value, owner: notes that the refresh token is on its way; 0: not current, or no turn
--   rotate:  old, new, now, entry of the audit (a JSON object, or '' where no credential changes):
--            0 where `old` is not the current one
--   put:     value, now, entry
-- Values are sealed under fresh nonces, so equal bytes are the same write: a repeat changes nothing.
local action, a, b = ARGV[1], ARGV[2], ARGV[3]
if action == 'load' then
  return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}
elseif action == 'drop' or action == 'end' then
  if redis.call('GET', KEYS[1]) == a then redis.call('DEL', KEYS[1]) end
  return 1
elseif action == 'begin' then
  local owner = redis.call('GET', KEYS[1])
  if owner and owner ~= a then return 0 end
  redis.call('SET', KEYS[1], a, 'PX', b)
  return 1
end
local current = redis.call('HGET', KEYS[1], 'token')
if action == 'sending' then
  if current ~= a or redis.call('GET', KEYS[2]) ~= b then return 0 end
  redis.call('HSET', KEYS[1], 'sent', '1')
  return 1
end
local value, now, entry = unpack(ARGV, action == 'rotate' and 3 or 2)
if current == value then return 1 end
if action == 'rotate' and current ~= a then return 0 end
redis.call('HSET', KEYS[1], 'token', value)
redis.call('HDEL', KEYS[1], 'sent')
if entry ~= '' then
  redis.call('XADD', KEYS[2], '*', '', '{"at":' .. clock(now) .. ',' .. string.sub(entry, 2))
end
return 1
