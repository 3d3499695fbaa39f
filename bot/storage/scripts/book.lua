-- Functions that release the reservation of an event, and book the provider calls of its attempts, each attempt once.
-- `at` has: held (its key), prefix (of the tenant's keys), spent_s, calls_s (lives of counters and of records), watched
--      (JSON of bot.storage.usage.notices.Watched, '' if nothing is); notices that were added are counted in `noted`

local function rounded(amount)
  return math.floor(amount + 0.5)
end

local function add(name, field, amount)
  if amount ~= 0 then
    redis.call('HINCRBY', name, field, string.format('%.0f', amount))
  end
end

local function of_calls(calls) -- the sums of calls; each is rounded to a micro-dollar, so that all totals add up
  local sums = { calls = 0, tokens = 0, output_tokens = 0, images = 0, microdollars = 0, unpriced = 0 }
  for _, call in ipairs(calls) do
    local output = call.output_tokens or 0
    sums.calls = sums.calls + 1
    sums.tokens = sums.tokens + (call.input_tokens or 0) + output
    sums.output_tokens = sums.output_tokens + output
    sums.images = sums.images + (call.images or 0)
    if type(call.usd) == 'number' then
      sums.microdollars = sums.microdollars + rounded(call.usd * 1000000)
    else
      sums.unpriced = sums.unpriced + 1
    end
  end
  return sums
end

local function grouped(calls, key_of) -- calls by a key, and the keys in order
  local groups, order = {}, {}
  for _, call in ipairs(calls) do
    local key = key_of(call)
    if not groups[key] then
      groups[key] = {}
      order[#order + 1] = key
    end
    table.insert(groups[key], call)
  end
  return groups, order
end

local function answering(calls) -- the deployment that gave the answer
  local found = calls[1]
  for _, call in ipairs(calls) do
    local purpose = call.purpose
    if call.outcome == nil and purpose ~= 'embedding' and purpose ~= 'tool' and purpose ~= 'rewrite' then
      found = call
    end
  end
  return found and found.deployment
end

local function scopes(bill)
  if (bill.guest or '') ~= '' then
    return { person = bill.person, guest = bill.guest }
  end
  return { person = bill.person, tenant = '', channel = bill.channel ~= '' and bill.channel or nil }
end

-- Subtract what the event holds of some measures. `used` are the tokens of the attempt for which they were reserved.
local function release(at, measures, used)
  local held, flat = {}, redis.call('HGETALL', at.held)
  for i = 1, #flat, 2 do
    held[flat[i]] = flat[i + 1]
  end
  if not held.day then
    return
  end
  for scope, id in pairs(scopes(held)) do
    for _, period in ipairs({ held.day, held.month }) do
      local name = at.prefix .. 'spent:' .. period .. ':' .. scope .. ':' .. id
      if redis.call('EXISTS', name) == 1 then -- else the person's data was deleted meanwhile
        for _, measure in ipairs(measures) do
          add(name, 'held_' .. measure, -tonumber(held[measure] or 0))
        end
      end
    end
    local minute, began = at.prefix .. 'rate:' .. scope .. ':' .. id, held['minute_' .. scope]
    if began and redis.call('HGET', minute, 'began') == began then
      local reserved = tonumber(held['minute_tokens_' .. scope] or held.tokens or 0)
      add(minute, 'tokens', math.max(used - tonumber(held.tokens or 0), -reserved))
      redis.call('HDEL', at.held, 'minute_' .. scope, 'minute_tokens_' .. scope)
    end
  end
  for _, measure in ipairs(measures) do
    redis.call('HDEL', at.held, measure)
  end
end

local function lives(name, spent_s) -- counters of a person whose data was deleted end with their period
  local ends = redis.call('HGET', name, 'ends')
  if ends then
    redis.call('EXPIREAT', name, ends)
  else
    redis.call('EXPIRE', name, spent_s)
  end
end

-- Add a notice for each recipient when a limit of the tenant reaches a threshold, once per limit, threshold and window.
-- `refused` is the question that a limit has just refused: its field, its period, what it asked for.
local function watch(at, day, refused)
  local watched = at.watched ~= '' and cjson.decode(at.watched) or { limits = {} }
  for _, limit in ipairs(watched.limits) do
    local window = limit.period == 'month' and string.sub(day, 1, 7) or day
    local name = at.prefix .. 'spent:' .. window .. ':tenant:'
    local used = tonumber(redis.call('HGET', name, limit.field) or 0)
    local reached = used >= limit.most and 100 or (used >= limit.warn and limit.percent or 0)
    if refused and refused.field == limit.field and refused.period == limit.period then
      if used >= limit.near and refused.ask <= limit.most and used + refused.ask > limit.most then
        reached = 100
      end
    end
    local most = string.format('%.0f', limit.most)
    local mark = 'reached:' .. limit.field .. ':' .. most .. ':'
    local current = window == watched[limit.period]
    if reached > 0 and current and redis.call('HSETNX', name, mark .. string.format('%d', reached), 1) == 1 then
      redis.call('HSET', name, mark .. string.format('%d', limit.percent), 1)
      lives(name, at.spent_s)
      local time, notices = redis.call('TIME'), at.prefix .. 'notices'
      local now = time[1] * 1000 + math.floor(time[2] / 1000)
      for _, recipient in ipairs(watched.recipients) do
        redis.call('ZADD', notices, now, cjson.encode({
          recipient = recipient, measure = limit.measure, period = limit.period, window = window,
          most = most, used = string.format('%.0f', used), percent = reached,
        }))
      end
      redis.call('EXPIRE', notices, watched.keep_s)
      at.noted = (at.noted or 0) + #watched.recipients
    end
  end
end

local function count(at, bill, day, calls, turns)
  local whole = of_calls(calls)
  whole.turns = turns
  for scope, id in pairs(scopes(bill)) do
    for _, period in ipairs({ day, string.sub(day, 1, 7) }) do
      local name = at.prefix .. 'spent:' .. period .. ':' .. scope .. ':' .. id
      for field, amount in pairs(whole) do
        add(name, field, amount)
      end
      lives(name, at.spent_s)
    end
  end
  local tally = at.prefix .. 'tally:' .. day
  local function write(kind, name, sums)
    for measure, amount in pairs(sums) do
      if measure ~= 'output_tokens' then
        add(tally, kind .. '\31' .. name .. '\31' .. measure, amount)
      end
    end
  end
  write('day', '', whole)
  write('template', bill.template, whole)
  write('channel', bill.room, whole)
  write('person', bill.tenant .. '/' .. bill.person, whole)
  local answered_by = answering(calls)
  for kind, key_of in pairs({
    deployment = function(call) return call.deployment end,
    purpose = function(call) return call.purpose or 'answer' end,
  }) do
    local groups, order = grouped(calls, key_of)
    for _, name in ipairs(order) do
      local sums = of_calls(groups[name])
      if kind == 'deployment' then
        sums.turns = name == answered_by and turns or 0
      end
      write(kind, name, sums)
    end
  end
  redis.call('EXPIRE', tally, at.spent_s)
  watch(at, day)
end

-- Book an attempt, if it was not booked before. `turns`: how many answers it counts as.
local function book(at, raw, turns)
  local bill = cjson.decode(raw)
  local attempt = bill.attempt or ''
  redis.call('HDEL', at.held, 'charge:' .. attempt)
  if #(bill.usage or {}) == 0 and turns == 0 then
    return
  end
  if redis.call('HSETNX', at.held, 'booked:' .. attempt, 1) == 0 then
    return
  end
  local last = string.sub(bill.at, 1, 10)
  local days, order = grouped(bill.usage or {}, function(call) return call.at and string.sub(call.at, 1, 10) or last end)
  if not days[last] then
    days[last] = {}
    order[#order + 1] = last
  end
  for _, day in ipairs(order) do
    count(at, bill, day, days[day], day == last and turns or 0)
  end
  if #(bill.usage or {}) > 0 then
    local records = at.prefix .. 'calls:' .. last .. ':' .. bill.person
    redis.call('RPUSH', records, raw)
    redis.call('EXPIRE', records, at.calls_s)
  end
end

-- Book the attempts that ended without a word: their processes died.
local function book_others(at, attempt)
  for _, field in ipairs(redis.call('HKEYS', at.held)) do
    if string.sub(field, 1, 7) == 'charge:' and field ~= 'charge:' .. attempt then
      book(at, redis.call('HGET', at.held, field), 0)
    end
  end
end

