-- Sessions as batch jobs of LSF. A job carries the session's id as its name (-J) and is found by it.
local hooks = {}

-- What LSF says when its master is away or slow: nobody can tell.
local function is_absent(text)
  return re.test(text, "(?i)lsf is down|cannot connect|can't connect|communication|time ?out|timed out|unable to contact|not responding|internal library error|connection refused|batch system concurrent query limit")
end

-- LSF's own words for a job or name that it does not have.
local function is_unknown(line)
  return re.test(line, "^(Job <.*> is not found|No (matching|unfinished|.*) ?job found|No matching job found)")
end

local unit = { KB = 1024, MB = 1048576, GB = 1073741824, TB = 1099511627776 }

function hooks.options()
  local run = host.exec { argv = { "bqueues", "-w" }, effect = "read" }
  local queues = {}
  for _, line in ipairs(run.status == 0 and lines(run.stdout) or {}) do
    local queue = re.match(line, "^(\\S+)\\s+-?\\d+\\s+Open:Active\\s")
    if queue then
      table.insert(queues, queue[1])
    end
  end
  return #queues > 0 and { queue = queues } or {}
end

function hooks.submit(req)
  local params, config = req.session.params, req.config
  local argv = { "bsub", "-J", req.session.id, "-L", "/bin/sh", "-rn", "-o", req.monitor.dir .. "/job.log" }
  local function add(...)
    for _, word in ipairs({ ... }) do
      table.insert(argv, word)
    end
  end
  if params.queue then add("-q", params.queue) end
  if params.project then add("-P", params.project) end
  if params.cores and params.cores > 1 then add("-n", tostring(params.cores), "-R", "span[hosts=1]") end
  if params.memory then
    local size = unit[config.memory_unit]
    if not size then
      host.fail("misconfigured", "[config] memory_unit has to be KB, MB, GB or TB")
    end
    local amount = math.ceil(units.bytes(params.memory) / size)
    add("-M", tostring(amount), "-R", "rusage[mem=" .. amount .. "]")
  end
  if params.time then add("-W", tostring(math.ceil(units.seconds(params.time) / 60))) end
  if params.gpus and params.gpus > 0 then add("-gpu", "num=" .. params.gpus) end
  add(unpack(config.options or {}))
  local script = host.render("job.sh.j2", {
    argv = req.monitor.argv,
    env = req.monitor.env,
    before = req.job and req.job.before or {},
  })
  local run = host.exec { argv = argv, stdin = script, effect = "write" }
  -- Banners come before it, and other programs' words around it.
  local found = re.match(run.stdout, "(?m)^Job <([0-9]{1,12})> is submitted to ")
  if run.status == 0 and found then
    return { job_id = found[1] }
  end
  local said = run.stderr .. run.stdout
  if run.status ~= 0 and not found then
    -- These words end every refusal, and nothing else.
    if re.test(said, "(?i)job not submitted") and not is_absent(said) then
      if re.test(said, "(?i)permission|cannot use|not allowed|not authorized|denied") then
        host.fail("denied", "LSF refused the job: " .. said)
      end
      host.fail("invalid", "LSF refused the job: " .. said)
    end
    if re.test(said, "(?i)lsf is down|failed in an lsf library call.*(master|refused)|pending job threshold") then
      host.fail("unavailable", "LSF takes no jobs now: " .. said)
    end
  end
  -- Nobody knows whether there is a job: it is looked for by its name.
  error("bsub: " .. said)
end

-- An element of an array has its index in brackets.
local function id_of(row)
  return row.jobid .. (re.test(row.jobindex, "^[1-9][0-9]*$") and "[" .. row.jobindex .. "]" or "")
end

-- Jobs by id or by name. The last field may hold anything. With some jobs unknown the status is not zero, and the rows are good
-- all the same.
local function shown(fields, which)
  local argv = { "bjobs", "-a", "-noheader", "-o", table.concat(fields, " ") .. " delimiter='|'" }
  for _, word in ipairs(which) do
    table.insert(argv, word)
  end
  local run = host.exec { argv = argv, effect = "read" }
  for _, line in ipairs(lines(run.stderr)) do
    if is_absent(line) or (run.status ~= 0 and not is_unknown(line)) then
      host.fail("unavailable", "LSF cannot be asked: bjobs: " .. line)
    end
  end
  if run.status ~= 0 and run.stderr == "" then
    host.fail("unavailable", "LSF cannot be asked: bjobs ended with " .. run.status)
  end
  local rows = {}
  for _, row in ipairs(columns(run.stdout, fields, "|")) do
    -- A banner has no columns.
    if row[fields[#fields]] and re.test(row.jobid, "^[0-9]{1,12}$") then
      row.id = id_of(row)
      table.insert(rows, row)
    end
  end
  return rows, run.stderr
end

function hooks.find(req)
  local answer = {}
  for _, session in ipairs(req.sessions) do
    local ids = {}
    for _, row in ipairs(shown({ "jobid", "jobindex", "job_name" }, { "-J", session.id })) do
      if row.job_name == session.id then
        table.insert(ids, row.id)
      end
    end
    answer[session.id] = #ids > 0 and ids or false
  end
  return answer
end

local meanings = {
  PEND = { "queued" }, PROV = { "starting" }, WAIT = { "queued" }, RUN = { "running" },
  PSUSP = { "held", "held until somebody releases it" },
  USUSP = { "suspended", "suspended by its owner or the administrator" },
  SSUSP = { "suspended", "suspended by LSF" },
  DONE = { "ended" }, EXIT = { "ended" },
  -- UNKWN: its host does not answer. ZOMBI: it was to be killed while that was so. Nobody can tell.
}

local causes = {
  TERM_RUNLIMIT = "timeout", TERM_DEADLINE = "timeout", TERM_CPULIMIT = "timeout", TERM_WINDOW = "preempted",
  TERM_MEMLIMIT = "out_of_memory", TERM_SWAP = "out_of_memory", TERM_PREEMPT = "preempted", TERM_LOAD = "preempted",
  TERM_REQUEUE_ADMIN = "preempted", TERM_REQUEUE_OWNER = "preempted",
}

local function report(row)
  local meaning = meanings[row.stat]
  if not meaning then
    return { state = "unknown", raw = row.stat }
  end
  local said = function(text) return text ~= "-" and text ~= "" and text or nil end
  local answer = { state = meaning[1], raw = row.stat, reason = meaning[2] }
  if answer.state == "queued" then
    answer.reason = said(row.pend_reason)
  end
  -- The first of `4*node1:2*node2`.
  local node = re.match(row.exec_host, "^(?:[0-9]+\\*)?([A-Za-z0-9._-]*[A-Za-z0-9][A-Za-z0-9._-]*)")
  answer.node = node and node[1] or nil
  local left = re.match(row.time_left, "^([0-9]+):([0-9]{2})")
  if answer.state == "running" and left then
    answer.ends_at = units.time(host.now() + tonumber(left[1]) * 3600 + tonumber(left[2]) * 60)
  end
  if answer.state == "ended" then
    answer.exit_code = row.stat == "DONE" and 0 or tonumber(row.exit_code)
    local word = re.match(row.exit_reason, "^(TERM_[A-Z_]+)")
    if word then
      answer.cause = causes[word[1]]
      answer.raw = re.test(word[1], "OWNER|ADMIN|FORCE") and not answer.cause and "cancelled: " .. word[1] or word[1]
    end
  end
  return answer
end

-- Places in the queue: bjobs lists pending jobs in the order in which they are considered for dispatch, and everybody's with
-- `-u all`. Those that are held are not considered.
local function places()
  local argv = { "bjobs", "-u", "all", "-noheader", "-o", "jobid jobindex stat queue delimiter='|'" }
  local run = host.exec { argv = argv, effect = "read" }
  local answer, of_queue = {}, {}
  for _, row in ipairs(columns(run.stdout, { "jobid", "jobindex", "stat", "queue" }, "|")) do
    if row.queue and row.stat == "PEND" and re.test(row.jobid, "^[0-9]{1,12}$") then
      of_queue[row.queue] = (of_queue[row.queue] or 0) + 1
      answer[id_of(row)] = of_queue[row.queue]
    end
  end
  return answer
end

local fields = { "jobid", "jobindex", "stat", "exec_host", "exit_code", "exit_reason", "time_left", "pend_reason" }

function hooks.status(req)
  local ids = {}
  for index, job in ipairs(req.jobs) do
    ids[index] = job.job_id
  end
  local rows, said = shown(fields, ids)
  local answer, wanted, waits = {}, {}, false
  for _, id in ipairs(ids) do
    wanted[id] = true
  end
  for _, row in ipairs(rows) do
    if wanted[row.id] then
      answer[row.id] = report(row)
      waits = waits or row.stat == "PEND"
    end
  end
  if waits and req.config.positions then
    for id, place in pairs(places()) do
      if answer[id] then
        answer[id].position = place
      end
    end
  end
  for _, line in ipairs(lines(said)) do
    local unknown = re.match(line, "^Job <([0-9]{1,12}(?:\\[[0-9]+\\])?)> is not found")
    if unknown and wanted[unknown[1]] and not answer[unknown[1]] then
      answer[unknown[1]] = { state = "gone" }
    end
  end
  return answer
end

function hooks.terminate(req)
  local ids = req.job_id and { req.job_id } or hooks.find({ sessions = { req.session } })[req.session.id]
  if not ids then
    return {}
  end
  local argv = { "bkill" }
  for _, id in ipairs(ids) do
    table.insert(argv, id)
  end
  local run = host.exec { argv = argv, effect = "write" }
  if run.status ~= 0 then
    for _, line in ipairs(lines(run.stderr)) do
      if re.test(line, "(?i)permission|denied|not authorized") then
        host.fail("denied", line)
      end
      if not re.test(line, "(?i)is not found|already finished|no matching job|no unfinished job|being terminated") then
        host.fail("unavailable", line)
      end
    end
  end
  return {}
end

function hooks.logs(req)
  return { path = req.dir .. "/job.log" }
end

return hooks
