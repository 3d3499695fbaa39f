-- Choose a deployment that is neither cooling down nor at its rate limits, and charge its token buckets, in one step.
-- KEYS  two of each deployment: a hash (until: the end of its cool-down; requests, tokens: when that bucket is full
--       again; in ms) and a set (parameters that its model refuses); first the candidates, in order of preference
-- ARGV  how many candidates, longest wait ms, life of a hash ms, life of a set ms; then of each candidate: cost and
--       slack ms of its requests, of its tokens; then of each other: cool-down ms, refused parameters by comma
-- A deployment for which requests wait (tail: when the next one may come; see queue.lua) is not free for others before that.
-- A cool-down longer than five minutes is a mistake, and is cut to one minute.
-- Returns {chosen (0: none), ms to wait (for none: until one is free), then of each candidate: cool-down ms, refused}
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local candidates, longest = tonumber(ARGV[1]), tonumber(ARGV[2])

local at = 4 + 4 * candidates
for n = candidates + 1, #KEYS / 2 do
  local hash, set, rest = KEYS[2 * n - 1], KEYS[2 * n], tonumber(ARGV[at + 1])
  if rest > 0 then
    local till = math.max(now + rest, tonumber(redis.call('HGET', hash, 'until') or 0))
    redis.call('HSET', hash, 'until', till)
    redis.call('PEXPIRE', hash, math.ceil(math.max(till - now, ARGV[3], redis.call('PTTL', hash))))
  end
  for name in string.gmatch(ARGV[at + 2], '[^,]+') do
    redis.call('SADD', set, name)
    redis.call('PEXPIRE', set, ARGV[4])
  end
  at = at + 2
end

local chosen, least, soonest, found, buckets = 0, longest, math.huge, {}, {}
for n = 1, candidates do
  local kept = redis.call('HMGET', KEYS[2 * n - 1], 'until', 'requests', 'tokens', 'tail')
  local rest = math.max(0, tonumber(kept[1] or 0) - now)
  if rest > 300000 then
    rest = 60000
    redis.call('HSET', KEYS[2 * n - 1], 'until', now + rest)
  end
  local wait, full = math.max(rest, math.min(tonumber(kept[4] or 0) - now, 300000)), {}
  local queued = wait > rest
  for kind = 1, 2 do
    full[kind] = math.max(now, tonumber(kept[kind + 1] or 0))
    wait = math.max(wait, full[kind] - now - ARGV[4 + 4 * (n - 1) + 2 * kind])
  end
  found[n], buckets[n] = rest, full
  soonest = math.min(soonest, wait)
  if rest == 0 and not queued and (wait < least or (chosen == 0 and wait == least)) then
    chosen, least = n, wait
  end
end

if chosen > 0 then
  local hash, first = KEYS[2 * chosen - 1], 4 * chosen
  local costs = { tonumber(ARGV[first + 1]), tonumber(ARGV[first + 3]) }
  for kind, name in ipairs({ 'requests', 'tokens' }) do
    if costs[kind] > 0 then
      redis.call('HSET', hash, name, buckets[chosen][kind] + costs[kind])
      redis.call('PEXPIRE', hash, math.ceil(math.max(ARGV[3], buckets[chosen][kind] + costs[kind] - now)))
    end
  end
end
local answer = { chosen, math.ceil(chosen > 0 and least or (candidates > 0 and soonest or 0)) }
for n = 1, candidates do
  answer[#answer + 1] = math.ceil(found[n])
  answer[#answer + 1] = table.concat(redis.call('SMEMBERS', KEYS[2 * n]), ',')
end
return answer
