-- Take a place in a sliding window of one minute.
-- KEYS limit    ARGV places per minute, places that may be taken now
-- The list has the times at which the newest places were taken, in ms. Returns 0, or the ms until a place is free.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local oldest = redis.call('LINDEX', KEYS[1], ARGV[2] - 1)
if oldest and now - tonumber(oldest) < 60000 then
  return 60000 - (now - tonumber(oldest))
end
redis.call('LPUSH', KEYS[1], now)
redis.call('LTRIM', KEYS[1], 0, ARGV[1] - 1)
redis.call('PEXPIRE', KEYS[1], 60000)
return 0
