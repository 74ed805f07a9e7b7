-- Pauses of destinations, in the hash KEYS[1]: destination -> JSON.
-- ARGV: action, now, destination, then
--   pause: reason, first probe after (ms)   a pause that stands keeps its beginning
--   probe: next probe after (ms)            answers 1 for the one caller that may try now
--   resume:                                 answers 1 if it was paused
local action, now, name = ARGV[1], ARGV[2], ARGV[3]
if now == '' then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
now = tonumber(now)
local found = redis.call('HGET', KEYS[1], name)
local pause = found and cjson.decode(found) or {since = 0, resumed_at = 0, probe_at = 0, reason = ''}
local answer = 0
if action == 'pause' then
  if pause.since == 0 then
    answer = 1
    pause.since = now
    pause.probe_at = now + tonumber(ARGV[5])
  end
  pause.reason = ARGV[4]
elseif action == 'probe' then
  if pause.since == 0 then return 1 end
  if pause.probe_at > now then return 0 end
  pause.probe_at = now + tonumber(ARGV[4])
  answer = 1
else
  if pause.since == 0 then return 0 end
  pause.since = 0
  pause.resumed_at = now
  pause.reason = ''
  answer = 1
end
redis.call('HSET', KEYS[1], name, cjson.encode(pause))
return answer
