-- Every function here is a hook. Editors know what they are given and may call from types/wharf.lua.
local hooks = {}

-- Hands the job to the scheduler. It has to run monitor.argv, and to carry the session's id where mystat shows it.
---@param req wharf.SubmitRequest
---@return wharf.SubmitResult
function hooks.submit(req)
  -- Values are words of their own: no shell sees them.
  local argv = { "mysub", "--name=" .. req.session.id, "--queue=" .. req.session.params.queue, "--" }
  for _, word in ipairs(req.monitor.argv) do
    table.insert(argv, word)
  end
  local run = host.exec { argv = argv, effect = "write" }
  if run.status ~= 0 then
    if re.test(run.stderr, "(?i)unknown queue|not allowed") then
      -- Surely not submitted: the session ends, and its user reads these words.
      host.fail("invalid", run.stderr)
    end
    -- Nobody knows whether there is a job: the launcher asks find.
    error("mysub: " .. run.stderr)
  end
  return { job_id = lines(run.stdout)[1] }
end

-- One look at the scheduler answers for all: { [job id] = { id, name, state } }.
local function listed()
  -- check = true: a failing mystat fails the hook, which means "cannot tell" and changes nothing.
  local out = host.exec { argv = { "mystat" }, effect = "read", check = true }.stdout
  return columns(out, { "id", "name", "state" })
end

-- Looks jobs up by session id; false means: surely no job.
---@param req wharf.FindRequest
---@return wharf.FindResult
function hooks.find(req)
  local jobs = {}
  for _, row in ipairs(listed()) do
    jobs[row.name] = row.id
  end
  local answer = {}
  for _, session in ipairs(req.sessions) do
    answer[session.id] = jobs[session.id] or false
  end
  return answer
end

-- The scheduler's words, and what they mean. A word that is not here is "unknown", and changes nothing.
local words = { PENDING = "queued", HELD = "held", RUNNING = "running", DONE = "ended", FAILED = "ended" }

---@param req wharf.StatusRequest
---@return wharf.StatusResult
function hooks.status(req)
  local seen = {}
  for _, row in ipairs(listed()) do
    seen[row.id] = row.state
  end
  local answer = {}
  for _, job in ipairs(req.jobs) do
    local raw = seen[job.job_id]
    answer[job.job_id] = raw and { state = words[raw] or "unknown", raw = raw } or { state = "gone" }
  end
  return answer
end

-- Ends the job. Already gone is success.
---@param req wharf.TerminateRequest
function hooks.terminate(req)
  -- Without a job id the submit's answer was lost: look the job up.
  local id = req.job_id or hooks.find({ sessions = { req.session } })[req.session.id]
  if not id then
    return {}
  end
  local run = host.exec { argv = { "mydel", id }, effect = "write" }
  if run.status ~= 0 and not re.test(run.stderr, "no such job") then
    host.fail("unavailable", "mydel: " .. run.stderr)
  end
  return {}
end

return hooks
