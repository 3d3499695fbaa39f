-- Reserve what an event may use against every limit of its person, channel and tenant or, for a guest, of the person and
-- all guests from there, in one step; refuse it if a limit would be exceeded. What an earlier attempt at the event
-- reserved is released, and what it called is booked.
-- KEYS held, holds
-- ARGV prefix of the tenant's keys, event, more (1: add to the attempt's reservation; it is the same request; 2: so it
--      is, but the request itself is counted later), tokens, micro-dollars, person, channel or '', tenant that a guest
--      comes from or '', day, month, lifetime of a reservation in ms, life of held s, life of spent s, life of calls s,
--      attempt, its charge until now with the calls that are about to be made (JSON of
--      bot.storage.usage.charges.Charge), limits to watch (see book.lua), then of each limit: scope, measure, period,
--      maximum, amount from which a warning is due
-- Returns {limit that refuses (0: none), its used and reserved amount, ms until its minute ends,
--          limit to warn of (0: none), its used and reserved amount, number of notices that were added,
--          event whose reservation has expired...}
local LIMITS = 18
local event, more, ahead, attempt = ARGV[2], ARGV[3] ~= '0', ARGV[3] == '2', ARGV[15]
local at = { held = KEYS[1], prefix = ARGV[1], spent_s = ARGV[13], calls_s = ARGV[14], watched = ARGV[17] }
local ids = scopes({ person = ARGV[6], channel = ARGV[7], guest = ARGV[8] })
local periods = { day = ARGV[9], month = ARGV[10] }
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function counter(scope, period)
  if period == 'minute' then
    return at.prefix .. 'rate:' .. scope .. ':' .. ids[scope]
  end
  return at.prefix .. 'spent:' .. periods[period] .. ':' .. scope .. ':' .. ids[scope]
end
local function answer(refused, used, wait, told, told_use)
  local all = { refused, used, wait, told, told_use, at.noted or 0 }
  for _, late in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 10)) do
    all[#all + 1] = late
  end
  return all
end
local function keep()
  redis.call('ZADD', KEYS[2], now + ARGV[11], event)
  redis.call('EXPIRE', KEYS[2], ARGV[12])
  redis.call('EXPIRE', KEYS[1], ARGV[12])
end

local known = redis.call('HMGET', KEYS[1], 'done', 'day', 'told', 'told_use', 'attempt', 'turns')
local begun, before = known[2] ~= false, known[5] or '' -- an older version stored no attempt
local counted = tonumber(known[6] or 0) > 0 -- as a request
if counted and not more and before == attempt then -- the response to the first call was lost
  keep()
  return answer(0, 0, 0, tonumber(known[3] or 0), tonumber(known[4] or 0))
end
if begun and before ~= attempt then
  local earlier = redis.call('HGET', KEYS[1], 'charge:' .. before)
  local used = earlier and of_calls(cjson.decode(earlier).usage or {}).tokens or 0
  release(at, { 'tokens', 'microdollars' }, used)
  book_others(at, attempt)
end
local asks = { turns = (more or counted) and 0 or 1, tokens = tonumber(ARGV[4]), microdollars = tonumber(ARGV[5]) }

local told, told_use, told_of = 0, 0, nil
for i = LIMITS, #ARGV, 5 do
  local scope, measure, period, most = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
  if measure ~= 'turns' or not (counted or more and not ahead) then
    local name, ask = counter(scope, period), asks[measure]
    local sums = redis.call('HMGET', name, measure, 'held_' .. measure, 'told_' .. measure)
    local used = tonumber(sums[1] or 0) + tonumber(sums[2] or 0)
    if used >= most or used + ask > most then
      if scope == 'tenant' and period ~= 'minute' then
        watch(at, periods.day, { field = measure, period = period, ask = ask })
      end
      return answer((i - LIMITS) / 5 + 1, used, math.max(0, redis.call('PTTL', name)), 0, 0)
    end
    if told == 0 and period ~= 'minute' and used + ask > tonumber(ARGV[i + 4]) and not sums[3] then
      told, told_use, told_of = (i - LIMITS) / 5 + 1, used + ask, { name, 'told_' .. measure }
    end
  end
end

if known[1] then -- it was settled, and is charged again
  redis.call('HDEL', KEYS[1], 'done')
end
for scope in pairs(ids) do
  for period in pairs(periods) do
    local name = counter(scope, period)
    for measure, ask in pairs(asks) do
      if ask > 0 then
        redis.call('HINCRBY', name, 'held_' .. measure, ask)
        lives(name, at.spent_s)
      end
    end
  end
end
for i = LIMITS, #ARGV, 5 do
  local scope, measure = ARGV[i], ARGV[i + 1]
  if ARGV[i + 2] == 'minute' then
    local name, of_window = counter(scope, 'minute'), 'minute_tokens_' .. scope
    if redis.call('HSETNX', name, 'began', now) == 1 then
      redis.call('PEXPIRE', name, 60000)
    end
    redis.call('HINCRBY', name, measure, asks[measure])
    if measure == 'tokens' then
      local began = redis.call('HGET', name, 'began')
      if redis.call('HGET', KEYS[1], 'minute_' .. scope) ~= began then
        redis.call('HSET', KEYS[1], 'minute_' .. scope, began, of_window, 0)
      end
      redis.call('HINCRBY', KEYS[1], of_window, asks.tokens)
    end
  end
end
if told_of then
  redis.call('HSET', told_of[1], told_of[2], 1)
  redis.call('HSET', KEYS[1], 'told', told, 'told_use', told_use)
end
for measure, ask in pairs(asks) do
  redis.call('HINCRBY', KEYS[1], measure, ask)
end
if not begun then
  redis.call('HSET', KEYS[1], 'day', ARGV[9], 'month', ARGV[10], 'person', ARGV[6], 'channel', ARGV[7])
  redis.call('HSET', KEYS[1], 'guest', ARGV[8])
end
redis.call('HSET', KEYS[1], 'attempt', attempt, 'charge:' .. attempt, ARGV[16])
keep()
return answer(0, 0, 0, told, told_use)
