-- Judges a showing of a code against its claim, and takes the claim if it is fresh. The rule is domain/claim.rs's.
--
-- A claim is one string: outcome (1: d none yet, f INSPECT, u ALLOW), when first shown (14, ms), device (16),
-- request (16), the request that repeated it (16), first verdict (16), how many are deciding it (2), their verdicts
-- (16 each), and the sealed outcome.
--
-- KEYS: claim, and account where that is asked for. ARGV: device, request, verdict, now, ms the claim is kept, ms of a
-- double read, whether the account is asked for.
local claim = redis.call('GET', KEYS[1])
local account = { false, false }
if ARGV[7] == '1' then account = redis.call('HMGET', KEYS[2], 'l', 'f') end
local ruling, first, outcome = 'fresh', '', ''
if claim then
  local state, deciding = string.sub(claim, 1, 1), tonumber(string.sub(claim, 80, 81))
  local rest = 82 + 16 * deciding
  local same_device = string.sub(claim, 16, 31) == ARGV[1]
  local known = string.sub(claim, 32, 47) == ARGV[2] or string.sub(claim, 48, 63) == ARGV[2]
  local read_twice = tonumber(ARGV[4]) - tonumber(string.sub(claim, 2, 15)) <= tonumber(ARGV[6])
  if same_device and (known or read_twice) and (state ~= 'd' or deciding < 8) then
    ruling, first, outcome = 'repeat', string.sub(claim, 64, 79), string.sub(claim, rest)
    local repeated = string.sub(claim, 48, 63)
    if string.sub(claim, 32, 47) ~= ARGV[2] then repeated = ARGV[2] end
    local verdicts = string.sub(claim, 82, rest - 1)
    if state == 'd' then
      deciding, verdicts = deciding + 1, verdicts .. ARGV[3]
    end
    claim = string.sub(claim, 1, 47) .. repeated .. first .. string.format('%02d', deciding) .. verdicts .. outcome
    redis.call('SET', KEYS[1], claim, 'KEEPTTL')
  elseif not (state == 'f' and deciding == 0) then
    -- Used up, or being decided at this moment: of fifty gates at once, one is fresh.
    ruling = 'replayed'
  end
  if ruling ~= 'fresh' then redis.call('PEXPIRE', KEYS[1], ARGV[5], 'GT') end
end
if ruling == 'fresh' then
  claim = 'd' .. string.format('%014d', ARGV[4]) .. ARGV[1] .. ARGV[2] .. string.rep('\0', 16) .. ARGV[3] .. '01' .. ARGV[3]
  redis.call('SET', KEYS[1], claim, 'PX', ARGV[5])
end
return { ruling, first, outcome, account[1], account[2] }
