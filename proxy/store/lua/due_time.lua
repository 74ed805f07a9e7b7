-- Return when a request is due whose due time is not stored; nil if only a person can continue it.
local function due_time(record, now, retention)
  local notified = tonumber(record.untold or '0') == 0
  if final(record.state, record.decision) then
    return (record.state == 'done' and not notified) and now or (record.finished_at or now) + retention
  end
  if record.state ~= 'held' and record.state ~= 'dead' then return now end
  if not record.decision and tonumber(record.fired or '0') == 0 then
    return math.max(now, tonumber(record.deadline_at or now))
  end
end

