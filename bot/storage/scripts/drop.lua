-- Delete keys of one slot. A script, so that replicas confirm it: what is ended must not come back after a failover.
-- KEYS any number
-- ARGV none. Returns how many there were.
return redis.call('DEL', unpack(KEYS))
