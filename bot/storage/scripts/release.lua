-- Release a lease without an answer: the event stays at the head of the inbox and is due again after the delay.
-- KEYS lease, ready
-- ARGV token, conversation, delay ms, attempts to subtract (0 or 1), channel, stalled (1: it blocked its
--      process, which counts as a lost worker), post or '', platform (1: it failed; that is counted apart)
-- Returns 0 if the lease belongs to another worker, else 1.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return 0
end
redis.call('HINCRBY', KEYS[1], 'token', 1)
redis.call('HDEL', KEYS[1], 'ticket') -- no worker has it now
if ARGV[4] ~= '0' then
  redis.call('HINCRBY', KEYS[1], 'attempt', -1)
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[7] ~= '' then
  redis.call('HSET', KEYS[1], 'post', kept(KEYS[1], ARGV[7]))
end
if ARGV[8] == '1' then
  redis.call('HINCRBY', KEYS[1], 'failures', 1)
  redis.call('HSETNX', KEYS[1], 'since', now)
end
if ARGV[6] == '1' then
  redis.call('HSET', KEYS[1], 'open', 'stalled')
else
  redis.call('HDEL', KEYS[1], 'open')
end
redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[2])
if ARGV[3] == '0' then
  redis.call('PUBLISH', ARGV[5], ARGV[2])
end
return 1
