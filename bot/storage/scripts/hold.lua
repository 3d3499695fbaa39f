-- Renew a lease, and store the post that was started under it.
-- KEYS lease, ready
-- ARGV token, conversation, lease ms, post or '', company ('alone': no other turn runs in the process; '1': others do;
--      '': unchanged)
-- Returns false if the lease belongs to another worker, else the stop request: event and reason in two lines, or ''.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return false
end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[2], 'XX', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3], ARGV[2])
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'post', kept(KEYS[1], ARGV[4]))
end
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[1], 'open', ARGV[5])
end
return redis.call('HGET', KEYS[1], 'stop') or ''
