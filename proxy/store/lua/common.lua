-- Put in front of every script about requests. KEYS[1] is the hash tag; every key begins with it.
local tag = KEYS[1]

-- Run id of this server; a pattern would search its text for as long as INFO takes.
local function run_id()
  local info = redis.call('INFO', 'server')
  local _, last = string.find(info, 'run_id:', 1, true)
  return string.match(info, '^%w+', last + 1)
end

local function key(kind, name) return tag .. ':' .. kind .. ':' .. name end

-- Final: its URL may be used again. Mirrors Record.final.
local function final(state, decision)
  return state == 'done' or (state == 'dead' and decision and decision ~= '')
end

-- Removes an entry that several requests may have shared, if it still names this one.
local function drop(name, id) if redis.call('GET', name) == id then redis.call('DEL', name) end end

-- By what a request's ticket is found, each system:ref on a line; with ! in front, not any more.
local function refer(lines, id)
  for gone, ref in string.gmatch(lines, '(!?)([^\n]+)') do
    if gone == '' then redis.call('SET', key('t', ref), id) else drop(key('t', ref), id) end
  end
end

-- Makes a record due; whoever sleeps is woken only if nothing earlier was due anyway.
local function make_due(id, at, channel)
  redis.call('ZADD', tag .. ':due', at, id)
  if redis.call('ZRANGE', tag .. ':due', 0, 0)[1] == id then
    redis.call('PUBLISH', channel, at)
  end
end

-- The audit's entry of a change, in the same step as the change; a sealer outside takes it from here.
local function audit(id, line) redis.call('XADD', tag .. ':audit', '*', id, line) end

-- Lines of a request's history, which are the audit's entries too, byte for byte: the two cannot
-- disagree.
local function note(id, lines)
  local history = key('h', id)
  if redis.call('RPUSH', history, unpack(lines)) > 200 then
    redis.call('LTRIM', history, -200, -1)
  end
  for _, line in ipairs(lines) do audit(id, line) end
end
