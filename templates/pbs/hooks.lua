-- Sessions as batch jobs of PBS. A job's name is the beginning of the session's id, as much of it as every PBS takes; the
-- whole id is the job's variable WHARF_JOB_TAG, by which it is found.
local hooks = {}

local full = require "lib.full"

-- What PBS says when its server is away or slow: nobody can tell.
local function is_absent(text)
  return re.test(text, "(?i)cannot connect|connection (refused|reset|timed out)|communication failure|timed? ?out|end of file|premature end|no default server|server.*(down|not responding)|errno=")
end

local function is_unknown(text)
  return re.test(text, "(?i)unknown job id|job has finished")
end

-- Torque's own program asks its version differently, and knows neither `select` nor finished jobs.
local function is_torque(config)
  if config.flavor ~= "auto" then
    return config.flavor == "torque"
  end
  return host.cache("torque", 3600, function()
    local run = host.exec { argv = { "qstat", "--version" }, effect = "read" }
    return not re.test(run.stdout .. run.stderr, "(?i)pbs_version|pbspro|openpbs")
  end)
end

local function name_of(id)
  return string.sub(id, 1, 15)
end

-- The resources that the user asked for, in the words of either family.
local function resources(params, torque)
  local words = {}
  local function add(word)
    table.insert(words, "-l")
    table.insert(words, word)
  end
  local mebibytes = params.memory and math.ceil(units.bytes(params.memory) / 1048576)
  local gpus = params.gpus and params.gpus > 0 and params.gpus
  if torque then
    if params.cores or gpus then
      add("nodes=1:ppn=" .. (params.cores or 1) .. (gpus and ":gpus=" .. gpus or ""))
    end
    if mebibytes then add("mem=" .. mebibytes .. "mb") end
  elseif params.cores or mebibytes or gpus then
    add("select=1:ncpus=" .. (params.cores or 1)
      .. (mebibytes and ":mem=" .. mebibytes .. "mb" or "") .. (gpus and ":ngpus=" .. gpus or ""))
  end
  if params.time then add("walltime=" .. units.seconds(params.time)) end
  return words
end

function hooks.options()
  local run = host.exec { argv = { "qstat", "-Q" }, effect = "read" }
  local queues = {}
  for _, line in ipairs(run.status == 0 and lines(run.stdout) or {}) do
    -- Name, maximum, total, enabled, started: only those that take jobs.
    local queue = re.match(line, "^(\\S+)\\s+\\d+\\s+\\d+\\s+yes\\s+yes\\s")
    if queue then
      table.insert(queues, queue[1])
    end
  end
  return #queues > 0 and { queue = queues } or {}
end

function hooks.submit(req)
  local params, config = req.session.params, req.config
  local argv = {
    "qsub", "-N", name_of(req.session.id), "-v", "WHARF_JOB_TAG=" .. req.session.id, "-S", "/bin/sh",
    "-r", "n", "-m", "n", "-j", "oe", "-o", req.monitor.dir .. "/job.log",
  }
  local function add(words)
    for _, word in ipairs(words) do
      table.insert(argv, word)
    end
  end
  if params.queue then add { "-q", params.queue } end
  if params.account then add { "-A", params.account } end
  add(resources(params, is_torque(config)))
  add(config.options or {})
  local script = host.render("job.sh.j2", {
    argv = req.monitor.argv,
    env = req.monitor.env,
    before = req.job and req.job.before or {},
  })
  local run = host.exec { argv = argv, stdin = script, effect = "write" }
  local id = nil
  for _, line in ipairs(lines(run.stdout)) do
    -- Banners come before the id.
    local found = re.match(line, "^\\s*([0-9]{1,10}(?:\\[[0-9]*\\])?(?:\\.[A-Za-z0-9._-]+)?)\\s*$")
    if found then
      id = found[1]
    end
  end
  if run.status == 0 and id then
    return { job_id = id }
  end
  local said = run.stderr .. run.stdout
  if run.status ~= 0 and not id then
    if re.test(said, "(?i)cannot connect to server|connection refused") then
      host.fail("unavailable", "PBS takes no jobs now: " .. said)
    end
    if not is_absent(said) then
      if re.test(said, "(?i)unauthorized|not authorized|permission|access (to|from).*denied") then
        host.fail("denied", "PBS refused the job: " .. said)
      end
      if re.test(said, "(?i)unknown (queue|resource)|illegal|invalid|violates|rejected|not enabled|exceed|cannot be (satisfied|used)|usage:") then
        host.fail("invalid", "PBS refused the job: " .. said)
      end
    end
  end
  -- Nobody knows whether there is a job: it is looked for by its tag.
  error("qsub: " .. said)
end

-- Jobs by id, as `qstat -f` tells them. With some ids unknown its status is not zero, and its rows are good all the same.
local function shown(ids, torque)
  local argv = torque and { "qstat", "-f" } or { "qstat", "-x", "-f" }
  for _, id in ipairs(ids) do
    table.insert(argv, id)
  end
  local run = host.exec { argv = argv, effect = "read" }
  if run.status ~= 0 and (is_absent(run.stderr) or not is_unknown(run.stderr)) then
    host.fail("unavailable", "PBS cannot be asked: qstat: " .. run.stderr)
  end
  return full.jobs(run.stdout), run.stderr
end

function hooks.find(req)
  local torque, answer = is_torque(req.config), {}
  for _, session in ipairs(req.sessions) do
    local argv = { "qselect", "-N", name_of(session.id) }
    if not torque then
      table.insert(argv, 2, "-x")
    end
    local run = host.exec { argv = argv, effect = "read" }
    if run.status ~= 0 then
      host.fail("unavailable", "PBS cannot be asked: qselect: " .. run.stderr)
    end
    local ids = {}
    for _, line in ipairs(lines(run.stdout)) do
      local id = re.match(line, "^\\s*([0-9]{1,10}(?:\\[[0-9]*\\])?\\S*)\\s*$")
      if id then
        table.insert(ids, id[1])
      end
    end
    local found = {}
    if #ids > 0 then
      local jobs = shown(ids, torque)
      for _, id in ipairs(ids) do
        local job = jobs[full.key(id)]
        if job and re.test(job.Variable_List or "", "(^|,)WHARF_JOB_TAG=" .. session.id .. "(,|$)") then
          table.insert(found, id)
        end
      end
    end
    answer[session.id] = #found > 0 and found or false
  end
  return answer
end

-- States are one letter, the same in both families but for the end.
local meanings = {
  Q = { "queued" }, T = { "starting" }, B = { "running" }, R = { "running" }, E = { "completing" },
  H = { "held", "held until somebody releases it" }, W = { "held", "waits for the time that it was given" },
  S = { "suspended" }, U = { "suspended", "suspended while its host is in use" },
  C = { "ended" }, F = { "ended" }, X = { "ended" },
}

-- Why it ended, as far as its exit status says: Torque's own numbers, PBS's, and its words.
local function cause_of(code, comment, torque)
  if re.test(comment, "(?i)walltime.*exceeded|exceeded.*walltime") or code == (torque and -11 or -29) then
    return "timeout"
  end
  if re.test(comment, "(?i)\\bv?mem\\b.*exceeded|exceeded.*\\bv?mem\\b")
    or (torque and code == -10) or (not torque and (code == -26 or code == -27)) then
    return "out_of_memory"
  end
  return nil
end

local function report(job, torque)
  local meaning = meanings[job.job_state]
  if not meaning then
    return { state = "unknown", raw = job.job_state }
  end
  local answer = { state = meaning[1], raw = job.job_state, reason = meaning[2] }
  if answer.state == "queued" and job.comment then
    answer.reason = job.comment
  end
  local host_name = re.match(job.exec_host or "", "^([A-Za-z0-9._-]+)")
  answer.node = host_name and host_name[1] or nil
  if answer.state == "ended" then
    local code = tonumber(job.Exit_status or job.exit_status)
    answer.cause = cause_of(code, job.comment or job.sched_hint or "", torque)
    -- What a signal ended is written as 256, elsewhere as 128, and the signal.
    if code and code >= 256 then
      code = code - 128
    end
    answer.exit_code = code and code >= 0 and code or nil
    if not answer.exit_code and re.test(job.comment or "", "(?i)deleted|terminated by") then
      answer.raw = "cancelled"
    end
  end
  return answer
end

function hooks.status(req)
  local torque, ids = is_torque(req.config), {}
  for index, job in ipairs(req.jobs) do
    ids[index] = job.job_id
  end
  local jobs, said = shown(ids, torque)
  local answer = {}
  for _, id in ipairs(ids) do
    local job = jobs[full.key(id)]
    if job then
      answer[id] = report(job, torque)
    else
      -- Only what PBS itself calls unknown is gone; a longer number that begins alike is another job.
      for _, line in ipairs(lines(said)) do
        local unknown = re.match(line, "(?i)unknown job id(?: error)?:? *([0-9]{1,10}(?:\\[[0-9]*\\])?\\S*)")
        if unknown and full.key(unknown[1]) == full.key(id) then
          answer[id] = { state = "gone" }
        end
      end
    end
  end
  full.times(jobs, ids, answer)
  return answer
end

function hooks.terminate(req)
  local ids = req.job_id and { req.job_id } or hooks.find({ sessions = { req.session }, config = req.config })[req.session.id]
  if not ids then
    return {}
  end
  local argv = { "qdel" }
  for _, id in ipairs(ids) do
    table.insert(argv, id)
  end
  local run = host.exec { argv = argv, effect = "write" }
  if run.status ~= 0 then
    for _, line in ipairs(lines(run.stderr .. run.stdout)) do
      if re.test(line, "(?i)unauthorized|permission|not authorized") then
        host.fail("denied", line)
      end
      if not is_unknown(line) and not re.test(line, "(?i)invalid state|state of job|state - (exiting|complete)|already") then
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
