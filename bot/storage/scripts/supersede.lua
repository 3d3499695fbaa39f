-- Replace a person's earlier messages by a new event: stop the answer that is being written to the same person, and mark
-- their messages that are still waiting. The event itself, and events that are not the target, are left alone.
-- KEYS lease, inbox
-- ARGV event, user, tenant, conversation, channel, target ('': any message), reason
-- The stop request names the event that it stops, so that a late request stops nothing newer.
local stopped = 0
for at, waiting in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  local ok, said = pcall(cjson.decode, waiting)
  if ok and said.id == ARGV[1] then
    break
  end
  local theirs = ok and said.type == 'said' and said.user.id == ARGV[2] and said.user.tenant == ARGV[3]
  if theirs and ARGV[6] == '' and not said.superseded then
    redis.call('LSET', KEYS[2], at - 1, '{"superseded":true,' .. string.sub(waiting, 2))
  end
  if theirs and at == 1 and (ARGV[6] == '' or said.id == ARGV[6]) and redis.call('HEXISTS', KEYS[1], 'attempt') == 1 then
    local wish = said.id .. '\n' .. ARGV[7]
    redis.call('HSET', KEYS[1], 'stop', wish)
    redis.call('PUBLISH', ARGV[5], ARGV[4] .. '\n' .. wish)
    stopped = 1
  end
end
return stopped
