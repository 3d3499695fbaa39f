-- Keep a lease, and write down the post that was begun under it.
-- KEYS lease, ready    ARGV token, conversation, lease ms, post or ''
-- Returns 0 when the lease is another's, 2 when the person asked to stop, else 1.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return 0
end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[2], 'XX', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3], ARGV[2])
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'post', ARGV[4])
end
if redis.call('HEXISTS', KEYS[1], 'stop') == 1 then
  return 2
end
return 1
