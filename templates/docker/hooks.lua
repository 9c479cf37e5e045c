-- Sessions as containers. The container is named after the session's id and labelled with it, and the name is the job
-- id: nothing has to be remembered, and nothing of anybody else is ever touched.
local hooks = {}

function hooks.prepare(req)
  docker.pull { image = req.session.params.image, when = req.config.pull }
  return {}
end

function hooks.submit(req)
  local params = req.session.params
  docker.create {
    id = req.session.id,
    monitor = req.monitor,
    image = params.image,
    memory = params.memory,
    cpus = params.cpus,
    pids = params.pids,
    network = params.network,
    mounts = params.mounts,
  }
  docker.start { id = req.session.id }
  return { job_id = req.session.id, node = req.node }
end

function hooks.find(req)
  local ids = {}
  for index, session in ipairs(req.sessions) do
    ids[index] = session.id
  end
  local answer = {}
  for id, state in pairs(docker.list { ids = ids }) do
    answer[id] = state and id
    -- A submit that was cut off between its two steps: the second can be said twice, and starts nothing twice.
    if state == "created" then
      docker.start { id = id }
    end
  end
  return answer
end

function hooks.status(req)
  local ids = {}
  for index, job in ipairs(req.jobs) do
    ids[index] = job.job_id
  end
  return docker.inspect { ids = ids }
end

function hooks.logs(req)
  return docker.logs { id = req.session.id, tail = req.tail, after = req.after }
end

function hooks.terminate(req)
  return docker.remove { id = req.session.id }
end

function hooks.on_ended(req)
  -- Its end is on record: the container has nothing more to tell.
  return docker.remove { id = req.session.id }
end

return hooks
