-- One step of GCRA on one client's counter, by the clock of Redis; gcra.rs explains it.
-- KEYS[1]: the counter, which holds the theoretical arrival time in microseconds since 1970.
-- ARGV: interval, tolerance, horizon, all in microseconds; "look", "take" or "charge".
-- Returns: how long to wait, how far ahead the arrival time is since, in microseconds.
-- What is no number counts as none; a counter goes by itself once it says nothing any more.
local interval, tolerance, horizon = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local arrival = math.max(now, tonumber(redis.call('GET', KEYS[1])) or 0)
local ahead = math.min(arrival - now, horizon)
local wait = math.max(ahead - tolerance, 0)
if ARGV[4] == 'charge' or (ARGV[4] == 'take' and wait == 0) then
  ahead = math.min(ahead + interval, horizon)
  redis.call('SET', KEYS[1], string.format('%.0f', now + ahead), 'PX', math.ceil(ahead / 1000))
end
return {wait, ahead}
