-- Renew a lease, and store the post that was started under it.
-- KEYS lease, ready
-- ARGV token, conversation, lease ms, post or '', company ('alone': no other turn runs in the process; '1': others do;
--      '': unchanged)
-- Returns false if the lease belongs to another worker, else the stop request: event and reason in two lines, or ''.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return false
end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[2], 'XX', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3], ARGV[2])
if ARGV[4] ~= '' then
  local post = ARGV[4]
  if redis.call('HEXISTS', KEYS[1], 'withdrawn') == 1 then -- the asker's data was deleted, and with it what was streamed
    local ok, found = pcall(cjson.decode, post)
    if ok and type(found.data) == 'table' then
      found.data.streamed = nil
      post = cjson.encode(found)
    end
  end
  redis.call('HSET', KEYS[1], 'post', post)
end
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[1], 'open', ARGV[5])
end
return redis.call('HGET', KEYS[1], 'stop') or ''
