-- Sessions as batch jobs of Grid Engine. A job carries the session's id as its name (-N) and is found by it.
local hooks = {}

-- What Grid Engine says when the master is away or slow: nobody can tell.
local function is_absent(text)
  return re.test(text, "(?i)unable to contact|unable to send message|can't (connect|resolve)|got no connection|commlib|timeout|cl_com|communication error|no response")
end

function hooks.options()
  local choices = {}
  for param, which in pairs { queue = "-sql", project = "-sprjl" } do
    local run = host.exec { argv = { "qconf", which }, effect = "read" }
    -- Without any it says so, and its status is not zero.
    if run.status == 0 and run.stdout ~= "" then
      choices[param] = lines(run.stdout)
    end
  end
  return choices
end

function hooks.submit(req)
  local params, config = req.session.params, req.config
  local argv = {
    "qsub", "-terse", "-S", "/bin/sh", "-N", req.session.id, "-r", "n", "-notify", "-j", "y",
    "-o", req.monitor.dir .. "/job.log", "-wd", req.monitor.dir,
  }
  local function add(...)
    for _, word in ipairs({ ... }) do
      table.insert(argv, word)
    end
  end
  if params.queue then add("-q", params.queue) end
  if params.project then add("-P", params.project) end
  if params.cores and params.cores > 1 then add("-pe", config.parallel_environment, tostring(params.cores)) end
  if params.memory then add("-l", config.memory_resource .. "=" .. tostring(units.bytes(params.memory))) end
  if params.time then add("-l", "h_rt=" .. tostring(units.seconds(params.time))) end
  if params.gpus and params.gpus > 0 then add("-l", config.gpu_resource .. "=" .. tostring(params.gpus)) end
  for _, word in ipairs(config.options or {}) do
    add(word)
  end
  local script = host.render("job.sh.j2", {
    argv = req.monitor.argv,
    env = req.monitor.env,
    before = req.job and req.job.before or {},
  })
  local run = host.exec { argv = argv, stdin = script, effect = "write" }
  local id = nil
  for _, line in ipairs(lines(run.stdout)) do
    -- Banners come before the id; an array's id goes on with a dot.
    local found = re.match(line, "^\\s*([0-9]{1,10})(?:\\.[0-9:-]+)?\\s*$")
    if found then
      id = found[1]
    end
  end
  if run.status == 0 and id then
    return { job_id = id }
  end
  local said = run.stderr .. run.stdout
  if run.status ~= 0 and not id then
    if re.test(said, "(?i)unable to contact qmaster|can't connect|connection refused") then
      host.fail("unavailable", "Grid Engine takes no jobs now: " .. said)
    end
    if not is_absent(said) then
      if re.test(said, "(?i)has no permission|access denied|not allowed|denied: (host|user)|no access") then
        host.fail("denied", "Grid Engine refused the job: " .. said)
      end
      if re.test(said, "(?i)unable to run job|unknown (resource|queue|project)|does not exist|invalid|job rejected") then
        host.fail("invalid", "Grid Engine refused the job: " .. said)
      end
    end
  end
  -- Nobody knows whether there is a job: it is looked for by its name.
  error("qsub: " .. said)
end

local function waits(state)
  return re.test(state, "^R?(qw?|wq?)$")
end

-- Every job, and whether the answer was whole: {[id] = {id, name, state, node, position}}. `qstat -r` gives the whole name in a line of its own, and jobs that wait
-- in the order in which the scheduler will look at them.
local function all_jobs()
  local run = host.exec { argv = { "qstat", "-r", "-u", "*" }, effect = "read" }
  local jobs, current, order, waiting = {}, nil, {}, 0
  for _, line in ipairs(lines(run.stdout)) do
    local row = re.match(line, "^\\s*(\\d{1,10})\\s+\\S+\\s+\\S+\\s+\\S+\\s+([A-Za-z]{1,8})\\s+\\d+/\\d+/\\d+\\s+[0-9:]+\\s*(\\S*@\\S+)?")
    if row then
      current = { id = row[1], state = row[2], node = row[3] and re.match(row[3], "@(.*)$")[1] or nil }
      if waits(current.state) then
        waiting = waiting + 1
        current.position = waiting
      end
      if not jobs[row[1]] then
        jobs[row[1]] = current
        table.insert(order, current)
      end
    elseif re.test(line, "^\\s*\\d+\\s+[0-9.]+\\s") then
      -- A job that cannot be read, such as one with blanks in its name: what follows is not the last one's.
      current = nil
      if re.test(line, "\\sR?qw\\s+\\d+/\\d+/\\d+\\s") then
        waiting = waiting + 1
      end
    else
      local name = re.match(line, "^\\s*Full jobname:\\s+(\\S+)\\s*$")
      if name and current then
        current.name = name[1]
      end
    end
  end
  -- With a status that is not zero rows are good all the same, but some may be missing.
  if run.status ~= 0 and #order == 0 then
    host.fail("unavailable", "Grid Engine cannot be asked: qstat: " .. run.stderr)
  end
  return jobs, order, run.status == 0 or run.stderr
end

function hooks.find(req)
  local answer, by_name = {}, {}
  local _, order, whole = all_jobs()
  for _, job in ipairs(order) do
    if job.name then
      by_name[job.name] = by_name[job.name] or {}
      table.insert(by_name[job.name], job.id)
    end
  end
  for _, session in ipairs(req.sessions) do
    local ids = by_name[session.id]
    if ids then
      table.sort(ids, function(one, other) return tonumber(one) < tonumber(other) end)
    end
    if not ids and whole ~= true then
      host.fail("unavailable", "Grid Engine cannot be asked: qstat: " .. whole)
    end
    answer[session.id] = ids or false
  end
  return answer
end

-- States are sets of letters; what weighs most comes first. A hold (h) holds only what has not begun.
local function meaning(state)
  if re.test(state, "E") then return "held", "its job is in an error state" end
  if re.test(state, "d") then return "completing" end
  if re.test(state, "[sST]") then return "suspended" end
  if re.test(state, "^[hR]*r$") then return "running" end
  if re.test(state, "^[hR]*t$") then return "starting" end
  if re.test(state, "^[hR]*h[Rqw]*$") then return "held", "held until somebody releases it" end
  if waits(state) then return "queued", "waiting in the queue" end
  return "unknown"
end

-- What became of a job that is not in the list; nil when nobody can tell.
local function account(id)
  local there = host.exec { argv = { "qstat", "-j", id }, effect = "read" }
  if there.status == 0 or not re.test(there.stderr .. there.stdout, "(?i)do not exist") then
    return nil
  end
  local run = host.exec { argv = { "qacct", "-j", id }, effect = "read" }
  if run.status ~= 0 then
    return { state = "gone" }
  end
  -- An entry for each try; the last one counts.
  local entry = re.match(run.stdout, "(?s)^.*={10,}\\n(.*)$")
  local text = entry and entry[1] or run.stdout
  local failed = re.match(text, "(?m)^failed\\s+(\\d+)(?:\\s*:\\s*(.*\\S))?")
  local code = re.match(text, "(?m)^exit_status\\s+(\\d+)")
  local report = { state = "ended", raw = "finished", exit_code = code and tonumber(code[1]) }
  local why = failed and failed[1] or "0"
  if why == "100" or why == "17" then
    report.raw = "killed"
    local limit = re.match(text, "(?m)^category\\s.*h_rt=(\\d+)")
    local clock = re.match(text, "(?m)^ru_wallclock\\s+(\\d+)")
    if limit and clock and tonumber(clock[1]) >= tonumber(limit[1]) then
      report.cause = "timeout"
    end
  elseif why == "37" then
    report.raw, report.cause = "killed: " .. (failed[2] or why), "timeout"
  elseif why ~= "0" then
    report.raw = "failed: " .. (failed[2] or why)
    -- Those after which it cannot have run; its exit status is not its own then.
    if re.test(why, "^([1346-9]|1[01]|1[89]|2[6-9]|3[1-68])$") then
      report.exit_code = nil
    end
  end
  return report
end

function hooks.status(req)
  local jobs = all_jobs()
  local answer, asked = {}, 0
  for _, job in ipairs(req.jobs) do
    local seen = jobs[job.job_id]
    if seen then
      local state, reason = meaning(seen.state)
      answer[job.job_id] = {
        state = state, raw = seen.state, reason = reason, node = seen.node, position = seen.position,
      }
    elseif asked < 20 then
      asked = asked + 1
      answer[job.job_id] = account(job.job_id)
    end
  end
  return answer
end

function hooks.terminate(req)
  local ids = req.job_id and { req.job_id } or hooks.find({ sessions = { req.session } })[req.session.id]
  if not ids then
    return {}
  end
  local argv = { "qdel" }
  for _, id in ipairs(ids) do
    table.insert(argv, id)
  end
  local run = host.exec { argv = argv, effect = "write" }
  for _, line in ipairs(run.status ~= 0 and lines(run.stderr .. run.stdout) or {}) do
    if re.test(line, "(?i)necessary privileges|not allowed|no permission|denied: (host|user)") then
      host.fail("denied", "qdel: " .. line)
    end
    if line ~= "" and not re.test(line, "(?i)does not exist|already in deletion|(registered the job|has deleted job)") then
      host.fail("unavailable", "qdel: " .. line)
    end
  end
  return {}
end

function hooks.logs(req)
  return { path = req.dir .. "/job.log" }
end

return hooks
