-- Admit a hook call: record, payload and all indices in one step, or say what is there already.
-- ARGV: now, id, content, url digest, payload, reuse after final (1|0), decision deadline (ms),
--       wake channel, instance, client, system, route, request id, run id, version
-- Answers {verdict, id}: new | same (a repeat, or our own admission after a lost reply)
--         | open (different content while that request is open) | used (final, but no reuse).
local now, id, content, url = clock(ARGV[1]), ARGV[2], ARGV[3], key('u', ARGV[4])
local newest = redis.call('GET', url)
if newest then
  local found = redis.call('HMGET', key('r', newest), 'content', 'state', 'decision')
  local state = found[2]
  if state then
    if found[1] == content then return {'same', newest} end
    if not final(state, found[3]) then return {'open', newest} end
    if ARGV[6] == '0' then return {'used', newest} end
  end
end
redis.call('HSET', key('r', id), 'id', id, 'state', 'received', 'content', content,
  'url', ARGV[4], 'fence', 0, 'admitted_at', now, 'deadline_at', now + tonumber(ARGV[7]),
  'instance', ARGV[9], 'client', ARGV[10], 'system', ARGV[11], 'route', ARGV[12],
  'request_id', ARGV[13], 'run_id', ARGV[14], 'version', ARGV[15])
redis.call('MSET', key('p', id), ARGV[5], url, id)
redis.call('ZADD', key('s', 'received'), now, id)
redis.call('HINCRBY', tag .. ':open', ARGV[9] .. '/' .. ARGV[11], 1)
-- the history of a request begins with what its record says anyway, so it is not written twice
audit(id, '{"at":' .. now .. ',"event":"Admitted","state":"received","by":"' .. ARGV[9] .. '/' .. ARGV[10] .. '"}')
make_due(id, now, ARGV[8])
return {'new', id}
