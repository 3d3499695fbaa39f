-- Ask the worker that answers here to stop, once for all deliveries of the wish. Whoever is not the one who asked
-- needs leave. The wish names the event at the head, and holds for no other: it outlives the worker, not the answer.
-- KEYS seen, lease, inbox, owner
-- ARGV user, tenant, conversation, channel, lease life s, leave (1 or 0), event that it is for ('': what is
--      answered now), seen life s, owner (the one user who may act here; '': anybody may)
-- Returns 'denied' where the conversation is somebody else's, 'ignored' when somebody else asked, 'duplicate' when there is nothing (any more) to stop, else 'accepted'.
local owner = redis.call('GET', KEYS[4])
if ARGV[9] ~= '' and owner and owner ~= ARGV[9] then
  return 'denied'
end
local ok, head = pcall(cjson.decode, redis.call('LINDEX', KEYS[3], 0) or '')
if not ok or not head.id or redis.call('EXISTS', KEYS[1]) == 1 then
  return 'duplicate'
end
if ARGV[6] == '0' and (head.user.id ~= ARGV[1] or head.user.tenant ~= ARGV[2]) then
  return 'ignored'
end
if ARGV[7] ~= '' and ARGV[7] ~= head.id then
  local begun, post = pcall(cjson.decode, redis.call('HGET', KEYS[2], 'post') or '')
  if not begun or not post.data or post.data.event ~= ARGV[7] then -- where an answer is given anew, only its post tells
    return 'duplicate'
  end
end
local wish = head.id .. '\nasked'
redis.call('SET', KEYS[1], 1, 'EX', ARGV[8])
redis.call('HSET', KEYS[2], 'stop', wish)
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('PUBLISH', ARGV[4], ARGV[3] .. '\n' .. wish)
return 'accepted'
