-- Prepended to every script.

-- Return the time in ms: the server's if the argument is empty; tests pass a time.
local function clock(now)
  if now ~= '' then return tonumber(now) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

