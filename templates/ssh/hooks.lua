-- Sessions on a remote host. The job is the session's monitor itself, which a script of `files/` starts there; scripts
-- travel on standard input and get nothing but ids as words, so that no value of a user ever meets the remote shell.
-- The host has no file system in common with the launcher: monitor, bootstrap file and addresses are copied to
-- ~/.local/share/wharf-remote.
local hooks = {}

local place = ".local/share/wharf-remote/"

local function options(config)
  local words = { "-o", "BatchMode=yes", "-o", "ConnectTimeout=8" }
  for _, word in ipairs(config.options or {}) do
    table.insert(words, word)
  end
  return words
end

local function host_of(req)
  local hosts = req.config.hosts or {}
  if #hosts == 0 then
    host.fail("misconfigured", "the template names no host: [config] hosts")
  end
  return req.session.params.host or hosts[1]
end

-- The process and its host.
local function parts(job_id)
  local found = re.match(job_id, "^([0-9:a-f]+)@(.+)$")
  return found[1], found[2]
end

-- Runs a script of `files/` there. Words are ids of sessions, jobs and hashes, which no shell changes.
local function remote(config, name, script, words, effect)
  local argv = { "ssh", "-T" }
  for _, word in ipairs(options(config)) do
    table.insert(argv, word)
  end
  for _, word in ipairs { "--", name, "sh", "-s", "--" } do
    table.insert(argv, word)
  end
  -- ssh makes one text of them for the remote shell.
  for _, word in ipairs(words) do
    if not re.test(word, "^[A-Za-z0-9][A-Za-z0-9:._-]*$") then
      error("not a word for a remote shell: " .. word)
    end
    table.insert(argv, word)
  end
  return host.exec { argv = argv, stdin = host.render(script, {}), effect = effect }
end

-- What ssh says when it never came to run anything there.
local function unreachable(name, said)
  if re.test(said, "(?i)permission denied|host key verification failed|no such identity|bad configuration option|too many authentication failures") then
    host.fail("misconfigured", "the launcher cannot log in on " .. name .. ": " .. said)
  end
  host.fail("unavailable", name .. " cannot be reached: " .. said)
end

local function copy(config, files, name, to)
  local argv = { "scp", "-q", "-p" }
  for _, word in ipairs(options(config)) do
    table.insert(argv, word)
  end
  table.insert(argv, "--")
  for _, file in ipairs(files) do
    table.insert(argv, file)
  end
  table.insert(argv, name .. ":" .. to)
  local run = host.exec { argv = argv, effect = "write" }
  if run.status ~= 0 then
    unreachable(name, run.stderr)
  end
end

local function hash_of(monitor)
  local found = re.match(monitor.argv[1], "/([0-9a-f]{16,64})/wharf-monitor$")
  return found and found[1] or "own"
end

function hooks.options(req)
  local hosts = req.config.hosts or {}
  return #hosts > 0 and { host = hosts } or {}
end

function hooks.validate(req)
  local wanted = host_of { config = req.config, session = { params = req.params } }
  for _, known in ipairs(req.config.hosts) do
    if wanted == known then
      return {}
    end
  end
  return { errors = { { field = "params.host", message = "is none of this site's hosts" } } }
end

function hooks.prepare(req)
  local name, id, hash = host_of(req), req.session.id, hash_of(req.monitor)
  local run = remote(req.config, name, "prepare.sh", { id, hash }, "write")
  if run.status ~= 0 then
    unreachable(name, run.stderr)
  end
  if not re.test(run.stdout, "(?m)^there$") or hash == "own" then
    host.progress("copying the monitor to " .. name)
    copy(req.config, { req.monitor.argv[1] }, name, place .. "monitor/" .. hash .. "/" .. id .. ".new")
    local installed = remote(req.config, name, "install.sh", { id, hash }, "write")
    if installed.status ~= 0 then
      unreachable(name, installed.stderr)
    end
  end
  return {}
end

function hooks.submit(req)
  local name, id = host_of(req), req.session.id
  local mount = req.monitor.dir .. "/mount/"
  -- What a retry brings is newer than what `prepare` could have brought.
  local to = place .. "sessions/" .. id .. "/mount/"
  copy(req.config, { mount .. "bootstrap.json" }, name, to .. "bootstrap.json.new")
  copy(req.config, { mount .. "addresses" }, name, to .. "addresses.new")
  local run = remote(req.config, name, "submit.sh", { id, hash_of(req.monitor), name }, "write")
  local job = re.match(run.stdout, "(?m)^([0-9]{1,10}:[0-9]{1,20}:[0-9a-f]{8}@\\S+)\\s*$")
  if run.status == 0 and job then
    return { job_id = job[1], node = name }
  end
  -- The connection may have broken after the start.
  error("ssh: " .. run.stderr .. run.stdout)
end

function hooks.find(req)
  local answer = {}
  for _, session in ipairs(req.sessions) do
    local name = host_of { config = req.config, session = session }
    local run = remote(req.config, name, "find.sh", { session.id }, "read")
    if run.status ~= 0 or not re.test(run.stdout, "(?m)^done$") then
      unreachable(name, run.stderr)
    end
    local job = re.match(run.stdout, "(?m)^" .. session.id .. " ([0-9]+:[0-9]+:[0-9a-f]+@\\S+)$")
    answer[session.id] = job and job[1] or false
  end
  return answer
end

function hooks.status(req)
  local by_host, names = {}, {}
  for _, job in ipairs(req.jobs) do
    local process, name = parts(job.job_id)
    if not by_host[name] then
      by_host[name] = {}
      table.insert(names, name)
    end
    table.insert(by_host[name], process)
  end
  table.sort(names)
  local asked = {}
  for index, name in ipairs(names) do
    asked[index] = function()
      return remote(req.config, name, "status.sh", by_host[name], "read")
    end
  end
  local answer = {}
  for index, run in ipairs(host.parallel(unpack(asked))) do
    -- Of a host that does not answer nobody can tell; the others' answers are good.
    for _, line in ipairs(lines(run.stdout)) do
      local row = re.match(line, "^([0-9]+:[0-9]+:[0-9a-f]{8}) (running|gone)$")
      if row then
        answer[row[1] .. "@" .. names[index]] = { state = row[2], node = names[index] }
      end
    end
  end
  return answer
end

function hooks.terminate(req)
  local job_id = req.job_id
  if not job_id then
    job_id = hooks.find({ sessions = { req.session }, config = req.config })[req.session.id]
    if not job_id then
      return {}
    end
  end
  local process, name = parts(job_id)
  local run = remote(req.config, name, "terminate.sh", { process, req.mode }, "write")
  if re.test(run.stdout, "(?m)^lives$") then
    host.fail("unavailable", "the session does not end; terminate it again to have it killed")
  end
  if run.status ~= 0 or not re.test(run.stdout, "(?m)^gone$") then
    unreachable(name, run.stderr)
  end
  return {}
end

function hooks.logs(req)
  local run = remote(req.config, host_of(req), "logs.sh", { req.session.id }, "read")
  return { text = run.stdout }
end

function hooks.on_ended(req)
  local run = remote(req.config, host_of(req), "clear.sh", { req.session.id }, "write")
  if run.status ~= 0 then
    host.fail("unavailable", "what the session left behind stays for now: " .. run.stderr)
  end
  return {}
end

return hooks
