-- Sessions as local processes. The job is the monitor itself; its job id is PID:START:BOOT, so that a
-- process id that was given to somebody else is never signalled.
local hooks = {}

function hooks.submit(req)
  return shell.spawn { argv = req.monitor.argv, env = req.monitor.env, dir = req.monitor.dir, tag = req.session.id }
end

function hooks.find(req)
  local tags = {}
  for index, session in ipairs(req.sessions) do
    tags[index] = session.id
  end
  return shell.list { tags = tags }
end

function hooks.status(req)
  local ids = {}
  for index, job in ipairs(req.jobs) do
    ids[index] = job.job_id
  end
  return shell.inspect { job_ids = ids }
end

function hooks.terminate(req)
  -- A submit whose answer was lost has no job id: the tag finds what there is.
  local ids = { req.job_id }
  if not req.job_id then
    ids = shell.list { tags = { req.session.id } }[req.session.id] or {}
  end
  for _, id in ipairs(ids) do
    if req.mode == "kill" then
      shell.signal { job_id = id, signal = "KILL", tree = true }
    else
      shell.signal { job_id = id, signal = "TERM" }
    end
  end
  return {}
end

function hooks.on_ended(req)
  -- A monitor that was killed could not take its command down with it.
  return shell.clear { tag = req.session.id }
end

return hooks
