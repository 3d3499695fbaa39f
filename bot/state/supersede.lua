-- Stop the answer that runs in this conversation, when it is one to the same person and not this very event.
-- KEYS lease, inbox    ARGV event, user, tenant, conversation, channel, target ('': whatever they asked)
-- Publishes the conversation and the event that is stopped: a late word stops nothing that came after it.
local head = redis.call('LINDEX', KEYS[2], 0)
local ok, running = pcall(cjson.decode, head or '')
if not ok or running.type ~= 'said' or running.id == ARGV[1] or redis.call('HEXISTS', KEYS[1], 'attempt') == 0 then
  return 0
end
if running.user.id ~= ARGV[2] or running.user.tenant ~= ARGV[3] or (ARGV[6] ~= '' and running.id ~= ARGV[6]) then
  return 0
end
redis.call('HSET', KEYS[1], 'stop', 1)
redis.call('PUBLISH', ARGV[5], ARGV[4] .. '\n' .. running.id)
return 1
