-- The beginning of scripts that store a post with its lease.
-- Returns the post as it may be kept: if the asker's data was deleted, what was streamed went with it.
local function kept(lease, post)
  if redis.call('HEXISTS', lease, 'withdrawn') == 0 then
    return post
  end
  local ok, found = pcall(cjson.decode, post)
  if ok and type(found.data) == 'table' then
    found.data.streamed = nil
    post = cjson.encode(found)
  end
  return post
end
