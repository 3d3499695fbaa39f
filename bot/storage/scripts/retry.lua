-- Move a dead letter to the tail of its conversation's inbox, as if it had just been accepted.
-- KEYS buried, inbox, ready, waiting    ARGV record, event, conversation, tenant or '', waiting life s, channel
-- Returns 0 if the dead letter is gone, else 1.
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then
  return 0
end
redis.call('RPUSH', KEYS[2], ARGV[2])
if ARGV[4] ~= '' then
  redis.call('HINCRBY', KEYS[4], ARGV[4], 1)
  redis.call('EXPIRE', KEYS[4], ARGV[5])
end
local time = redis.call('TIME')
if redis.call('ZADD', KEYS[3], 'NX', time[1] * 1000 + math.floor(time[2] / 1000), ARGV[3]) == 1 then
  redis.call('PUBLISH', ARGV[6], ARGV[3])
end
return 1
