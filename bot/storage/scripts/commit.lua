-- Store a turn and complete its event: the turn, its prompts, its images, the head of the inbox and the lease change in one
-- step, and only for the holder of the lease.
-- KEYS lease, ready, inbox, turns, buried, waiting, owed, talks of the person, others, unanswered, sent, picture...
-- ARGV token, conversation, channel, turn or '', place ('' appends, else an index counted from the end),
--      turns to keep, retention s, dead letter or '', its life s, tenant or '', event to charge or '', its charge,
--      life of owed s, life of talks s, id of the turn at the place or '', whether others speak from now on (1, 0,
--      or '': unchanged), record of a message that is not answered or '', its life s, maximum number of such records,
--      sent, picture...
-- An empty turn with a place removes the turn there. If turns were erased since the claim, the place is found by id, and an
-- erased turn is not stored again. Nothing of a withdrawn event is stored.
-- Returns 0 if the lease belongs to another worker, 2 if this commit was made before, else 1.
local lease = redis.call('HMGET', KEYS[1], 'token', 'committed', 'withdrawn')
if lease[2] == ARGV[1] then
  redis.call('HSET', KEYS[1], 'committed', ARGV[1]) -- a write, so that replicas confirm a repeated commit, too
  return 2
elseif lease[1] ~= ARGV[1] then
  return 0
end
local turn, place, retention, kept = ARGV[4], ARGV[5], ARGV[7], not lease[3]
local function is_at(raw)
  local ok, found = pcall(cjson.decode, raw or '')
  return ok and type(found) == 'table' and found.id == ARGV[15]
end
if kept and place ~= '' and not is_at(redis.call('LINDEX', KEYS[4], place)) then
  kept = false
  for at, raw in ipairs(redis.call('LRANGE', KEYS[4], 0, -1)) do
    if is_at(raw) then
      kept, place = true, at - 1
    end
  end
end
if not kept then
  turn, place = '', ''
end
if turn ~= '' then
  if place == '' then
    redis.call('RPUSH', KEYS[4], turn)
    redis.call('LTRIM', KEYS[4], -tonumber(ARGV[6]), -1)
  else
    redis.call('LSET', KEYS[4], place, turn)
  end
elseif place ~= '' then
  redis.call('LSET', KEYS[4], place, '\0')
  redis.call('LREM', KEYS[4], 1, '\0')
end
redis.call('EXPIRE', KEYS[4], retention)
if turn ~= '' then
  redis.call('SADD', KEYS[8], ARGV[2])
  redis.call('EXPIRE', KEYS[8], ARGV[14])
end
if ARGV[11] ~= '' then
  redis.call('HSET', KEYS[7], ARGV[11], ARGV[12])
  redis.call('EXPIRE', KEYS[7], ARGV[13])
end
if ARGV[16] == '1' then
  redis.call('SET', KEYS[9], 1, 'EX', retention)
elseif ARGV[16] == '0' then
  redis.call('DEL', KEYS[9])
end
if ARGV[17] ~= '' then
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[10], time[1], ARGV[17])
  redis.call('ZREMRANGEBYSCORE', KEYS[10], '-inf', time[1] - ARGV[18])
  redis.call('ZREMRANGEBYRANK', KEYS[10], 0, -ARGV[19] - 1)
  redis.call('EXPIRE', KEYS[10], ARGV[18])
end
for i = 11, #KEYS do
  if kept and ARGV[i + 9] ~= '' then
    redis.call('SET', KEYS[i], ARGV[i + 9], 'EX', retention)
  end
end
if ARGV[8] ~= '' and kept then
  redis.call('RPUSH', KEYS[5], ARGV[8])
  redis.call('EXPIRE', KEYS[5], ARGV[9])
end
redis.call('LPOP', KEYS[3])
if ARGV[10] ~= '' and redis.call('HINCRBY', KEYS[6], ARGV[10], -1) <= 0 then
  redis.call('HDEL', KEYS[6], ARGV[10])
end
redis.call('HINCRBY', KEYS[1], 'token', 1) -- nothing more can be stored under this lease
redis.call('HSET', KEYS[1], 'committed', ARGV[1]) -- a repeated commit is recognized
redis.call('HDEL', KEYS[1], 'attempt', 'post', 'stop', 'withdrawn', 'open', 'lost', 'certain', 'generated', 'failures', 'since')
if redis.call('LLEN', KEYS[3]) == 0 then
  redis.call('ZREM', KEYS[2], ARGV[2])
  if redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('DEL', KEYS[6]) -- no pending events in this shard: a wrong count is corrected here
  end
else
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[2])
  redis.call('PUBLISH', ARGV[3], ARGV[2])
end
return 1
