-- Append entries of an exported stream to the stream KEYS[1]; a repeat changes nothing.
-- ARGV: position, request, line of each entry.
for i = rest, #ARGV, 3 do
  if #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i]) == 0 then
    redis.call('XADD', KEYS[1], ARGV[i], ARGV[i + 1], ARGV[i + 2])
  end
end
return 1
