-- Compare the indices of one partition with its records, from which every index can be made again.
-- `repair` is '1' to correct what differs. From `rest` on, ARGV has what to compare: names of keys
-- without the tag (r:ID, u:URL, t:SYS:REF, p:ID, x:ID, h:ID), a request in a list (s:STATE:ID) or
-- due (due:ID), or 'counts STATE ...' for the counts of open requests over the lists of these
-- states. Any other name is skipped.
-- Answers {about, kind, index, stored} for each difference: see store/index_check.py.
local now, retention = clock(now), tonumber(retention)
local NAMES = {'state', 'decision', 'url', 'instance', 'system', 'ticket_id', 'ticket_key',
  'admitted_at', 'deadline_at', 'finished_at', 'fired', 'untold'}
local answer = {}

-- Report a difference; true if it is to be corrected.
local function differs(about, kind, index, stored)
  answer[#answer + 1] = {about, kind, index, stored or ''}
  return repair == '1'
end

local function read(id)
  local values = redis.call('HMGET', key('r', id), unpack(NAMES))
  if not values[1] then return nil end
  local record = {}
  for i, name in ipairs(NAMES) do record[name] = values[i] ~= '' and values[i] or nil end
  return record
end

local function open(record) return not final(record.state, record.decision) end

local function compare_list(id, record)
  local list, expected = key('s', record.state), tonumber(record.admitted_at)
  if tonumber(redis.call('ZSCORE', list, id) or '') ~= expected
    and differs(id, 'unlisted', record.state) then redis.call('ZADD', list, expected, id) end
end

local function compare_due(id, record)
  local expected = due_time(record, now, retention)
  if expected and not redis.call('ZSCORE', tag .. ':due', id)
    and differs(id, 'never due', 'due') then make_due(id, expected) end
end

-- True if a request is newer than another one with its URL; at most one of them is open.
local function newer(record, other)
  if open(record) ~= open(other) then return open(record) end
  return tonumber(record.admitted_at) > tonumber(other.admitted_at)
end

local function compare_url(id, record)
  local index = key('u', record.url)
  local stored = redis.call('GET', index)
  local other = stored and read(stored)
  if stored == id or (other and other.url == record.url and not newer(record, other)) then return end
  if differs(id, 'url', 'u:' .. record.url, stored) then redis.call('SET', index, id) end
end

-- True if a record has the ticket SYSTEM:REF.
local function has(record, ref)
  return (record.ticket_id and record.system .. ':' .. record.ticket_id == ref)
    or (record.ticket_key and record.system .. ':' .. record.ticket_key == ref)
end

local function compare_tickets(id, record)
  for _, name in ipairs({'ticket_id', 'ticket_key'}) do
    local ref = record[name] and record.system .. ':' .. record[name]
    local stored = ref and redis.call('GET', key('t', ref))
    local other = stored and read(stored)
    if ref and stored ~= id then
      if other and has(other, ref) then
        if name == 'ticket_id' then differs(id, 'shared', 't:' .. ref, stored) end
      elseif differs(id, 'ticket', 't:' .. ref, stored) then redis.call('SET', key('t', ref), id) end
    end
  end
end

local function compare_request(id)
  local record = read(id)
  if not record then return end
  compare_list(id, record)
  compare_due(id, record)
  compare_url(id, record)
  compare_tickets(id, record)
end

local function compare_list_entry(state, id)
  local current = redis.call('HGET', key('r', id), 'state')
  if current ~= state and redis.call('ZSCORE', key('s', state), id)
    and differs(id, 'listed', state, current) then redis.call('ZREM', key('s', state), id) end
end

local function compare_due_entry(id)
  if redis.call('EXISTS', key('r', id)) == 0 and redis.call('ZSCORE', tag .. ':due', id)
    and differs(id, 'due', 'due') then redis.call('ZREM', tag .. ':due', id) end
end

local function compare_entry(kind, name)
  local stored = redis.call('GET', key(kind, name))
  local record = stored and read(stored)
  local right = record and (kind == 'u' and record.url == name or kind == 't' and has(record, name))
  if stored and not right and differs(stored, 'stray', kind .. ':' .. name) then
    redis.call('DEL', key(kind, name))
  end
end

local function compare_counts(states)
  local counts = {}
  local stored = redis.call('HGETALL', tag .. ':open')
  for i = 1, #stored, 2 do counts[stored[i]] = 0 end
  for state in string.gmatch(states, '%S+') do
    for _, id in ipairs(redis.call('ZRANGE', key('s', state), 0, -1)) do
      local record = redis.call('HMGET', key('r', id), 'state', 'decision', 'instance', 'system')
      if record[1] == state and not final(state, record[2]) then
        local name = record[3] .. '/' .. (record[4] or '')
        counts[name] = (counts[name] or 0) + 1
      end
    end
  end
  for name, count in pairs(counts) do
    local stored = redis.call('HGET', tag .. ':open', name) or '0'
    if tonumber(stored) ~= count and differs(name, 'open', stored, tostring(count)) then
      if count == 0 then redis.call('HDEL', tag .. ':open', name)
      else redis.call('HSET', tag .. ':open', name, count) end
    end
  end
end

for i = rest, #ARGV do
  local kind, name = string.match(ARGV[i], '^(%a+)[: ]?(.*)$')
  if kind == 'r' then compare_request(name)
  elseif kind == 'u' or kind == 't' then compare_entry(kind, name)
  elseif kind == 's' and string.find(name, ':') then
    compare_list_entry(string.match(name, '^(%a+):(.*)$'))
  elseif kind == 'due' and name ~= '' then compare_due_entry(name)
  elseif kind == 'counts' then compare_counts(name)
  elseif kind == 'p' or kind == 'x' or kind == 'h' then
    if redis.call('EXISTS', key('r', name)) == 0 then differs(name, 'left', kind) end
  end
end
return answer
