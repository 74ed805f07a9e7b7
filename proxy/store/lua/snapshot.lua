-- Return requests as they are stored, for the audit.
-- ARGV: the id of each request, and '1' to include its payload or ''.
-- Answers {record, texts, payload}, ...; record and texts are flat lists of fields.
local answer = {}
for i = rest, #ARGV, 2 do
  local id = ARGV[i]
  answer[#answer + 1] = {redis.call('HGETALL', key('r', id)), redis.call('HGETALL', key('x', id)),
    ARGV[i + 1] == '1' and redis.call('GET', key('p', id)) or ''}
end
return answer
