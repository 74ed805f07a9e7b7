-- Pauses of destinations, in the hash KEYS[1]: destination -> JSON; KEYS[2] is the audit stream.
-- Each action uses some of the arguments:
--   pause: `causes` (one), reason, by, `delay` until the first probe. A pause that exists keeps its
--          begin. Only an operator ends maintenance.
--   probe: `delay` until the next probe, less if the destination has been down for a short time.
--          Answers 1 to the one caller that may probe now.
--   resume: `causes` that it may end, separated by spaces; by, reason.
--   returned: the requests that waited have been made due.
-- Answers 1 to the caller that began or ended a pause: a repeat changes nothing.
local now = clock(now)
local stored = redis.call('HGET', KEYS[1], destination)
local pause = stored and cjson.decode(stored)
  or {since = 0, resumed_at = 0, probe_at = 0, reason = ''}
local function audit(event, cause)
  redis.call('XADD', KEYS[2], '*', '', '{"at":' .. now .. ',"event":"' .. event
    .. '","destination":' .. cjson.encode(destination) .. ',"cause":"' .. cause .. '","by":'
    .. cjson.encode(by) .. ',"reason":' .. cjson.encode(reason) .. '}')
end
local answer = 0
if action == 'pause' then
  local cause, probe_at = causes, now + tonumber(delay)
  if pause.cause == 'maintenance' and pause.since ~= 0 and cause ~= 'maintenance' then return 0 end
  if pause.since == 0 or (cause == 'maintenance' and pause.cause ~= cause) then
    answer = 1
    pause.since = now
    pause.probe_at = probe_at
    pause.returning = nil
    audit('Paused', cause)
  elseif cause == 'rate_limited' then
    pause.probe_at = math.max(pause.probe_at, probe_at)
  end
  pause.cause = cause
  pause.reason = reason
elseif action == 'probe' then
  if pause.since == 0 then return 1 end
  if pause.cause == 'maintenance' or pause.probe_at > now then return 0 end
  local again = tonumber(delay)
  if pause.cause == 'unreachable' or pause.cause == 'rate_limited' then
    again = math.min(again, math.max(1000, math.floor((now - pause.since) / 4)))
  end
  pause.probe_at = now + again
  answer = 1
elseif action == 'returned' then
  pause.returning = nil
else
  local cause = pause.cause or 'misconfigured'
  if pause.since == 0 or not string.find(' ' .. causes .. ' ', ' ' .. cause .. ' ', 1, true) then
    return 0
  end
  audit('Resumed', cause)
  pause.since = 0
  pause.resumed_at = now
  pause.returning = true
  pause.reason = ''
  answer = 1
end
redis.call('HSET', KEYS[1], destination, cjson.encode(pause))
return answer
