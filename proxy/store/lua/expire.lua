-- Retention: remove a finished request with payload, texts, history and index members.
-- An index entry that another request has taken over stays.
-- Answers 1, also if nothing is left; 0 if the request is no longer final.
local now = clock(now)
local record = key('r', id)
local old = redis.call('HMGET', record, 'fence', 'state', 'decision', 'url', 'system',
  'ticket_id', 'ticket_key')
if not old[1] then return 1 end
if old[1] ~= fence or not final(old[2], old[3]) then return 0 end
drop(key('u', old[4]), id)
if old[6] then drop(key('t', old[5] .. ':' .. old[6]), id) end
if old[7] then drop(key('t', old[5] .. ':' .. old[7]), id) end
redis.call('ZREM', tag .. ':due', id)
redis.call('ZREM', key('s', old[2]), id)
redis.call('DEL', record, key('p', id), key('x', id), key('h', id))
audit(id, '{"at":' .. now .. ',"event":"Expired","state":"' .. old[2] .. '"}')
return 1
