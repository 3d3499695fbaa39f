-- Put a value in the place of another, if it is there still as it was read; it lives as long as that would have.
-- KEYS string    ARGV old, new
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
