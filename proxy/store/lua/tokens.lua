-- Shared tokens. KEYS[1] is the key of the token or turn; KEYS[2] is the turn (sending) or the
-- audit stream (rotate, put). Each action uses some of the arguments:
--   load: answers {token, remaining ms}
--   drop: deletes `token`, if it is the stored one
--   begin: takes the turn for `owner` for `duration` ms; answers 1 to its holder
--   end: gives up the turn of `owner`
--   sending: notes that `owner` is about to send the refresh token `token`; answers 0 if it is not
--            the current one, or the turn is another's
--   rotate: replaces `token` with `new_token`; answers 0 if it is not the current one. `entry` is
--           the audit's, a JSON object, or '' if the credential stays the same.
--   put: stores `new_token`, with its audit `entry`
-- Each encryption has a nonce of its own, so equal bytes are the same write: a repeat changes
-- nothing.
if action == 'load' then
  return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}
elseif action == 'drop' or action == 'end' then
  if redis.call('GET', KEYS[1]) == (action == 'drop' and token or owner) then
    redis.call('DEL', KEYS[1])
  end
  return 1
elseif action == 'begin' then
  local holder = redis.call('GET', KEYS[1])
  if holder and holder ~= owner then return 0 end
  redis.call('SET', KEYS[1], owner, 'PX', duration)
  return 1
end
local current = redis.call('HGET', KEYS[1], 'token')
if action == 'sending' then
  if current ~= token or redis.call('GET', KEYS[2]) ~= owner then return 0 end
  redis.call('HSET', KEYS[1], 'sent', '1')
  return 1
end
if current == new_token then return 1 end
if action == 'rotate' and current ~= token then return 0 end
redis.call('HSET', KEYS[1], 'token', new_token)
redis.call('HDEL', KEYS[1], 'sent')
if entry ~= '' then
  redis.call('XADD', KEYS[2], '*', '', '{"at":' .. clock(now) .. ',' .. string.sub(entry, 2))
end
return 1
