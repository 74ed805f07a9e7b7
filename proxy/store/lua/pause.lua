-- Pauses of destinations, in the hash KEYS[1]: destination -> JSON; KEYS[2] is the audit stream.
-- ARGV: action, now, destination, then
--   pause: cause, reason, who, first probe after (ms)
--          a pause that stands keeps its beginning; maintenance ends by an operator alone
--   probe: next probe after (ms), sooner where it is down for a short time only
--          answers 1 for the one caller that may try now
--   resume: causes that it may end, separated by spaces, who, reason
--   returned: what waited has been brought back
-- Answers 1 to the caller that began or ended a pause: a repeat changes nothing.
local action, now, name = ARGV[1], clock(ARGV[2]), ARGV[3]
local found = redis.call('HGET', KEYS[1], name)
local pause = found and cjson.decode(found) or {since = 0, resumed_at = 0, probe_at = 0, reason = ''}
local function audit(event, cause, by, reason)
  redis.call('XADD', KEYS[2], '*', '', '{"at":' .. now .. ',"event":"' .. event
    .. '","destination":' .. cjson.encode(name) .. ',"cause":"' .. cause .. '","by":'
    .. cjson.encode(by) .. ',"reason":' .. cjson.encode(reason) .. '}')
end
local answer = 0
if action == 'pause' then
  local cause, reason, by, probe_at = ARGV[4], ARGV[5], ARGV[6], now + tonumber(ARGV[7])
  if pause.cause == 'maintenance' and pause.since ~= 0 and cause ~= 'maintenance' then return 0 end
  if pause.since == 0 or (cause == 'maintenance' and pause.cause ~= cause) then
    answer = 1
    pause.since = now
    pause.probe_at = probe_at
    pause.returning = nil
    audit('Paused', cause, by, reason)
  elseif cause == 'rate_limited' then
    pause.probe_at = math.max(pause.probe_at, probe_at)
  end
  pause.cause = cause
  pause.reason = reason
elseif action == 'probe' then
  if pause.since == 0 then return 1 end
  if pause.cause == 'maintenance' or pause.probe_at > now then return 0 end
  local again = tonumber(ARGV[4])
  if pause.cause == 'unreachable' or pause.cause == 'rate_limited' then
    again = math.min(again, math.max(1000, math.floor((now - pause.since) / 4)))
  end
  pause.probe_at = now + again
  answer = 1
elseif action == 'returned' then
  pause.returning = nil
else
  local cause = pause.cause or 'misconfigured'
  if pause.since == 0 or not string.find(' ' .. ARGV[4] .. ' ', ' ' .. cause .. ' ', 1, true) then
    return 0
  end
  audit('Resumed', cause, ARGV[5], ARGV[6])
  pause.since = 0
  pause.resumed_at = now
  pause.returning = true
  pause.reason = ''
  answer = 1
end
redis.call('HSET', KEYS[1], name, cjson.encode(pause))
return answer
