-- Read what is due in each shard, without claiming anything.
-- KEYS ready...    Returns for each key what `coming` returns, with the flow '' if more is due than was compared: any claim
-- will find it.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = {}
for i, key in ipairs(KEYS) do
  local more
  answer[i], more = coming(key, now)
  if more then
    table.insert(answer[i], '')
  end
end
return answer
