-- Replace or remove an element of a list, if it has not changed since it was read.
-- KEYS list    ARGV old, new ('': remove it)
-- Returns 0 if it was not found, else 1.
local place = redis.call('LPOS', KEYS[1], ARGV[1])
if not place then
  return 0
end
if ARGV[2] == '' then
  redis.call('LREM', KEYS[1], 1, ARGV[1])
else
  redis.call('LSET', KEYS[1], place, ARGV[2])
end
return 1
