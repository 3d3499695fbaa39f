-- Turn a reservation into what it cost, once.
-- KEYS spent by the person, spent by the tenant, talks
-- ARGV event, conversation, retention s, life s, then field, amount, field, amount, ...
local held = redis.call('HGET', KEYS[1], 'held:' .. ARGV[1])
if not held then
  return 0
end
redis.call('HDEL', KEYS[1], 'held:' .. ARGV[1])
redis.call('HINCRBY', KEYS[1], 'held', -tonumber(held))
for i = 5, #ARGV, 2 do
  if ARGV[i + 1] ~= '0' then
    redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
    redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('SADD', KEYS[3], ARGV[2])
redis.call('EXPIRE', KEYS[3], ARGV[3])
return 1
