-- Delete a conversation's turns, pending events and summary. A worker that is answering there loses its lease.
-- KEYS lease, inbox, turns, summary, ready, waiting    ARGV conversation
-- Returns {number of pending events, turn...}.
local events = redis.call('LRANGE', KEYS[2], 0, -1)
for _, raw in ipairs(events) do
  local ok, event = pcall(cjson.decode, raw)
  local tenant = ok and event.user and event.user.tenant
  if tenant and redis.call('HINCRBY', KEYS[6], tenant, -1) <= 0 then
    redis.call('HDEL', KEYS[6], tenant)
  end
end
local answer = { #events }
for _, turn in ipairs(redis.call('LRANGE', KEYS[3], 0, -1)) do
  answer[#answer + 1] = turn
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
redis.call('ZREM', KEYS[5], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HINCRBY', KEYS[1], 'token', 1)
  redis.call('HDEL', KEYS[1], 'ticket', 'attempt', 'post', 'stop', 'failures', 'since')
  redis.call('HINCRBY', KEYS[1], 'erasures', 1) -- summaries that were started before are dropped
end
return answer
