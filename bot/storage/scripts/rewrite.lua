-- Replace a value if it has not changed since it was read; the expiry stays.
-- KEYS string    ARGV old, new
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
