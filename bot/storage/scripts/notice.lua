-- Claim the earliest due notice of a tenant, so that nobody else has it before the lease is over.
-- KEYS notices
-- ARGV lease ms
-- Returns the notice, or nothing.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1)[1]
if found then
  redis.call('ZADD', KEYS[1], now + ARGV[1], found)
end
return found
