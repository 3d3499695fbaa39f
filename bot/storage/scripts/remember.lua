-- Keep a summary, unless something was forgotten in its conversation since it was begun.
-- KEYS summary, lease    ARGV summary, life s, erasures that were known then
if (redis.call('HGET', KEYS[2], 'erasures') or '0') ~= ARGV[3] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
