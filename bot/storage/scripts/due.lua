-- Read what is due in each shard, without claiming anything.
-- KEYS ready...    Returns for each key what is `coming`.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = {}
for i, key in ipairs(KEYS) do
  answer[i] = coming(key, now)
end
return answer
