-- Claim the conversation of this shard that has been due longest, under a lease.
-- KEYS ready
-- ARGV prefix of the shard's keys, lease ms, turns to return, lease life s, ticket, again (1 or 0)
-- `again`: the reply to this ticket was lost; the claim that it made is returned once more.
-- Returns {conversation, token, attempt, post or false, stop request or false, number of erasures or false, event, waited ms,
--          due (ms until the next one, or -1), number of lost workers, whether the event was certainly the cause,
--          number of failures of the platform, ms since the first of them, whether others speak, turn...}.
-- A worker is lost if it neither released nor committed: `open` is still set, to 1 or to what the worker reported.
-- If nothing is due: {false, ms until the earliest is due, or -1}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function until_next()
  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  if #first == 0 then
    return -1
  end
  return math.max(0, tonumber(first[2]) - now)
end
local function lease_of(conversation)
  return ARGV[1] .. 'lease:' .. conversation
end
local function held(conversation, event, waited)
  redis.call('ZADD', KEYS[1], now + ARGV[2], conversation)
  local lease = redis.call('HMGET', lease_of(conversation), 'token', 'attempt', 'post', 'stop', 'erasures', 'lost', 'certain', 'failures',
    'since')
  local answer = { conversation, tonumber(lease[1]), tonumber(lease[2]), lease[3], lease[4], lease[5], event, waited,
    until_next(), tonumber(lease[6] or 0), tonumber(lease[7] or 0), tonumber(lease[8] or 0), now - tonumber(lease[9] or now),
    redis.call('EXISTS', ARGV[1] .. 'others:' .. conversation) }
  for _, turn in ipairs(redis.call('LRANGE', ARGV[1] .. 'turns:' .. conversation, -tonumber(ARGV[3]), -1)) do
    answer[#answer + 1] = turn
  end
  return answer
end
if ARGV[6] == '1' then
  for _, conversation in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf')) do
    if redis.call('HGET', lease_of(conversation), 'ticket') == ARGV[5] then
      return held(conversation, redis.call('LINDEX', ARGV[1] .. 'inbox:' .. conversation, 0), 0)
    end
  end
end
while true do
  local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, 1)
  if #due == 0 then
    return { false, until_next() }
  end
  local conversation = due[1]
  local event = redis.call('LINDEX', ARGV[1] .. 'inbox:' .. conversation, 0)
  if event then
    local lease = lease_of(conversation)
    redis.call('HINCRBY', lease, 'token', 1)
    redis.call('HINCRBY', lease, 'attempt', 1)
    local open = redis.call('HGET', lease, 'open')
    if open then
      redis.call('HINCRBY', lease, 'lost', 1)
      redis.call('HSET', lease, 'certain', open == '1' and 0 or 1)
    end
    redis.call('HSET', lease, 'ticket', ARGV[5], 'open', 1)
    redis.call('EXPIRE', lease, ARGV[4])
    return held(conversation, event, now - tonumber(due[2]))
  end
  redis.call('ZREM', KEYS[1], conversation) -- no pending event: remove the entry and continue
end
