-- Append a record to the log of publications, if nothing was appended since the writer read it.
-- KEYS log
-- ARGV number of records that the writer has read, record, channel
if redis.call('LLEN', KEYS[1]) ~= tonumber(ARGV[1]) then
  return 0
end
redis.call('RPUSH', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[1] + 1)
return 1
