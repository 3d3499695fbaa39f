-- Append a record to the log of what was published, if nothing else was appended since it was checked.
-- KEYS log
-- ARGV records that the writer has seen, record, channel
if redis.call('LLEN', KEYS[1]) ~= tonumber(ARGV[1]) then
  return 0
end
redis.call('RPUSH', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[1] + 1)
return 1
