-- Every function here is a hook. Editors know what they are given and may call from types/wharf.lua.
local hooks = {}

-- Puts the monitor into the queue, labelled with the session's id. -B: a full queue refuses instead of blocking.
---@param req wharf.SubmitRequest
---@return wharf.SubmitResult
function hooks.submit(req)
  -- The first tsp of all starts the queue's server, which goes by its command line from then on: a neutral one.
  local server = host.exec { argv = { "tsp", "-l" }, effect = "read" }
  if server.status ~= 0 then
    host.fail("unavailable", "Task Spooler does not answer: " .. server.stderr)
  end
  -- tsp goes into the background to wait for its turn: in a session of its own, as a hook's group is ended with it.
  local argv = { "setsid", "--wait", "tsp", "-B", "-L", req.session.id, "-N", tostring(req.session.params.slots) }
  for _, word in ipairs(req.monitor.argv) do
    table.insert(argv, word)
  end
  local run = host.exec { argv = argv, env = req.monitor.env, effect = "write" }
  if re.test(run.stderr, "queue full") then
    -- Surely not in the queue: it is tried again later.
    host.fail("unavailable", "the queue of Task Spooler is full")
  end
  if run.status ~= 0 then
    -- Nobody knows whether there is a job: the launcher asks find.
    error("tsp: " .. run.stderr)
  end
  return { job_id = lines(run.stdout)[1] }
end

-- ID  STATE  OUTPUT  [E-LEVEL  TIMES]  [AFTER&&] [LABEL]COMMAND
local row = "^(\\d+)\\s+(\\S+)\\s+(\\(no output\\)|\\S+)\\s+(?:(-?\\d+)\\s+\\S+/\\S+/\\S+\\s+)?"
  .. "(?:(?:\\[\\d+\\])?&& )?(?:\\[([a-z0-9]{20})\\])?"

-- The queue as it is now. A tsp that fails fails the hook, which means "cannot tell" and changes nothing.
local function queue()
  local jobs, waiting = {}, 0
  for _, line in ipairs(lines(host.exec { argv = { "tsp", "-l" }, effect = "read", check = true }.stdout)) do
    local found = re.match(line, row)
    if found then
      local job = { id = found[1], state = found[2], exit_code = tonumber(found[4]), session = found[5] }
      if job.state == "queued" then
        waiting = waiting + 1
        job.position = waiting
      end
      table.insert(jobs, job)
    end
  end
  return jobs
end

-- Looks jobs up by session id; false means: surely no job.
---@param req wharf.FindRequest
---@return wharf.FindResult
function hooks.find(req)
  local jobs = {}
  for _, job in ipairs(queue()) do
    if job.session then
      jobs[job.session] = jobs[job.session] or {}
      table.insert(jobs[job.session], job.id)
    end
  end
  local answer = {}
  for _, session in ipairs(req.sessions) do
    answer[session.id] = jobs[session.id] or false
  end
  return answer
end

local words = { queued = "queued", allocating = "starting", running = "running", finished = "ended", skipped = "ended" }

-- A new server counts from 0 again: a job is only the session's when it has its label too.
---@param req wharf.StatusRequest
---@return wharf.StatusResult
function hooks.status(req)
  local seen = {}
  for _, job in ipairs(queue()) do
    if job.session then
      seen[job.id .. " " .. job.session] = job
    end
  end
  local answer = {}
  for _, asked in ipairs(req.jobs) do
    local job = seen[asked.job_id .. " " .. asked.session_id]
    if job then
      answer[asked.job_id] = { state = words[job.state] or "unknown", raw = job.state, position = job.position }
      if job.exit_code and job.exit_code >= 0 then
        answer[asked.job_id].exit_code = job.exit_code
      end
    else
      answer[asked.job_id] = { state = "gone" }
    end
  end
  return answer
end

-- Kills a job's monitor and all that descends from it. The monitor is known by the session's id in its command line.
local function kill(id, session)
  local pid = lines(host.exec { argv = { "tsp", "-p", id }, effect = "read" }.stdout)[1]
  local out = host.exec { argv = { "ps", "-e", "-o", "pid=,ppid=,args=" }, effect = "read", check = true }.stdout
  local children, there = {}, false
  for _, process in ipairs(columns(out, { "pid", "parent", "args" })) do
    children[process.parent] = children[process.parent] or {}
    table.insert(children[process.parent], process.pid)
    there = there or process.pid == pid and string.find(process.args, session, 1, true) ~= nil
  end
  if not there then
    return false
  end
  local argv, next = { "kill", "-KILL", pid }, 3
  while argv[next] do
    for _, child in ipairs(children[argv[next]] or {}) do
      table.insert(argv, child)
    end
    next = next + 1
  end
  -- A process that has ended meanwhile is no fault, and kill goes on with the others.
  host.exec { argv = argv, effect = "write" }
  return true
end

-- Ends one job that has not ended; false when it is just beginning or ending, and has to be looked at again.
local function finish(job, req)
  if job.state == "queued" then
    return host.exec { argv = { "tsp", "-r", job.id }, effect = "write" }.status == 0
  end
  if req.mode == "kill" then
    return kill(job.id, req.session.id)
  end
  -- SIGTERM to the monitor, which ends the command cleanly.
  return host.exec { argv = { "tsp", "-k", job.id }, effect = "write" }.status == 0
end

-- Ends the job. Without a job id the submit's answer was lost, and the label finds it. Already gone is success.
---@param req wharf.TerminateRequest
function hooks.terminate(req)
  for _ = 1, 10 do
    local left = false
    for _, job in ipairs(queue()) do
      local ours = job.session == req.session.id and (not req.job_id or req.job_id == job.id)
      if ours and words[job.state] ~= "ended" and not finish(job, req) then
        left = true
      end
    end
    if not left then
      return {}
    end
    host.sleep(0.3)
  end
  host.fail("unavailable", "Task Spooler does not end the job; terminate the session again")
end

-- What the job wrote. While it waits: where it stands.
---@param req wharf.LogsRequest
---@return wharf.LogsResult
function hooks.logs(req)
  for _, job in ipairs(queue()) do
    if job.session == req.session.id and (not req.job_id or req.job_id == job.id) then
      if job.position then
        return { text = "waits in the queue, at position " .. job.position .. "\n" }
      end
      local file = host.exec { argv = { "tsp", "-o", job.id }, effect = "read" }
      local path = lines(file.stdout)[1]
      if file.status ~= 0 or not path then
        return { text = "" }
      end
      local tail = { "tail", "-n", tostring(req.tail or 100), "--", path }
      return { text = host.exec { argv = tail, effect = "read", check = true }.stdout }
    end
  end
  return { text = "" }
end

return hooks
