-- Count the due conversations of each shard that no worker has claimed.
-- KEYS ready...    Returns for each key {conversations due, ms that the earliest has waited}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = {}
for i, key in ipairs(KEYS) do
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  local waited = 0
  if #first > 0 then
    waited = math.max(0, now - tonumber(first[2]))
  end
  answer[i] = { redis.call('ZCOUNT', key, '-inf', now), waited }
end
return answer
