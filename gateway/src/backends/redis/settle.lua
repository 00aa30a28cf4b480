-- A showing of a code was decided, or never will be. A claim that is gone (Redis lost it) is made again; of two that
-- know nothing of each other, the one that used the code up stays. take.lua says what a claim is.
--
-- KEYS: claim. ARGV: device, request, verdict, when shown, ms the claim is kept, outcome (d: never decided; f INSPECT;
-- u ALLOW), first verdict, the sealed outcome.
local claim = redis.call('GET', KEYS[1])
local made = ARGV[6] .. string.format('%014d', ARGV[4]) .. ARGV[1] .. ARGV[2] .. string.rep('\0', 16) .. ARGV[7]
if not claim then
  if ARGV[6] ~= 'd' and tonumber(ARGV[5]) > 0 then
    redis.call('SET', KEYS[1], made .. '00' .. ARGV[8], 'PX', ARGV[5])
  end
  return 0
end
local state, deciding = string.sub(claim, 1, 1), tonumber(string.sub(claim, 80, 81))
local outcome = string.sub(claim, 82 + 16 * deciding)
local verdicts, ours = '', false
for at = 82, 81 + 16 * deciding, 16 do
  local verdict = string.sub(claim, at, at + 15)
  if verdict == ARGV[3] then ours = true else verdicts = verdicts .. verdict end
end
local head = string.sub(claim, 2, 79)
if state ~= 'u' then
  if ours and ARGV[6] ~= 'd' then
    state, outcome = ARGV[6], ARGV[8]
  elseif ARGV[6] == 'u' then
    state, outcome, head = 'u', ARGV[8], string.sub(made, 2)
    redis.call('PEXPIRE', KEYS[1], ARGV[5], 'GT')
  end
end
if state == 'd' and verdicts == '' then
  redis.call('DEL', KEYS[1])
else
  claim = state .. head .. string.format('%02d', #verdicts / 16) .. verdicts .. outcome
  redis.call('SET', KEYS[1], claim, 'KEEPTTL')
end
return 1
