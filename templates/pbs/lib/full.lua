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

-- Adds when each running job will be ended: its start, told in the server's local time, and its limit.
function full.ends(jobs, ids, answer)
  local starts, of = {}, {}
  for _, id in ipairs(ids) do
    local job = jobs[full.key(id)]
    local start = job and (job.stime or job.start_time)
    if start and answer[id].state == "running" and seconds(job["Resource_List.walltime"])
      and re.test(start, "^[A-Z][a-z]{2} [A-Z][a-z]{2} +[0-9]{1,2} [0-9:]{8} [0-9]{4}$") then
      table.insert(starts, start)
      table.insert(of, { id = id, limit = seconds(job["Resource_List.walltime"]) })
    end
  end
  if #starts == 0 then
    return
  end
  local run = host.exec { argv = { "date", "-f", "-", "+%s" }, stdin = table.concat(starts, "\n") .. "\n", effect = "read" }
  local read = lines(run.stdout)
  if run.status ~= 0 or #read ~= #starts then
    return
  end
  for index, one in ipairs(of) do
    answer[one.id].ends_at = units.time(tonumber(read[index]) + one.limit)
  end
end

return full
