-- Reserve what an event may use against every limit of its person, channel and tenant, in one step; refuse it if a limit
-- would be exceeded.
-- KEYS held, holds
-- ARGV prefix of the tenant's keys, event, more (1: add to the event's reservation; it is the same request),
--      tokens, micro-dollars, person, channel or '', day, month, lifetime of a reservation in ms, life of held s,
--      life of spent s, then of each limit: scope, measure, period, maximum, amount from which a warning is due
-- Returns {limit that refuses (0: none), its used and reserved amount, ms until its minute ends,
--          limit to warn of (0: none), its used and reserved amount, event whose reservation has expired...}
local prefix, event, more = ARGV[1], ARGV[2], ARGV[3] == '1'
local asks = { turns = more and 0 or 1, tokens = tonumber(ARGV[4]), microdollars = tonumber(ARGV[5]) }
local ids = { person = ARGV[6], tenant = '' }
if ARGV[7] ~= '' then
  ids.channel = ARGV[7]
end
local periods = { day = ARGV[8], month = ARGV[9] }
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function counter(scope, period)
  if period == 'minute' then
    return prefix .. 'rate:' .. scope .. ':' .. ids[scope]
  end
  return prefix .. 'spent:' .. periods[period] .. ':' .. scope .. ':' .. ids[scope]
end
local function lives(name) -- counters of a person whose data was deleted end with their period
  local ends = redis.call('HGET', name, 'ends')
  if ends then
    redis.call('EXPIREAT', name, ends)
  else
    redis.call('EXPIRE', name, ARGV[12])
  end
end
local function answer(refused, used, wait, told, told_use)
  local all = { refused, used, wait, told, told_use }
  for _, late in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 10)) do
    all[#all + 1] = late
  end
  return all
end
local function keep()
  redis.call('ZADD', KEYS[2], now + ARGV[10], event)
  redis.call('EXPIRE', KEYS[2], ARGV[11])
  redis.call('EXPIRE', KEYS[1], ARGV[11])
end
local known = redis.call('HMGET', KEYS[1], 'done', 'day', 'told', 'told_use')
if known[2] and not more then -- a second attempt at the same event
  keep()
  return answer(0, 0, 0, tonumber(known[3] or 0), tonumber(known[4] or 0))
end

local told, told_use, told_of = 0, 0, nil
for i = 13, #ARGV, 5 do
  local scope, measure, period, most = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
  if not (more and measure == 'turns') then
    local name, ask = counter(scope, period), asks[measure]
    local sums = redis.call('HMGET', name, measure, 'held_' .. measure, 'told_' .. measure)
    local used = tonumber(sums[1] or 0) + tonumber(sums[2] or 0)
    if used >= most or used + ask > most then
      return answer((i - 13) / 5 + 1, used, math.max(0, redis.call('PTTL', name)), 0, 0)
    end
    if told == 0 and period ~= 'minute' and used + ask > tonumber(ARGV[i + 4]) and not sums[3] then
      told, told_use, told_of = (i - 13) / 5 + 1, used + ask, { name, 'told_' .. measure }
    end
  end
end

if known[1] then
  redis.call('DEL', KEYS[1]) -- it was settled, and is charged again
end
for scope in pairs(ids) do
  for period in pairs(periods) do
    for measure, ask in pairs(asks) do
      if ask > 0 then
        redis.call('HINCRBY', counter(scope, period), 'held_' .. measure, ask)
        lives(counter(scope, period))
      end
    end
  end
end
for i = 13, #ARGV, 5 do
  local scope, measure = ARGV[i], ARGV[i + 1]
  if ARGV[i + 2] == 'minute' then
    local name = counter(scope, 'minute')
    if redis.call('HSETNX', name, 'began', now) == 1 then
      redis.call('PEXPIRE', name, 60000)
    end
    redis.call('HINCRBY', name, measure, asks[measure])
    if measure == 'tokens' then
      redis.call('HSET', KEYS[1], 'minute_' .. scope, redis.call('HGET', name, 'began'))
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
if not redis.call('HGET', KEYS[1], 'day') then
  redis.call('HSET', KEYS[1], 'day', ARGV[8], 'month', ARGV[9], 'person', ARGV[6], 'channel', ARGV[7])
end
keep()
return answer(0, 0, 0, told, told_use)
