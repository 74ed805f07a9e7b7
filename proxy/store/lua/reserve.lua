-- Reserve KEYS[1] for one holder at a time, for `duration` ms. Answers the present holder.
local current = redis.call('GET', KEYS[1])
if current and current ~= holder then return current end
redis.call('SET', KEYS[1], holder, 'PX', duration)
return holder
