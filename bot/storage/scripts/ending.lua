-- Let the counters of a person whose data was deleted expire at the end of their period, whatever is added until then.
-- KEYS sums    ARGV end of the period, Unix s
-- Returns 1 if there are any counters, else 0.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'ends', ARGV[1])
return redis.call('EXPIREAT', KEYS[1], ARGV[1])
