-- Sessions as containers. The container is named after the session's id and labelled with it; its job id is the
-- engine's own id, so that nothing else of the same name is ever touched.
local hooks = {}

local function words(text)
  local list = {}
  for word in string.gmatch(text or "", "[^,]+") do
    table.insert(list, word)
  end
  return list
end

function hooks.prepare(req)
  docker.pull { image = req.session.params.image, when = req.config.pull }
  return {}
end

function hooks.submit(req)
  local params = req.session.params
  local made = docker.create {
    id = req.session.id,
    monitor = req.monitor,
    image = params.image,
    memory = params.memory,
    cpus = params.cpus,
    pids = params.pids,
    network = params.network,
    mounts = words(params.mounts),
  }
  docker.start { job_id = made.job_id }
  return { job_id = made.job_id }
end

function hooks.find(req)
  local ids = {}
  for index, session in ipairs(req.sessions) do
    ids[index] = session.id
  end
  local answer = {}
  for id, found in pairs(docker.list { ids = ids }) do
    answer[id] = false
    if found then
      local jobs = {}
      for index, container in ipairs(found) do
        -- A submit that was cut off between its two steps: the second can be said twice, and starts nothing twice.
        if container.state == "created" then
          docker.start { job_id = container.job_id }
        end
        jobs[index] = container.job_id
      end
      answer[id] = jobs
    end
  end
  return answer
end

function hooks.status(req)
  local ids = {}
  for index, job in ipairs(req.jobs) do
    ids[index] = job.job_id
  end
  return docker.inspect { job_ids = ids }
end

function hooks.logs(req)
  return docker.logs { id = req.session.id, job_id = req.job_id, tail = req.tail }
end

function hooks.terminate(req)
  docker.remove { id = req.session.id, job_id = req.job_id }
  return {}
end

function hooks.on_ended(req)
  -- Its end is on record: the container has nothing more to tell.
  docker.remove { id = req.session.id }
  return {}
end

return hooks
