-- Give a request its turn at a busy deployment, in order of arrival, at the rate that its refusals reveal, in one step.
-- The turn of the n-th waiting request is n intervals after the first may come; whoever takes a turn moves that by one.
-- The rate grows until a turn is refused; then it is counted anew. So the limit is used up, at one refusal each time.
-- KEYS  a hash of the deployment (until: the end of its cool-down; interval: ms between requests; first: when the next
--       turn is; tail: when a request may come that has not waited; granted, since, last: turns since the last refusal, when
--       the first of them was, and the latest turn of all; counted: the end of the cool-down that the interval was counted for; in ms) and two
--       sorted sets (waiting requests by their arrival; the same by when they are expected again)
-- ARGV  request, ms since its arrival, its arrival (ms since 1970, by the caller's clock; exactly as returned if it was
--       refused in its turn), cool-down ms that it was just told (0: none), interval ms that was observed (0: unknown),
--       1 if it had had its turn when it was refused, 1 to take the turn if it has come, ms in which a rate without refusals grows
--       by e, life of the keys ms
-- Returns {ms until its turn, at most five minutes; its arrival}. Nobody has a turn before an earlier request, unless that
-- is more than 2 s late; those that are 15 s late are forgotten. The interval is at most one minute.
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local hash, queue, expected, request = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local arrived, told, observed = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local again, take, faster = ARGV[6] == '1', ARGV[7] == '1', tonumber(ARGV[8])

for _, late in ipairs(redis.call('ZRANGEBYSCORE', expected, '-inf', now - 15000)) do
  redis.call('ZREM', queue, late)
  redis.call('ZREM', expected, late)
end
local kept = redis.call('HMGET', hash, 'until', 'interval', 'first', 'granted', 'since', 'counted', 'last')
for n = 1, 7 do
  kept[n] = tonumber(kept[n] or 0)
end
local till, interval = math.max(now + told, math.min(kept[1], now + 300000)), kept[2]
local due, granted, since, counted = math.min(kept[3], now + 300000), kept[4], kept[5], kept[6]
if redis.call('ZCARD', queue) == 0 and due < now - 2000 then
  granted, since = 0, 0 -- nobody waited lately
end
if again then
  due, granted = due - interval, math.max(0, granted - 1) -- a turn that was refused was not used
  if told > 0 and now >= counted then -- the first refusal of this cool-down
    interval = granted > 0 and (now + told - since) / granted or interval * 1.15
    granted, since, counted = 0, 0, till
  end
elseif observed > 0 then
  interval = interval > 0 and math.min(interval, observed) or observed
end
interval = math.min(interval > 0 and interval or told / 10, 60000)

if not again then -- clocks may differ, but a later request gains at most a second
  arrived = math.max(now - ARGV[2] - 1000, math.min(now - ARGV[2], arrived))
end
redis.call('ZADD', queue, 'NX', arrived, request)
arrived = redis.call('ZSCORE', queue, request)
local place = redis.call('ZRANK', queue, request)
local before = place
for _, late in ipairs(redis.call('ZRANGEBYSCORE', expected, '-inf', now - 2000)) do
  local other = redis.call('ZRANK', queue, late)
  if other and other < place then
    before = before - 1
  end
end
-- turns that nobody took in the last two seconds are still due, one after another: requests that are sent at the same
-- time may arrive in another order
local first = math.max(due, till > now and till or now - 2000)
if redis.call('ZCARD', queue) == 1 then
  first = math.max(first, now)
end
-- the earliest time: the rate grows until the next refusal; and a turn that has come is kept for a request that is a
-- little late, while the others look again after a moment
local sooner = faster * math.log(1 + before * interval / faster)
local wait = math.max(0, before * 50, first + sooner - now, till - now, kept[7] + interval / 2 - now)
wait = math.min(wait, 300000)
if take and wait == 0 then
  redis.call('ZREM', queue, request)
  redis.call('ZREM', expected, request)
  first, granted, since = first + interval, granted + 1, since > 0 and since or now
  redis.call('HSET', hash, 'last', now)
  interval = interval * (1 - math.min(0.2, interval / faster)) -- until the next refusal
else
  redis.call('ZADD', expected, now + wait, request)
end
-- who has not waited comes after all that do, also if they are a little late
local last = redis.call('ZREVRANGE', expected, 0, 0, 'WITHSCORES')[2]
local tail = math.max(first + redis.call('ZCARD', queue) * interval, last and last + 2000 or 0)
redis.call('HSET', hash, 'until', till, 'interval', interval, 'first', first, 'tail', math.min(tail, now + 300000),
  'granted', granted, 'since', since, 'counted', counted)
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ARGV[9])
end
return { math.ceil(wait), arrived }
