-- Delete a conversation's summary, its stream of the studio, and what was streamed of an answer; drop summaries that were
-- started before.
-- KEYS summary, feed, lease    ARGV life of lease s
-- Returns the token under which the conversation is being answered, 0 when it is not.
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HINCRBY', KEYS[3], 'erasures', 1)
redis.call('EXPIRE', KEYS[3], ARGV[1])
local lease = redis.call('HMGET', KEYS[3], 'token', 'attempt', 'ticket', 'post')
local ok, post = pcall(cjson.decode, lease[4] or '')
if ok and type(post.data) == 'table' and post.data.streamed then
  post.data.streamed = nil
  redis.call('HSET', KEYS[3], 'post', cjson.encode(post))
end
return lease[2] and lease[3] and tonumber(lease[1]) or 0
