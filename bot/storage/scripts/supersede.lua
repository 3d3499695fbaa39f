-- Let an act of a person stand in the place of what they asked before: stop the answer that runs to the same person, and
-- mark what of theirs waits before it. What was asked is left alone where it is this very event, or not the target.
-- KEYS lease, inbox    ARGV event, user, tenant, conversation, channel, target ('': whatever they asked), why
-- The wish to stop names the event that is stopped: a late word stops nothing that came after it.
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
