-- Store a summary, unless turns of its conversation were erased since it was started.
-- KEYS summary, lease    ARGV summary, life s, number of erasures when it was started
if (redis.call('HGET', KEYS[2], 'erasures') or '0') ~= ARGV[3] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
