-- Takes units from all limits of one or several rules at once, or gives some back. One call is one atomic step.
--
-- ARGV: units wanted (negative: given back; `reset`: all that was spent is forgotten); microseconds since 1970, 0 for the store's own clock; a name for what
--       is made new; and for each of KEYS: kind (w, h, d, k, m), requests, window (microseconds), burst, what one unit
--       costs, and what the caller remembers of the key.
-- Returns: units granted; milliseconds until the first period ends, 0 for none; and for each key: what is left,
--       milliseconds until it is full, milliseconds until one more unit is there (-1: never), and what to remember.
--
-- A value is `generation:version:kind:a:b:base:doubt`. Of a window `a` is the moment at which the bucket is full again and `b`
-- the interval of a unit, both in microseconds; of a calendar `a` is the number of the period and `b` what was spent in
-- it. The version grows with each change. Who remembers a higher one of the same generation knows more than a store that
-- failed over; then the higher count stands. Who remembers another generation knew it before the store was flushed: what
-- was spent by then is `base` at the least, and what was granted since comes on top of it, whoever reminds first. Until the
-- microsecond `doubt` somebody may know of more: so long no more than a quarter of what seems to be left is granted.

-- Whoever counts the same key under load asks within this time. Microseconds.
local DOUBT = 250000

local reset = ARGV[1] == 'reset'
local want = reset and 0 or tonumber(ARGV[1])
local now = tonumber(ARGV[2])
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local seconds = math.floor(now / 1000000)

local function parse(text)
  local generation, version, kind, a, b, base, doubt = string.match(text, '^(%w+):(%d+):(%a):(%d+):([%d%.]+):(%d+):(%d+)$')
  if not generation then return nil end
  return {
    generation = generation, version = tonumber(version), kind = kind,
    a = tonumber(a), b = tonumber(b), base = tonumber(base), doubt = tonumber(doubt),
  }
end

-- As portcullis_limits::period.
local function first_day(year, month)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local of_era = year % 400
  local march = month > 2 and month - 3 or month + 9
  local day_of_year = math.floor((153 * march + 2) / 5)
  local day_of_era = of_era * 365 + math.floor(of_era / 4) - math.floor(of_era / 100) + day_of_year
  return era * 146097 + day_of_era - 719468
end

local function period(kind)
  local days = math.floor(seconds / 86400)
  if kind == 'h' then
    local number = math.floor(seconds / 3600)
    return number, (number + 1) * 3600
  elseif kind == 'd' then
    return days, (days + 1) * 86400
  elseif kind == 'k' then
    local number = math.floor((days + 3) / 7)
    return number, ((number + 1) * 7 - 3) * 86400
  end
  local shifted = days + 719468
  local era = math.floor(shifted / 146097)
  local day = shifted % 146097
  local of_era = math.floor(
    (day - math.floor(day / 1460) + math.floor(day / 36524) - math.floor(day / 146096)) / 365)
  local day_of_year = day - (365 * of_era + math.floor(of_era / 4) - math.floor(of_era / 100))
  local march = math.floor((5 * day_of_year + 2) / 153)
  local month = march < 10 and march + 3 or march - 9
  local year = of_era + era * 400 + (month <= 2 and 1 or 0)
  local end_year, end_month = year, month + 1
  if month == 12 then end_year, end_month = year + 1, 1 end
  return (year - 1970) * 12 + month - 1, first_day(end_year, end_month) * 86400
end

-- What the store holds, corrected by what the caller remembers.
local function recall(key, remembered)
  local held = redis.call('GET', key)
  held = held and parse(held)
  local known = remembered ~= '' and parse(remembered)
  if not known then return held, false end
  if not held then
    known.generation = ARGV[3]
    known.base = known.kind == 'w' and math.max(known.a, math.floor(now)) or math.floor(known.b)
    -- A window that is full again was not forgotten: it had ended.
    known.doubt = (known.kind ~= 'w' or known.a > now) and math.floor(now) + DOUBT or 0
    return known, true
  end
  if held.generation ~= known.generation then
    local amount = known.kind == 'w' and known.a or known.b
    local comparable = held.kind == known.kind and (held.kind == 'w' or held.a == known.a)
    if comparable and amount > held.base then
      local missing = amount - held.base
      if held.kind == 'w' then held.a = held.a + missing else held.b = held.b + missing end
      held.base = math.floor(amount)
      return held, true
    elseif held.kind == known.kind and held.kind ~= 'w' and known.a > held.a then
      held.a, held.b, held.base = known.a, known.b, math.floor(known.b)
      return held, true
    end
    return held, false
  end
  if held.version >= known.version then return held, false end
  held.version = known.version
  if held.kind == known.kind then
    if held.kind == 'w' then
      held.a = math.max(held.a, known.a)
    elseif known.a == held.a then
      held.b = math.max(held.b, known.b)
    elseif known.a > held.a then
      held.a, held.b = known.a, known.b
    end
  end
  return held, true
end

local function spent(state)
  if state.kind == 'w' then return math.ceil(math.max(0, state.a - now) / state.b - 0.000001) end
  local number = period(state.kind)
  if state.a == number or state.a == number + 1 then return state.b end
  return 0
end

-- How much of what is free may be granted at once.
local function sure(limit)
  local state = limit.state
  if state.doubt <= now then return limit.free end
  local before, since
  if limit.kind == 'w' then
    before = math.max(0, state.base - now) / limit.interval
    since = limit.ahead / limit.interval - before
    before = limit.burst - before
  else
    before, since = limit.requests - state.base, state.b - state.base
  end
  local most = math.max(limit.cost, math.floor(before / 4))
  return math.min(limit.free, math.max(0, math.floor(most - since + 0.000001)))
end

local limits = {}
local granted = want
local life = 0
for index, key in ipairs(KEYS) do
  local at = 3 + (index - 1) * 6
  local kind = ARGV[at + 1]
  local limit = { kind = kind, requests = tonumber(ARGV[at + 2]), burst = tonumber(ARGV[at + 4]), cost = tonumber(ARGV[at + 5]) }
  local state, restored = recall(key, ARGV[at + 6])
  state = state or { generation = ARGV[3], version = 0, kind = kind, a = 0, b = kind == 'w' and 1 or 0, base = kind == 'w' and math.floor(now) or 0, doubt = 0 }
  limit.state, limit.restored = state, restored or reset
  if reset and kind == 'w' then state.a = 0 elseif reset then state.b = 0 end
  if kind == 'w' then
    limit.interval = tonumber(ARGV[at + 3]) / limit.requests
    if state.kind ~= 'w' or math.abs(state.b - limit.interval) > 0.001 then
      state.a = math.floor(now + math.min(spent(state), limit.burst) * limit.interval)
      state.base = math.max(math.floor(now), state.a)
      state.kind, state.b = 'w', limit.interval
    end
    limit.ahead = math.max(0, state.a - now)
    -- Nothing that was granted is further ahead: the clock was set back. What is spent is all of it, and no more.
    local most = limit.burst * limit.interval
    if limit.ahead > most + 1 then
      limit.ahead, state.a, limit.restored = most, math.floor(now + most), true
    end
    limit.free = math.max(0, math.floor(limit.burst - limit.ahead / limit.interval + 0.000001))
  else
    local number, last = period(kind)
    if state.kind ~= kind then
      state.a, state.b, state.kind = number, math.min(spent(state), limit.requests), kind
      state.base = math.floor(state.b)
    elseif state.a ~= number and state.a ~= number + 1 then
      state.a, state.b, state.base = number, 0, 0
    end
    limit.left = last * 1000 - math.floor(now / 1000)
    limit.free = math.max(0, limit.requests - state.b)
    if life == 0 or limit.left < life then life = limit.left end
  end
  if limit.cost > 0 and want > 0 then granted = math.min(granted, math.floor(sure(limit) / limit.cost)) end
  limits[index] = limit
end

local answer = { granted, life }
for index, key in ipairs(KEYS) do
  local limit = limits[index]
  local state = limit.state
  local units = granted * limit.cost
  local ttl, full, retry
  if limit.kind == 'w' then
    local ahead = math.max(0, limit.ahead + units * limit.interval)
    state.a = math.floor(now + ahead + 0.5)
    limit.free = math.max(0, math.floor(limit.burst - ahead / limit.interval + 0.000001))
    full = math.ceil(ahead / 1000)
    ttl = full + 1000
    if limit.cost > limit.burst then retry = -1
    else retry = math.max(0, math.ceil((ahead + math.max(1, limit.cost) * limit.interval - limit.burst * limit.interval) / 1000 - 0.001)) end
  else
    state.b = math.max(0, state.b + units)
    limit.free = math.max(0, limit.requests - state.b)
    full = limit.left
    -- A clock that is set back an hour must find it.
    ttl = limit.left + 3600000
    if limit.cost > limit.requests then retry = -1
    elseif limit.free >= limit.cost then retry = 0
    else retry = limit.left end
  end
  if state.doubt > now and granted < want and retry == 0 then retry = math.ceil((state.doubt - now) / 1000) end
  if granted ~= 0 or limit.restored then
    state.version = state.version + 1
    local text = string.format('%s:%d:%s:%.0f:%.6f:%.0f:%.0f', state.generation, state.version, state.kind, state.a, state.b, state.base, state.doubt)
    redis.call('SET', key, text, 'PX', ttl)
    answer[#answer + 1] = limit.free
    answer[#answer + 1] = full
    answer[#answer + 1] = retry
    answer[#answer + 1] = text
  else
    answer[#answer + 1] = limit.free
    answer[#answer + 1] = full
    answer[#answer + 1] = retry
    answer[#answer + 1] = ''
  end
end
return answer
