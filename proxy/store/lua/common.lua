-- Prepended to every script about requests. KEYS[1] is the hash tag that begins every key.
local tag = KEYS[1]

-- Return this server's run id; a pattern would search the text for as long as INFO takes.
local function run_id()
  local info = redis.call('INFO', 'server')
  local _, last = string.find(info, 'run_id:', 1, true)
  return string.match(info, '^%w+', last + 1)
end

local function key(kind, name) return tag .. ':' .. kind .. ':' .. name end

-- True if the URL of a request in this state may be used again. Mirrors Record.final.
local function final(state, decision)
  return state == 'done' or (state == 'dead' and decision and decision ~= '')
end

-- Remove an index entry that several requests may have shared, if it still names this one.
local function drop(name, id) if redis.call('GET', name) == id then redis.call('DEL', name) end end

-- Update the index of tickets from lines of SYSTEM:REF; a line that begins with ! removes its entry.
local function update_ticket_index(lines, id)
  for gone, ref in string.gmatch(lines, '(!?)([^\n]+)') do
    if gone == '' then redis.call('SET', key('t', ref), id) else drop(key('t', ref), id) end
  end
end

-- Make a record due; wake the sleeping workers only if nothing was due before it.
local function make_due(id, at)
  redis.call('ZADD', tag .. ':due', at, id)
  if redis.call('ZRANGE', tag .. ':due', 0, 0)[1] == id then
    redis.call('PUBLISH', string.match(tag, '^{(.*):%d+}$') .. ':wake', at)
  end
end

-- Append the audit's entry of a change, in the same step as the change; the sealer reads it here.
local function audit(id, line) redis.call('XADD', tag .. ':audit', '*', id, line) end

-- Append lines to a request's history. The audit gets the same bytes, so the two cannot disagree.
local function append_history(id, lines)
  local history = key('h', id)
  if redis.call('RPUSH', history, unpack(lines)) > 200 then
    redis.call('LTRIM', history, -200, -1)
  end
  for _, line in ipairs(lines) do audit(id, line) end
end

