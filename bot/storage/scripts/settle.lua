-- Replace an event's reservation by its cost, once, and add it to the usage counters.
-- KEYS held, holds
-- ARGV prefix of the tenant's keys, event, charge (JSON of bot.storage.usage.charges.Charge; '' only releases the reservation),
--      life of spent s, life of held s
-- Returns 0 if it was settled before, else 1.
local prefix = ARGV[1]
local held, flat = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #flat, 2 do
  held[flat[i]] = flat[i + 1]
end
if held.done then
  redis.call('EXPIRE', KEYS[1], ARGV[5]) -- a write, so that replicas confirm that it was settled
  return 0
end
local bill = ARGV[3] ~= '' and cjson.decode(ARGV[3]) or nil
local function sums_of(turns, chosen)
  local sums = { turns = turns, tokens = 0, output_tokens = 0, images = 0, microdollars = 0, unpriced = 0 }
  for _, use in ipairs(bill.usage or {}) do
    if not chosen or use.deployment == chosen then
      local output = use.output_tokens or 0
      sums.tokens = sums.tokens + (use.input_tokens or 0) + output
      sums.output_tokens = sums.output_tokens + output
      sums.images = sums.images + (use.images or 0)
      if type(use.usd) == 'number' then
        sums.microdollars = sums.microdollars + use.usd * 1000000
      else
        sums.unpriced = sums.unpriced + 1
      end
    end
  end
  sums.microdollars = math.floor(sums.microdollars + 0.5)
  return sums
end
local function add(name, field, amount)
  if amount ~= 0 then
    redis.call('HINCRBY', name, field, string.format('%.0f', amount))
  end
end

local whole = bill and sums_of(bill.turns or 0) or { tokens = 0 }
if held.day then
  local ids = { person = held.person, tenant = '', channel = held.channel ~= '' and held.channel or nil }
  for scope, id in pairs(ids) do
    for _, period in ipairs({ held.day, held.month }) do
      local name = prefix .. 'spent:' .. period .. ':' .. scope .. ':' .. id
      if redis.call('EXISTS', name) == 1 then -- else the person's data was deleted meanwhile
        for _, measure in ipairs({ 'turns', 'tokens', 'microdollars' }) do
          add(name, 'held_' .. measure, -tonumber(held[measure] or 0))
        end
      end
    end
    local minute = prefix .. 'rate:' .. scope .. ':' .. id
    if held['minute_' .. scope] and redis.call('HGET', minute, 'began') == held['minute_' .. scope] then
      add(minute, 'tokens', whole.tokens - tonumber(held.tokens or 0))
    end
  end
end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[2])
if not bill then
  return 1
end
redis.call('HSET', KEYS[1], 'done', 1)
redis.call('EXPIRE', KEYS[1], ARGV[5])

local day, month = string.sub(bill.at, 1, 10), string.sub(bill.at, 1, 7)
local payers = { person = bill.person, tenant = '', channel = bill.channel }
for scope, id in pairs(payers) do
  for _, period in ipairs({ day, month }) do
    local name = prefix .. 'spent:' .. period .. ':' .. scope .. ':' .. id
    for field, amount in pairs(whole) do
      add(name, field, amount)
    end
    local ends = redis.call('HGET', name, 'ends') -- the person's data was deleted: see admit.lua
    if ends then
      redis.call('EXPIREAT', name, ends)
    else
      redis.call('EXPIRE', name, ARGV[4])
    end
  end
end
local tally = prefix .. 'tally:' .. day
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
local seen = {}
for _, use in ipairs(bill.usage or {}) do
  if not seen[use.deployment] then
    seen[use.deployment] = true
    write('deployment', use.deployment, sums_of(bill.turns or 0, use.deployment))
  end
end
redis.call('EXPIRE', tally, ARGV[4])
return 1
