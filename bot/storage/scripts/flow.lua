-- What of a shard is due, by flow: the channel or chat of a conversation, without its thread.
local LISTED = 32 -- conversations whose flows are listed; there are 64 shards
local function flow_of(conversation) -- as in bot.storage.redis.keys
  local thread = string.find(conversation, ';', 1, true)
  if thread then
    return string.sub(conversation, 1, thread - 1)
  end
  return string.match(conversation, '^(.*):[0-9.]+$') or conversation
end
-- Returns {0, flow that is due..., '' if more is due than was looked at}, or {ms until something is due, its flow}, or {-1}.
-- Of more, another part is looked at each time.
local function coming(ready, now)
  local first = redis.call('ZRANGE', ready, 0, 0, 'WITHSCORES')
  if not first[1] then
    return { -1 }
  elseif tonumber(first[2]) > now then
    return { tonumber(first[2]) - now, flow_of(first[1]) }
  end
  local answer, listed, total = { 0 }, {}, redis.call('ZCOUNT', ready, '-inf', now)
  local from = total > LISTED and now % 1000003 * 7919 % total or 0
  local due = redis.call('ZRANGE', ready, from, math.min(total, from + LISTED) - 1)
  for _, conversation in ipairs(due) do
    local flow = flow_of(conversation)
    if not listed[flow] then
      listed[flow] = true
      answer[#answer + 1] = flow
    end
  end
  if total > #due then
    answer[#answer + 1] = ''
  end
  return answer
end
