-- Append to the stream KEYS[1] what another one held. ARGV: position, request, line, ... A repeat
-- changes nothing.
for i = 1, #ARGV, 3 do
  if #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i]) == 0 then
    redis.call('XADD', KEYS[1], ARGV[i], ARGV[i + 1], ARGV[i + 2])
  end
end
return 1
