"""What Redis does for an inbox, each script at once. The keys are described in ``inbox.py``."""

_NOW = "local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000);"
# remove(token): remove a message; returns the next one of its line, if there is one.
# lend(token, owner, ms): make a message its process's; returns what it needs to begin with it.
_COMMON = f"""{_NOW}
local messages, leases, state = KEYS[1], KEYS[2], KEYS[3]
local function remove(token)
  local line = redis.call('HGET', state, 'line:' .. token)
  local after = redis.call('HGET', state, 'next:' .. token)
  redis.call('HDEL', messages, token)
  redis.call('ZREM', leases, token)
  for kind in string.gmatch('owner tries note withdrawn since line next', '%a+') do
    redis.call('HDEL', state, kind .. ':' .. token)
  end
  if not after and line then redis.call('HDEL', state, 'last:' .. line) end
  return after
end
local function lend(token, owner, ms)
  redis.call('ZADD', leases, string.format('%.0f', now + ms), token)
  redis.call('HSET', state, 'owner:' .. token, owner)
  local tries = redis.call('HINCRBY', state, 'tries:' .. token, 1)
  return {{token, redis.call('HGET', messages, token), tries,
    redis.call('HGET', state, 'note:' .. token) or '',
    redis.call('HGET', state, 'withdrawn:' .. token) or '',
    string.format('%.0f', now - redis.call('HGET', state, 'since:' .. token))}}
end
"""
# KEYS: messages, leases, state, seen of ids …, seen of what it is about, if it is about something.
# ARGV: token, message, owner, lease (ms), day (ms), most, line, number of ids.
# Returns a number (-1 full, 0 known, 1 the process's, 2 it waits) and the token that it withdrew.
TAKE = f"""{_COMMON}
local token, line, last_id = ARGV[1], ARGV[7], 3 + ARGV[8]
local known = false
for i = 4, last_id do known = known or redis.call('EXISTS', KEYS[i]) == 1 end
if not known and redis.call('HLEN', messages) >= tonumber(ARGV[6]) then return {{-1, ''}} end
for i = 4, last_id do redis.call('SET', KEYS[i], token, 'PX', ARGV[5], 'NX') end
if known then return {{0, ''}} end
local earlier = ''
if #KEYS > last_id then
  earlier = redis.call('GET', KEYS[#KEYS]) or ''
  if redis.call('HEXISTS', messages, earlier) == 1 then
    redis.call('HSET', state, 'withdrawn:' .. earlier, 1)
  end
  redis.call('SET', KEYS[#KEYS], token, 'PX', ARGV[5])
end
redis.call('HSET', messages, token, ARGV[2])
redis.call('HSET', state, 'line:' .. token, line, 'since:' .. token, string.format('%.0f', now))
local last = redis.call('HGET', state, 'last:' .. line)
redis.call('HSET', state, 'last:' .. line, token)
if last then
  redis.call('HSET', state, 'next:' .. last, token)
  return {{2, earlier}}
end
lend(token, ARGV[3], ARGV[4])
return {{1, earlier}}
"""
# KEYS: messages, leases, state. ARGV: owner, lease (ms). The message whose lease lapsed first.
TAKE_UP = f"""{_COMMON}
while true do
  local found = redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, 1)
  if #found == 0 then return false end
  if redis.call('HEXISTS', messages, found[1]) == 1 then return lend(found[1], ARGV[1], ARGV[2]) end
  local after = remove(found[1])
  if after then redis.call('ZADD', leases, 0, after) end
end
"""
# KEYS: messages, leases, state. ARGV: owner, token, lease (ms). Lends the next one of the line.
DONE = f"""{_COMMON}
if redis.call('HGET', state, 'owner:' .. ARGV[2]) ~= ARGV[1] then return false end
local after = remove(ARGV[2])
while after and redis.call('HEXISTS', messages, after) == 0 do after = remove(after) end
return after and lend(after, ARGV[1], ARGV[3])
"""
# KEYS: leases, state. ARGV: owner, lease (ms), token … Returns the tokens that are another's now.
RENEW = f"""{_NOW}
local lost = {{}}
for i = 3, #ARGV do
  if redis.call('HGET', KEYS[2], 'owner:' .. ARGV[i]) == ARGV[1] then
    redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', now + ARGV[2]), ARGV[i])
  else lost[#lost + 1] = ARGV[i] end
end
return lost
"""
# KEYS: leases, state. ARGV: owner, after (ms), token … What was begun in vain is no try.
LET_GO = f"""{_NOW}
for i = 3, #ARGV do
  if redis.call('HGET', KEYS[2], 'owner:' .. ARGV[i]) == ARGV[1] then
    redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', now + ARGV[2]), ARGV[i])
    redis.call('HINCRBY', KEYS[2], 'tries:' .. ARGV[i], -1)
  end
end
"""
# KEYS: state. ARGV: owner, token, note.
NOTE = """
if redis.call('HGET', KEYS[1], 'owner:' .. ARGV[2]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'note:' .. ARGV[2], ARGV[3])
return 1
"""
