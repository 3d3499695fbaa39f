-- Book an attempt at an event in place of what it reserved, once. If it is the last one, the event's reservation ends.
-- KEYS held, holds
-- ARGV prefix of the tenant's keys, event, charge (JSON of bot.storage.usage.charges.Charge; '': the event is abandoned),
--      last (1 or 0), life of spent s, life of held s, life of calls s, limits to watch (see book.lua)
-- Returns the number of notices that were added.
local at = { held = KEYS[1], prefix = ARGV[1], spent_s = ARGV[5], calls_s = ARGV[7], watched = ARGV[8] }
local bill = ARGV[3] ~= '' and cjson.decode(ARGV[3]) or nil
local before = redis.call('HGET', KEYS[1], 'done')
local last = ARGV[4] == '1'
local used = bill and of_calls(bill.usage or {}).tokens or 0
if not before and (last or redis.call('HGET', KEYS[1], 'attempt') == bill.attempt) then
  release(at, last and { 'turns', 'tokens', 'microdollars' } or { 'tokens', 'microdollars' }, used)
end
if bill then
  book(at, ARGV[3], last and not before and bill.turns or 0)
end
if last and not before then
  book_others(at, '')
  redis.call('HDEL', KEYS[1], 'day', 'month', 'person', 'channel', 'guest', 'told', 'told_use', 'attempt')
  if bill then
    redis.call('HSET', KEYS[1], 'done', 1)
  end
  redis.call('ZREM', KEYS[2], ARGV[2])
end
redis.call('EXPIRE', KEYS[1], ARGV[6]) -- also a write, so that replicas confirm that it was settled
return at.noted or 0
