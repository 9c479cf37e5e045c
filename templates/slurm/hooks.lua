-- Sessions as Slurm batch jobs. The job is the session's monitor; the job's name and comment are the session's id, so
-- that a job is found whatever became of the answer to its submit.
local hooks = {}

local function text(value)
  if value ~= nil and value ~= "" then
    return value
  end
  return nil
end

function hooks.options(req)
  local choices = { partition = {} }
  local chosen = nil
  for _, partition in ipairs(slurm.sinfo {}) do
    if partition.available then
      table.insert(choices.partition, partition.name)
      -- The default one comes first.
      if not chosen or partition.name == req.params.partition then
        chosen = partition
      end
    end
  end
  if chosen and chosen.longest then
    choices.time = { chosen.longest }
  end
  if chosen and chosen.gpus > 0 then
    choices.gpus = {}
    for count = 1, math.min(chosen.gpus, 16) do
      table.insert(choices.gpus, count)
    end
  end
  -- A cluster without accounting has neither: its users type what they know.
  local known, charge = pcall(slurm.sacctmgr, {})
  if known then
    choices.account = charge.accounts
    choices.qos = charge.qos
  end
  return choices
end

function hooks.submit(req)
  local params, config = req.session.params, req.config
  -- A node that does not see the session directory has a place of its own for the job's output.
  local enrols = req.monitor.stdin ~= nil
  local place = enrols and config.scratch or req.monitor.dir
  if enrols and config.requeue == true then
    host.fail("misconfigured", "with [job] enrol a job cannot run again: its secret is spent; leave out [config] requeue")
  end
  local script = host.render("job.sh.j2", {
    argv = req.monitor.argv,
    env = req.monitor.env,
    before = req.job and req.job.before or {},
    cluster = text(config.cluster) or false,
    stdin = req.monitor.stdin or false,
  })
  return slurm.sbatch {
    script = script,
    tag = req.session.id,
    output = place .. (enrols and "/wharf-" .. req.session.id .. ".log" or "/job.log"),
    chdir = place,
    partition = text(params.partition),
    account = text(params.account),
    qos = text(params.qos),
    time = text(params.time),
    memory = text(params.memory),
    cpus = params.cpus,
    nodes = params.nodes,
    gpus = params.gpus,
    requeue = config.requeue == true,
    cluster = text(config.cluster),
    reservation = text(config.reservation),
    constraint = text(config.constraint),
    options = config.options,
  }
end

function hooks.find(req)
  local tags = {}
  for index, session in ipairs(req.sessions) do
    tags[index] = session.id
  end
  return slurm.find { tags = tags, cluster = text(req.config.cluster) }
end

function hooks.status(req)
  local ids = {}
  for index, job in ipairs(req.jobs) do
    ids[index] = job.job_id
  end
  return slurm.status { job_ids = ids, everybody = req.config.positions or nil }
end

-- Without a job id the submit's answer was lost: the job is looked up by its tag.
local function jobs_of(req, session_id, job_id)
  if job_id then
    return { job_id }
  end
  return slurm.find { tags = { session_id }, cluster = text(req.config.cluster) }[session_id] or {}
end

function hooks.terminate(req)
  local ids = jobs_of(req, req.session.id, req.job_id)
  if #ids == 0 then
    return {}
  end
  for _, verdict in pairs(slurm.scancel { job_ids = ids }) do
    if verdict.error then
      host.fail(verdict.error.kind, verdict.error.message)
    end
  end
  return {}
end

function hooks.terminate_many(req)
  local ids, by_job, verdicts = {}, {}, {}
  for _, job in ipairs(req.jobs) do
    verdicts[job.session_id] = {}
    for _, id in ipairs(jobs_of(req, job.session_id, job.job_id)) do
      table.insert(ids, id)
      by_job[id] = job.session_id
    end
  end
  if #ids > 0 then
    for id, verdict in pairs(slurm.scancel { job_ids = ids }) do
      if verdict.error and by_job[id] then
        verdicts[by_job[id]] = { error = verdict.error }
      end
    end
  end
  return verdicts
end

function hooks.extend(req)
  local answer = slurm.extend { job_id = req.job_id, by_seconds = req.by_seconds }
  if not answer.ends_at then
    host.fail("unsupported", "Slurm gave the job more time, but does not say when it ends")
  end
  return answer
end

function hooks.logs(req)
  return { path = req.dir .. "/job.log" }
end

return hooks
