-- Delete a conversation's summary and its stream of the studio, and drop summaries that were started before.
-- KEYS summary, feed, lease    ARGV life of lease s
-- Returns the token under which the conversation is being answered, 0 when it is not.
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HINCRBY', KEYS[3], 'erasures', 1)
redis.call('EXPIRE', KEYS[3], ARGV[1])
local lease = redis.call('HMGET', KEYS[3], 'token', 'attempt', 'ticket')
return lease[2] and lease[3] and tonumber(lease[1]) or 0
