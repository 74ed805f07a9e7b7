-- Admit a hook call: record, payload and all indices in one step; or answer which request has its
-- URL already.
-- Answers {verdict, id}: new | same (a repeat, or our own admission after a lost reply)
--         | open (other content, and that request is open) | used (it is final, and no reuse).
local now, url = clock(now), key('u', url_digest)
local newest = redis.call('GET', url)
if newest then
  local old = redis.call('HMGET', key('r', newest), 'content', 'state', 'decision')
  local state = old[2]
  if state then
    if old[1] == content_digest then return {'same', newest} end
    if not final(state, old[3]) then return {'open', newest} end
    if reuse_after_final == '0' then return {'used', newest} end
  end
end
redis.call('HSET', key('r', id), 'id', id, 'state', 'received', 'content', content_digest,
  'url', url_digest, 'fence', 0, 'admitted_at', now, 'deadline_at', now + tonumber(decision_deadline),
  'instance', instance, 'client', client, 'system', system, 'route', route,
  'request_id', request_id, 'run_id', server_run_id, 'version', version)
redis.call('MSET', key('p', id), payload, url, id)
redis.call('ZADD', key('s', 'received'), now, id)
redis.call('HINCRBY', tag .. ':open', instance .. '/' .. system, 1)
-- a request's history begins with its admission, which its record shows anyway: no line for it
audit(id, '{"at":' .. now .. ',"event":"Admitted","state":"received","by":"' .. instance .. '/' .. client .. '"}')
make_due(id, now)
return {'new', id}
