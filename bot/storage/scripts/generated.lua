-- Store a finished reply before it is delivered: the turn, its prompts, its images and its cost, in one step, and only for
-- the holder of the lease. The event stays at the head of the inbox until the reply is delivered.
-- KEYS lease, turns, owed, talks of the person, sent, picture...
-- ARGV token, conversation, turn, place ('' appends, else an index counted from the end), id of the turn at the place or '',
--      turns to keep, retention s, life of talks s, event to charge or '', its charge, life of owed s, sent, picture...
-- Nothing but the cost is stored of a withdrawn event, or in place of a turn that was erased since the claim.
-- Returns 0 if the lease belongs to another worker, else 1.
local lease = redis.call('HMGET', KEYS[1], 'token', 'generated', 'withdrawn')
if lease[1] ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'generated', ARGV[1]) -- also if it is repeated: replicas confirm only writes
if lease[2] == ARGV[1] then
  return 1 -- the response to the first call was lost
end
if ARGV[9] ~= '' then
  redis.call('HSET', KEYS[3], ARGV[9], ARGV[10])
  redis.call('EXPIRE', KEYS[3], ARGV[11])
end
if lease[3] then
  return 1
end
local place, retention = ARGV[4], ARGV[7]
if place == '' then
  redis.call('RPUSH', KEYS[2], ARGV[3])
  redis.call('LTRIM', KEYS[2], -tonumber(ARGV[6]), -1)
else
  local at = nil
  local function is_at(raw)
    local ok, found = pcall(cjson.decode, raw or '')
    return ok and type(found) == 'table' and found.id == ARGV[5]
  end
  if is_at(redis.call('LINDEX', KEYS[2], place)) then
    at = place
  else
    for number, raw in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
      if is_at(raw) then
        at = number - 1
      end
    end
  end
  if not at then
    return 1
  end
  redis.call('LSET', KEYS[2], at, ARGV[3])
end
redis.call('EXPIRE', KEYS[2], retention)
redis.call('SADD', KEYS[4], ARGV[2])
redis.call('EXPIRE', KEYS[4], ARGV[8])
for i = 5, #KEYS do
  if ARGV[i + 7] ~= '' then
    redis.call('SET', KEYS[i], ARGV[i + 7], 'EX', retention)
  end
end
return 1
