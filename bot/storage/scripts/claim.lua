-- Claim a conversation of this shard that is due, under a lease: of the flow that is wanted, else of its tenant, else any;
-- among those, the one that has been due longest. Workers remember whom they serve, and want who is served least.
-- KEYS ready
-- ARGV prefix of the shard's keys, lease ms, turns to return, lease life s, ticket, again (1 or 0), flow that is wanted or '',
--      tenants that may not have more places...
-- `again`: the reply to this ticket was lost; the claim that it made is returned once more.
-- Returns {conversation, token, attempt, post or false, stop request or false, number of erasures or false, event, waited ms,
--          what else is `coming`, number of lost workers, whether the event was certainly the cause,
--          number of failures of the platform, ms since the first of them, whether others speak, turn...}.
-- A worker is lost if it neither released nor committed: `open` is still set, to 1 or to what the worker reported.
-- If nothing is due for this worker: {false, what is `coming`}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function lease_of(conversation)
  return ARGV[1] .. 'lease:' .. conversation
end
local function held(conversation, event, waited)
  redis.call('ZADD', KEYS[1], now + ARGV[2], conversation)
  local lease = redis.call('HMGET', lease_of(conversation), 'token', 'attempt', 'post', 'stop', 'erasures', 'lost', 'certain', 'failures',
    'since')
  local answer = { conversation, tonumber(lease[1]), tonumber(lease[2]), lease[3], lease[4], lease[5], event, waited,
    (coming(KEYS[1], now)), tonumber(lease[6] or 0), tonumber(lease[7] or 0), tonumber(lease[8] or 0), now - tonumber(lease[9] or now),
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
local full = {}
for i = 8, #ARGV do
  full[ARGV[i]] = true
end
-- The conversation to claim, and since when it is due; nil for none. Further ones are compared only if all tenants are full.
local function chosen(from)
  local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', from, COMPARED)
  local of_tenant, any
  for i = 1, #due, 2 do
    local flow = flow_of(due[i])
    local tenant = tenant_of(flow)
    if not full[tenant] then
      if flow == ARGV[7] then
        return due[i], due[i + 1]
      end
      any = any or i
      if ARGV[7] ~= '' and tenant == tenant_of(ARGV[7]) then
        of_tenant = of_tenant or i
      end
    end
  end
  local at = of_tenant or any
  if at then
    return due[at], due[at + 1]
  elseif #due == 2 * COMPARED then
    return chosen(from + COMPARED)
  end
end
while true do
  local conversation, since = chosen(0)
  if not conversation then
    return { false, (coming(KEYS[1], now)) }
  end
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
    return held(conversation, event, now - tonumber(since))
  end
  redis.call('ZREM', KEYS[1], conversation) -- no pending event: remove the entry and continue
end
