-- What was found out of an account: its link, or facts of whom it is linked to. Older facts of one person never replace
-- newer ones.
--
-- KEYS: account. ARGV: ms it is kept, the sealed link or nothing, the sealed facts or nothing, whose they are (a tag),
-- of when they are (ms).
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'l', ARGV[2]) end
if ARGV[3] ~= '' then
  local known = redis.call('HGET', KEYS[1], 't')
  local newer = known and string.sub(known, 1, 16) == ARGV[4] and tonumber(string.sub(known, 17)) > tonumber(ARGV[5])
  if not newer then redis.call('HSET', KEYS[1], 'f', ARGV[3], 't', ARGV[4] .. ARGV[5]) end
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return 1
