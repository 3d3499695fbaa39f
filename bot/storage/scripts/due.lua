-- Read when each shard is next due, without claiming anything.
-- KEYS ready...    Returns for each key the ms until its earliest conversation is due, -1 if there is none.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = {}
for i, key in ipairs(KEYS) do
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  answer[i] = -1
  if #first > 0 then
    answer[i] = math.max(0, tonumber(first[2]) - now)
  end
end
return answer
