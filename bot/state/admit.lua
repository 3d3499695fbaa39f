-- Let a person's event in: the rate and the budget are looked at and reserved in one step.
-- KEYS rate, spent    ARGV event, questions per minute (0: no limit), budget micro-dollars (-1: none), estimate, life s,
--      more (1: add to what the event has reserved already)
-- Returns {verdict, number}: ok; rate, seconds to wait; budget, what is left.
local more = ARGV[6] == '1'
if not more and redis.call('HEXISTS', KEYS[2], 'held:' .. ARGV[1]) == 1 then
  return { 'ok', 0 } -- a second attempt at the same event
end
local limit, budget, estimate = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if limit > 0 and not more and tonumber(redis.call('GET', KEYS[1]) or 0) >= limit then
  return { 'rate', redis.call('TTL', KEYS[1]) }
end
if budget >= 0 then
  local sums = redis.call('HMGET', KEYS[2], 'microdollars', 'held')
  local left = budget - tonumber(sums[1] or 0) - tonumber(sums[2] or 0)
  if left <= 0 or estimate > left then
    return { 'budget', left }
  end
end
if limit > 0 and not more and redis.call('INCR', KEYS[1]) == 1 then
  redis.call('EXPIRE', KEYS[1], 60)
end
redis.call('HINCRBY', KEYS[2], 'held:' .. ARGV[1], estimate)
redis.call('HINCRBY', KEYS[2], 'held', estimate)
redis.call('EXPIRE', KEYS[2], ARGV[5])
return { 'ok', 0 }
