-- Reading `qstat -f`: blocks of `Job Id: ID`, then `    name = value`, long values going on in lines that begin with a tab.
local full = {}

-- What tells jobs apart: servers write their name with and without a domain.
function full.key(id)
  return re.match(id, "^[0-9]+(?:\\[[0-9]*\\])?")[0]
end

function full.jobs(text)
  local jobs, job, member = {}, nil, nil
  for _, line in ipairs(lines(text)) do
    local head = re.match(line, "^Job Id:\\s*([0-9]{1,10}(?:\\[[0-9]*\\])?\\S*)")
    local pair = job and re.match(line, "^    ([A-Za-z_][A-Za-z0-9_.]*) = (.*)$")
    local rest = member and re.match(line, "^(?:\t|  )(.*)$")
    if head then
      job, member = {}, nil
      jobs[full.key(head[1])] = job
    elseif pair then
      member = pair[1]
      job[member] = pair[2]
    elseif rest then
      job[member] = job[member] .. rest[1]
    end
  end
  return jobs
end

local function seconds(text)
  local parts = re.match(text or "", "^(?:(\\d+):)?(\\d+):(\\d+):(\\d+)$")
  if parts then
    return tonumber(parts[1] or "0") * 86400 + tonumber(parts[2]) * 3600 + tonumber(parts[3]) * 60 + tonumber(parts[4])
  end
  return tonumber(text)
end

-- Adds when each running job will be ended, by its start and its limit, and when each waiting one may start, by OpenPBS's own
-- estimate. Both are told in the server's local time, and read by one `date` for all.
function full.times(jobs, ids, answer)
  local texts, of = {}, {}
  for _, id in ipairs(ids) do
    local job, told = jobs[full.key(id)], answer[id]
    local state = job and told and told.state
    local limit = job and seconds(job["Resource_List.walltime"])
    local text = nil
    if state == "running" and limit then
      text = job.stime or job.start_time
    elseif state == "queued" then
      text = job["estimated.start_time"]
    end
    if text and re.test(text, "^[A-Z][a-z]{2} [A-Z][a-z]{2} +[0-9]{1,2} [0-9:]{8} [0-9]{4}$") then
      table.insert(texts, text)
      table.insert(of, { told = told, limit = state == "running" and limit })
    end
  end
  if #texts == 0 then
    return
  end
  local run = host.exec { argv = { "date", "-f", "-", "+%s" }, stdin = table.concat(texts, "\n") .. "\n", effect = "read" }
  local read = lines(run.stdout)
  if run.status ~= 0 or #read ~= #texts then
    return
  end
  for index, one in ipairs(of) do
    local at = tonumber(read[index])
    if one.limit then
      one.told.ends_at = units.time(at + one.limit)
    else
      one.told.starts_at = units.time(at)
    end
  end
end

return full
