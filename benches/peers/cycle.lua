-- wrk: every request has another value in one header, in turn; the next window goes on where this one ended, so that a cycle longer than a cache
-- never hits it. Arguments: the header, a file with a value on each line, a file for the place in it.
-- Both are read by `done`, which runs elsewhere.
turn, place = 0, ""
local before, after
local values = {}

function setup(thread)
  worker = thread
end

function init(args)
  local header = args[1]
  for line in io.lines(args[2]) do values[#values + 1] = line end
  place = args[3]
  local file = io.open(place, "r")
  if file then
    turn = tonumber(file:read("*a")) or 0
    file:close()
  end
  wrk.headers[header] = "@VALUE@"
  before, after = wrk.format():match("^(.*)@VALUE@(.*)$")
end

function request()
  turn = turn % #values + 1
  return before .. values[turn] .. after
end

function done()
  local file = assert(io.open(worker:get("place"), "w"))
  file:write(worker:get("turn"))
  file:close()
end
