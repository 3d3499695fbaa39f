-- Remove all turns of one person from a conversation, in one step, and return them.
-- KEYS turns, talks of the person    ARGV user id, tenant, conversation, until (ISO 8601 in UTC; '': all turns)
-- Where the person started over, the turn before it says so from then on: what others said earlier stays out of prompts.
local gone, left, before, resets = {}, false, nil, false
for _, raw in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  local ok, turn = pcall(cjson.decode, raw)
  local user = ok and turn.said and turn.said.user
  local theirs = user and user.id == ARGV[1] and user.tenant == ARGV[2]
  if theirs and (ARGV[4] == '' or turn.said.at <= ARGV[4]) then
    if turn.resets and before and not resets then
      local started_over = string.sub(before, 1, -2) .. ',"resets":true,"kept":""}'
      redis.call('LINSERT', KEYS[1], 'BEFORE', before, started_over)
      redis.call('LREM', KEYS[1], 1, before)
      before, resets = started_over, true
    end
    redis.call('LREM', KEYS[1], 1, raw)
    gone[#gone + 1] = raw
  else
    left = left or theirs
    before, resets = raw, ok and turn.resets
  end
end
if not left then
  redis.call('SREM', KEYS[2], ARGV[3])
end
return gone
