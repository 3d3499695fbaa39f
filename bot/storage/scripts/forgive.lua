-- A worker that was taken for lost is alive: its event did not end it.
-- KEYS lease    ARGV token that it held
local lease = redis.call('HMGET', KEYS[1], 'token', 'lost')
if tonumber(lease[1] or 0) > tonumber(ARGV[1]) and tonumber(lease[2] or 0) > 0 then
  redis.call('HINCRBY', KEYS[1], 'lost', -1)
  redis.call('HSET', KEYS[1], 'certain', 0)
end
return 1
