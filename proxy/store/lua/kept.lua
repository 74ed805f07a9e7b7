-- What lies under the keys of requests, as it is, for the audit. ARGV: id, '1' with its payload or
-- '', and so on. Answers {record, texts, payload}, ...; record and texts are flat lists of fields.
local answer = {}
for i = 1, #ARGV, 2 do
  local id = ARGV[i]
  answer[#answer + 1] = {redis.call('HGETALL', key('r', id)), redis.call('HGETALL', key('x', id)),
    ARGV[i + 1] == '1' and redis.call('GET', key('p', id)) or ''}
end
return answer
