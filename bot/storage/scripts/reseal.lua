-- Replace an encrypted value by the same one encrypted by another key, unless it has changed meanwhile. Its life stays.
-- KEYS value    ARGV value as it was read, value encrypted anew    Returns whether it was replaced.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
