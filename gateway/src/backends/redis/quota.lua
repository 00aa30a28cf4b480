-- Budgets of partners over the whole fleet: one replica's round, for all of its budgets at once.
--
-- A budget is a hash: t, its tokens; at, when they were last counted (microseconds of Redis's own clock); h<replica>, what
-- that replica had in hand when it last told; u and by, when a replica last got less than it needed, and which.
-- Tokens and all that is in hands never exceed the burst together, so whatever is admitted anywhere in any time T is at most
-- rate * T + burst: what comes in while hands are full is lost, also where those hands are empty by now and did not tell.
--
-- KEYS: replicas alive (a sorted set by time), then a hash for every budget.
-- ARGV: who asks, microseconds after which a silent replica is not alive, then for every budget: tokens a second, burst, what
-- the replica has in hand, what it gives back (or, negative, what was admitted without asking), what it needs in hand, and
-- how many tokens there are if the budget is not known here.
-- Answers: replicas alive, then for every budget: tokens granted, how many more than needed may be kept in hand, tokens
-- left, milliseconds until there is a whole one, what others hold, and 1 if another replica lacked some of late.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local me, silent = ARGV[1], tonumber(ARGV[2])
local lately = 250000

local function whole(number)
  return string.format('%.0f', number)
end

-- Also those from ahead of now: this clock may be another server's than theirs was.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now - silent))
redis.call('ZREMRANGEBYSCORE', KEYS[1], whole(now + silent), '+inf')
-- What it had in hand it has no more: it does not use a grant that old.
local was_away = not redis.call('ZSCORE', KEYS[1], me)
redis.call('ZADD', KEYS[1], whole(now), me)
redis.call('PEXPIRE', KEYS[1], whole(silent / 500))
local alive, replicas = {}, 0
for _, replica in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  alive['h' .. replica] = true
  replicas = replicas + 1
end

local answer = { replicas }
for budget = 2, #KEYS do
  local first = 3 + (budget - 2) * 6
  local rate, burst = tonumber(ARGV[first]), tonumber(ARGV[first + 1])
  local hand, give = tonumber(ARGV[first + 2]), tonumber(ARGV[first + 3])
  local need, tokens = tonumber(ARGV[first + 4]), tonumber(ARGV[first + 5])
  local key, at, mine, others, lacked, by = KEYS[budget], now, 0, 0, nil, nil
  local all, gone = redis.call('HGETALL', key), {}
  for i = 1, #all, 2 do
    local field, value = all[i], all[i + 1]
    if field == 't' then tokens = tonumber(value)
    elseif field == 'at' then at = tonumber(value)
    elseif field == 'u' then lacked = tonumber(value)
    elseif field == 'by' then by = value
    elseif field == 'h' .. me then mine = was_away and 0 or tonumber(value)
    elseif alive[field] then others = others + tonumber(value)
    else gone[#gone + 1] = field end
  end
  if #gone > 0 then redis.call('HDEL', key, unpack(gone)) end

  -- What came in since; none where the clock went back.
  tokens = math.min(tokens + rate * math.max(now - at, 0) / 1000000, burst - others - mine)
  tokens = math.max(math.min(tokens + give, burst - others - hand), -burst)

  local function take(wanted)
    local taken = math.max(math.min(math.floor(tokens), wanted), 0)
    tokens = tokens - taken
    hand = hand + taken
    return taken
  end
  local granted = take(need - hand)
  local scarce = lacked and by ~= me and math.abs(now - lacked) < lately
  if hand < need then
    redis.call('HSET', key, 'u', whole(now), 'by', me)
  end
  -- A share of what nobody needs now, so that what begins anywhere is served at once. Who is alone has half, and the only
  -- token: another that comes shall find some.
  local spare = math.max(tokens, 0) + math.max(hand - need, 0)
  local share = replicas == 1 and math.ceil(spare / 2) or math.floor(spare / (2 * replicas - 1))
  granted = granted + take(need + share - hand)

  redis.call('HSET', key, 't', string.format('%.6f', tokens), 'at', whole(now), 'h' .. me, whole(hand))
  redis.call('PEXPIRE', key, whole(10000 + burst / rate * 1000))
  local wait = math.ceil(math.max(1 - tokens, 0) / rate * 1000)
  for _, number in ipairs({ granted, share, math.floor(tokens), wait, others, scarce and 1 or 0 }) do
    answer[#answer + 1] = number
  end
end
return answer
