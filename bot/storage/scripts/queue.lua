-- Give a request its turn at a busy deployment, in order of arrival, at the rate that its refusals reveal, in one step.
-- The turn of the n-th waiting request is n intervals after the first may come; whoever takes a turn moves that by one.
-- KEYS  a hash of the deployment (until: the end of its cool-down; interval: ms between requests; first: when the next
--       turn is; tail: when a request may come that has not waited; in ms) and two sorted sets (waiting requests by
--       their arrival; the same by when they are expected again)
-- ARGV  request, ms since its arrival, cool-down ms that it was just told (0: none), interval ms that was observed (0:
--       unknown), 1 if it had had its turn when it was refused, longest wait ms, life of the keys ms
-- Returns ms until its turn, at most five minutes; if that is at most the longest wait, the turn is taken. Requests that
-- are 15 s late are forgotten. The interval is at most that of the lowest limit, one request per minute.
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local hash, queue, expected, request = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local told, observed, again, longest = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1', tonumber(ARGV[6])

for _, late in ipairs(redis.call('ZRANGEBYSCORE', expected, '-inf', now - 15000)) do
  redis.call('ZREM', queue, late)
  redis.call('ZREM', expected, late)
end
local kept = redis.call('HMGET', hash, 'until', 'interval', 'first')
local till = math.max(now + told, math.min(tonumber(kept[1] or 0), now + 300000))
local interval = tonumber(kept[2] or 0)
local due = math.min(tonumber(kept[3] or 0), now + 300000) - (again and interval or 0) -- a turn that was refused was not used
if again and told > 0 then
  interval = math.max(interval, observed) * 1.15
elseif observed > 0 then
  interval = interval > 0 and math.min(interval, observed) or observed
end
interval = math.min(interval, 60000)

redis.call('ZADD', queue, 'NX', again and 0 or now - ARGV[2], request) -- who was refused in its turn is first
-- turns that nobody took in the last two seconds are still due
local first = math.max(due, till > now and till or now - 2000)
if redis.call('ZCARD', queue) == 1 then
  first = math.max(first, now)
end
local wait = math.max(0, first + redis.call('ZRANK', queue, request) * interval - now, till - now)
wait = math.min(wait, 300000)
if wait <= longest then
  redis.call('ZREM', queue, request)
  redis.call('ZREM', expected, request)
  first = first + interval
  interval = interval * 0.97
else
  redis.call('ZADD', expected, now + wait, request)
end
local tail = math.min(first + redis.call('ZCARD', queue) * interval, now + 300000)
redis.call('HSET', hash, 'until', till, 'interval', interval, 'first', first, 'tail', tail)
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ARGV[7])
end
return math.ceil(wait)
