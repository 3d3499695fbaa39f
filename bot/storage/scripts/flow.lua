-- What of a shard is due, by flow: the channel or chat of a conversation, without its thread.
-- At most this many due conversations of a shard are compared; there are 64 shards.
local COMPARED = 512
local function flow_of(conversation) -- as in bot.storage.redis.keys
  local flow, cut = string.gsub(conversation, ';.*$', '')
  if cut == 0 then
    flow = string.gsub(conversation, ':[0-9.]+$', '')
  end
  return flow
end
local function tenant_of(flow)
  return string.match(flow, '^([^:]*:[^:]*):') or string.match(flow, '^[^:]*')
end
-- Returns {0, flow that is due...}, or {ms until something is due, its flow}, or {-1}; and whether more is due than was compared.
local function coming(ready, now)
  local answer, listed = { 0 }, {}
  local due = redis.call('ZRANGEBYSCORE', ready, '-inf', now, 'LIMIT', 0, COMPARED)
  for _, conversation in ipairs(due) do
    local flow = flow_of(conversation)
    if not listed[flow] then
      listed[flow] = true
      answer[#answer + 1] = flow
    end
  end
  if #answer == 1 then
    local first = redis.call('ZRANGE', ready, 0, 0, 'WITHSCORES')
    answer = first[1] and { math.max(0, tonumber(first[2]) - now), flow_of(first[1]) } or { -1 }
  end
  return answer, #due == COMPARED
end
