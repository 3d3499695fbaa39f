-- Move the oldest records of a list to another list, in other words, in one step.
-- KEYS list, other list
-- ARGV number of records that are moved, life of the other list in s, record to add there...
for i = 3, #ARGV do
  redis.call('RPUSH', KEYS[2], ARGV[i])
end
redis.call('EXPIRE', KEYS[2], ARGV[2])
redis.call('LTRIM', KEYS[1], ARGV[1], -1)
