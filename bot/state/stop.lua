-- Ask the worker that answers here to stop. Whoever is not the one who asked needs leave.
-- KEYS lease, inbox    ARGV user, tenant, conversation, channel, lease life s, leave (1 or 0)
-- Returns 0 when somebody else asked, else 1.
local ok, running = pcall(cjson.decode, redis.call('LINDEX', KEYS[2], 0) or '')
if ok and running.user and ARGV[6] == '0' and (running.user.id ~= ARGV[1] or running.user.tenant ~= ARGV[2]) then
  return 0
end
redis.call('HSET', KEYS[1], 'stop', 1)
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('PUBLISH', ARGV[4], ARGV[3])
return 1
