-- Remove all turns of one person from a conversation, in one step, and return them.
-- KEYS turns, talks of the person    ARGV user id, tenant, conversation, until (ISO 8601 in UTC; '': all turns)
local gone, left = {}, false
for _, raw in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  local ok, turn = pcall(cjson.decode, raw)
  local user = ok and turn.said and turn.said.user
  if user and user.id == ARGV[1] and user.tenant == ARGV[2] then
    if ARGV[4] == '' or turn.said.at <= ARGV[4] then
      redis.call('LREM', KEYS[1], 1, raw)
      gone[#gone + 1] = raw
    else
      left = true
    end
  end
end
if not left then
  redis.call('SREM', KEYS[2], ARGV[3])
end
return gone
