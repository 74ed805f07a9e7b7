-- Compare the indices of one partition with its records, which alone are the truth.
-- ARGV: now, '1' to put right what differs, retention (ms), wake channel, then what to compare:
--       names of keys without the tag (r:ID, u:URL, t:SYS:REF, p:ID, x:ID, h:ID), a request where
--       it is listed (s:STATE:ID) or due (due:ID), or 'counts STATE ...' for what is counted as
--       open, over the lists of these states. Any other name is passed over.
-- Answers {about, what, index, found}, ... for each difference: store/indices.py puts it in words.
local now, mend, retention = clock(ARGV[1]), ARGV[2] == '1', tonumber(ARGV[3])
local NAMES = {'state', 'decision', 'url', 'instance', 'system', 'ticket_id', 'ticket_key',
  'admitted_at', 'deadline_at', 'finished_at', 'fired', 'untold'}
local answer = {}

-- Notes a difference; true where it is to be put right.
local function differs(about, what, index, found)
  answer[#answer + 1] = {about, what, index, found or ''}
  return mend
end

local function read(id)
  local found = redis.call('HMGET', key('r', id), unpack(NAMES))
  if not found[1] then return nil end
  local it = {}
  for i, name in ipairs(NAMES) do it[name] = found[i] ~= '' and found[i] or nil end
  return it
end

local function open(it) return not final(it.state, it.decision) end

local function compare_list(id, it)
  local list, wanted = key('s', it.state), tonumber(it.admitted_at)
  if tonumber(redis.call('ZSCORE', list, id) or '') ~= wanted
    and differs(id, 'unlisted', it.state) then redis.call('ZADD', list, wanted, id) end
end

local function compare_due(id, it)
  local wanted = due_of(it, now, retention)
  if wanted and not redis.call('ZSCORE', tag .. ':due', id)
    and differs(id, 'never due', 'due') then make_due(id, wanted, ARGV[4]) end
end

-- Whether a request is newer than another one with its URL: of those, one is open at most.
local function newer(it, other)
  if open(it) ~= open(other) then return open(it) end
  return tonumber(it.admitted_at) > tonumber(other.admitted_at)
end

local function compare_url(id, it)
  local index = key('u', it.url)
  local found = redis.call('GET', index)
  local other = found and read(found)
  if found == id or (other and other.url == it.url and not newer(it, other)) then return end
  if differs(id, 'url', 'u:' .. it.url, found) then redis.call('SET', index, id) end
end

-- Whether a record has the ticket that an index is of.
local function has(it, ref)
  return (it.ticket_id and it.system .. ':' .. it.ticket_id == ref)
    or (it.ticket_key and it.system .. ':' .. it.ticket_key == ref)
end

local function compare_tickets(id, it)
  for _, name in ipairs({'ticket_id', 'ticket_key'}) do
    local ref = it[name] and it.system .. ':' .. it[name]
    local found = ref and redis.call('GET', key('t', ref))
    local other = found and read(found)
    if ref and found ~= id then
      if other and has(other, ref) then
        if name == 'ticket_id' then differs(id, 'shared', 't:' .. ref, found) end
      elseif differs(id, 'ticket', 't:' .. ref, found) then redis.call('SET', key('t', ref), id) end
    end
  end
end

local function compare_request(id)
  local it = read(id)
  if not it then return end
  compare_list(id, it)
  compare_due(id, it)
  compare_url(id, it)
  compare_tickets(id, it)
end

local function compare_listed(state, id)
  local is = redis.call('HGET', key('r', id), 'state')
  if is ~= state and redis.call('ZSCORE', key('s', state), id)
    and differs(id, 'listed', state, is) then redis.call('ZREM', key('s', state), id) end
end

local function compare_waiting(id)
  if redis.call('EXISTS', key('r', id)) == 0 and redis.call('ZSCORE', tag .. ':due', id)
    and differs(id, 'due', 'due') then redis.call('ZREM', tag .. ':due', id) end
end

local function compare_way(kind, name)
  local found = redis.call('GET', key(kind, name))
  local it = found and read(found)
  local right = it and (kind == 'u' and it.url == name or kind == 't' and has(it, name))
  if found and not right and differs(found, 'stray', kind .. ':' .. name) then
    redis.call('DEL', key(kind, name))
  end
end

local function compare_counts(states)
  local counts = {}
  local kept = redis.call('HGETALL', tag .. ':open')
  for i = 1, #kept, 2 do counts[kept[i]] = 0 end
  for state in string.gmatch(states, '%S+') do
    for _, id in ipairs(redis.call('ZRANGE', key('s', state), 0, -1)) do
      local it = redis.call('HMGET', key('r', id), 'state', 'decision', 'instance', 'system')
      if it[1] == state and not final(state, it[2]) then
        local name = it[3] .. '/' .. (it[4] or '')
        counts[name] = (counts[name] or 0) + 1
      end
    end
  end
  for name, count in pairs(counts) do
    local found = redis.call('HGET', tag .. ':open', name) or '0'
    if tonumber(found) ~= count and differs(name, 'open', found, tostring(count)) then
      if count == 0 then redis.call('HDEL', tag .. ':open', name)
      else redis.call('HSET', tag .. ':open', name, count) end
    end
  end
end

for i = 5, #ARGV do
  local kind, name = string.match(ARGV[i], '^(%a+)[: ]?(.*)$')
  if kind == 'r' then compare_request(name)
  elseif kind == 'u' or kind == 't' then compare_way(kind, name)
  elseif kind == 's' and string.find(name, ':') then
    compare_listed(string.match(name, '^(%a+):(.*)$'))
  elseif kind == 'due' and name ~= '' then compare_waiting(name)
  elseif kind == 'counts' then compare_counts(name)
  elseif kind == 'p' or kind == 'x' or kind == 'h' then
    if redis.call('EXISTS', key('r', name)) == 0 then differs(name, 'left', kind) end
  end
end
return answer
