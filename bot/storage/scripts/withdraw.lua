-- Replace a pending event by an empty one. If it is being answered, the answer is stopped and its commit stores nothing.
-- KEYS inbox, lease    ARGV event as it was read, its replacement, its id, conversation, channel
-- Returns 0 if the event is no longer pending, else 1.
local place = redis.call('LPOS', KEYS[1], ARGV[1])
if not place then
  return 0
end
redis.call('LSET', KEYS[1], place, ARGV[2])
if place == 0 and redis.call('HEXISTS', KEYS[2], 'attempt') == 1 then
  local wish = ARGV[3] .. '\nforgotten'
  redis.call('HSET', KEYS[2], 'withdrawn', 1, 'stop', wish)
  redis.call('PUBLISH', ARGV[5], ARGV[4] .. '\n' .. wish)
end
return 1
