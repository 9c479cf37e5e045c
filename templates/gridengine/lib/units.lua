-- Durations come as "90m", sizes as "2GiB"; batch systems want seconds and bytes.
local units = {}

local seconds_of = { s = 1, m = 60, h = 3600, d = 86400, w = 604800 }
local bytes_of = {
  [""] = 1, b = 1,
  k = 1024, kib = 1024, kb = 1000,
  m = 1048576, mib = 1048576, mb = 1000000,
  g = 1073741824, gib = 1073741824, gb = 1000000000,
  t = 1099511627776, tib = 1099511627776, tb = 1000000000000,
}

function units.seconds(text)
  if re.test(text, "^[0-9]+$") then
    return tonumber(text)
  end
  local sum = 0
  for _, part in ipairs(re.all(text, "([0-9]+) *([a-z]+)")) do
    local unit = seconds_of[string.sub(part[2], 1, 1)]
    -- Milliseconds and shorter are no time for a job; months and years are written as days.
    if part[2] == "ms" or part[2] == "us" or part[2] == "ns" or re.test(part[2], "^mo|^M|^y") or not unit then
      host.fail("invalid", "write the time in minutes, hours or days: " .. text)
    end
    sum = sum + tonumber(part[1]) * unit
  end
  return math.max(1, sum)
end

function units.bytes(text)
  local part = re.match(text, "^ *([0-9.]+) *([A-Za-z]*) *$")
  local factor = part and bytes_of[string.lower(part[2])]
  if not factor then
    host.fail("invalid", "write the memory as 512MiB or 4GiB: " .. text)
  end
  return math.ceil(tonumber(part[1]) * factor)
end

return units
