-- Claim a conversation of this shard that is due, under a lease: of the flow that is wanted, else of its tenant, else any;
-- among those, the one that has been due longest. Workers remember whom they serve, and want who is served least.
-- KEYS ready
-- ARGV prefix of the shard's keys, lease ms, turns to return, lease life s, ticket, again (1 or 0), flow that is wanted or '',
--      its tenant or '', tenants that may not have more places...
-- `again`: the reply to this ticket was lost; the claim that it made is returned once more.
-- Returns {conversation, token, attempt, post or false, stop request or false, number of erasures or false, event, waited ms,
--          what else is `coming`, number of lost workers, whether the event was certainly the cause,
--          number of failures of the platform, ms since the first of them, whether others speak, turn...}.
-- A worker is lost if it neither released nor committed: `open` is still set, to 1 or to what the worker reported.
-- If nothing is due for this worker: {false, what is `coming`}.
local COMPARED = 2048 -- due conversations of a shard among which the flow is looked for
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
    coming(KEYS[1], now), tonumber(lease[6] or 0), tonumber(lease[7] or 0), tonumber(lease[8] or 0), now - tonumber(lease[9] or now),
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
local function is_of(conversation, tenant)
  return string.find(conversation, tenant .. ':', 1, true) == 1
end
local function may_be_claimed(conversation)
  for i = 9, #ARGV do
    if is_of(conversation, ARGV[i]) then
      return false
    end
  end
  return true
end
-- Returns the conversation to claim, and since when it is due; nothing if there is none.
local function chosen()
  local of_tenant, any, due, from, page = nil, nil, nil, 0, 8
  repeat
    due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', from, page)
    for i = 1, #due, 2 do
      local conversation = due[i]
      if may_be_claimed(conversation) then
        any = any or { conversation, due[i + 1] }
        if ARGV[7] ~= '' and is_of(conversation, ARGV[8]) then
          of_tenant = of_tenant or { conversation, due[i + 1] }
          if string.find(conversation, ARGV[7], 1, true) == 1 and flow_of(conversation) == ARGV[7] then
            return conversation, due[i + 1]
          end
        end
      end
    end
    from, page = from + page, page * 2
  until #due < page or any and (ARGV[7] == '' or from >= COMPARED)
  return unpack(of_tenant or any or {})
end
while true do
  local conversation, since = chosen()
  if not conversation then
    return { false, coming(KEYS[1], now) }
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
