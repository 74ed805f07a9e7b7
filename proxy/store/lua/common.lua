-- Put in front of every script about requests. KEYS[1] is the hash tag; every key begins with it.
local tag = KEYS[1]

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

-- A line of a request's history, which is the audit's entry too, byte for byte: the two cannot
-- disagree.
local function note(id, line)
  redis.call('RPUSH', key('h', id), line)
  audit(id, line)
end
