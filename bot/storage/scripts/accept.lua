-- Store an event once. Marking it as seen, storing it and making it due are one step, so that no crash can separate them.
-- KEYS seen, inbox, ready, turns, waiting, owner
-- ARGV event, conversation, addressed (1 or 0), limit, seen life s, channel, tenant,
--      share (maximum number of the tenant's pending events in this shard; -1: unlimited), waiting life s,
--      owner (the only user who may act here; '': anyone may), owner life s
if ARGV[10] ~= '' then
  local owner = redis.call('GET', KEYS[6])
  if not owner then -- an older version stored no owner: the conversation belongs to the user who started it
    local ok, turn = pcall(cjson.decode, redis.call('LINDEX', KEYS[4], 0) or '')
    owner = ok and turn.said and turn.said.user.id or ARGV[10]
  end
  if owner ~= ARGV[10] then
    return 'denied'
  end
  redis.call('SET', KEYS[6], owner, 'EX', ARGV[11])
end
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('EXPIRE', KEYS[1], ARGV[5]) -- a write, so that replicas confirm a duplicate, too
  return 'duplicate'
end
local waiting = redis.call('LLEN', KEYS[2])
if ARGV[3] == '0' and waiting == 0 and redis.call('EXISTS', KEYS[4]) == 0 then
  return 'ignored'
end
if waiting >= tonumber(ARGV[4]) then
  return 'busy' -- not marked as seen: the same event may be delivered again later
end
local share = tonumber(ARGV[8])
if share >= 0 and tonumber(redis.call('HGET', KEYS[5], ARGV[7]) or 0) >= share then
  return 'share' -- the caller counts the tenant's events in the other shards
end
redis.call('SET', KEYS[1], 1, 'EX', ARGV[5])
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('HINCRBY', KEYS[5], ARGV[7], 1)
redis.call('EXPIRE', KEYS[5], ARGV[9])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('ZADD', KEYS[3], 'NX', now, ARGV[2]) == 1 then
  redis.call('PUBLISH', ARGV[6], ARGV[2])
end
return 'accepted'
