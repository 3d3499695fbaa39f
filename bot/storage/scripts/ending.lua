-- Let the sums of a person who was forgotten end with their period, whatever is added to them until then.
-- KEYS sums    ARGV when the period is over, Unix s
-- Returns whether there are any, 0 or 1.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'ends', ARGV[1])
return redis.call('EXPIREAT', KEYS[1], ARGV[1])
