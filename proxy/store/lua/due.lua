-- When a request wants attention if nobody has said when; nil where only a person can move it on.
local function due_of(it, now, retention)
  local told = tonumber(it.untold or '0') == 0
  if final(it.state, it.decision) then
    return (it.state == 'done' and not told) and now or (it.finished_at or now) + retention
  end
  if it.state ~= 'held' and it.state ~= 'dead' then return now end
  if not it.decision and tonumber(it.fired or '0') == 0 then
    return math.max(now, tonumber(it.deadline_at or now))
  end
end
