-- Ask the worker of a conversation to stop, once however often the request is delivered. Anyone but the asker needs
-- permission. The request names the event at the head of the inbox and applies to no other: it outlives the worker, but
-- not the answer.
-- KEYS seen, lease, inbox, owner
-- ARGV user, tenant, conversation, channel, lease life s, permission (1 or 0), event to stop ('': the
--      one that is being answered), seen life s, owner (the only user who may act here; '': anyone may)
-- Returns 'denied' if the conversation belongs to another user, 'ignored' if another user asked the question, 'duplicate'
-- if there is nothing left to stop, else 'accepted'.
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
  if not begun or not post.data or post.data.event ~= ARGV[7] then -- for a regenerated answer only its post is known
    return 'duplicate'
  end
end
local wish = head.id .. '\nasked'
redis.call('SET', KEYS[1], 1, 'EX', ARGV[8])
redis.call('HSET', KEYS[2], 'stop', wish)
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('PUBLISH', ARGV[4], ARGV[3] .. '\n' .. wish)
return 'accepted'
