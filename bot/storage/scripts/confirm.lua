-- Use a pending confirmation, once however often the confirming event is delivered.
-- KEYS confirmation    ARGV event, life s
-- Returns false if none is pending or another event has used it, else its result ('' before there is one).
if redis.call('EXISTS', KEYS[1]) == 0 then
  return false
end
local event = redis.call('HGET', KEYS[1], 'event')
if event and event ~= ARGV[1] then
  return false
end
redis.call('HSET', KEYS[1], 'event', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('HGET', KEYS[1], 'outcome') or ''
