-- Put an element of a list in the place of another, or take it out, if it is there still as it was read.
-- KEYS list    ARGV old, new ('': takes it out)
-- Returns 0 when it is not there, else 1.
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
