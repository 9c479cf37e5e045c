---@meta wharf
-- What hooks see, for editors. Written by Wharf (`wharf template types`); nothing here runs.

---@class wharf.Secret opaque: usable as env or stdin of a command, never as text
---@class wharf.Null
---@class wharf.Captures { [integer|string]: string }

---@alias wharf.ErrorKind "invalid"|"denied"|"not_found"|"unsupported"|"unavailable"|"rate_limited"|"misconfigured"|"timeout"|"memory"|"command_failed"|"internal"

---@class wharf.ExecOptions
---@field argv string[] a command of [hooks] commands and its arguments
---@field stdin? string|wharf.Secret
---@field timeout? number|string seconds, or a duration such as "5s"
---@field env? table<string, string|number|wharf.Secret>
---@field effect? "read"|"write" "write" when absent
---@field check? boolean raise command_failed unless the status is 0

---@class wharf.ExecResult
---@field status? integer nil when a signal ended it
---@field signal? integer
---@field stdout string
---@field stderr string
---@field truncated boolean

---@class wharf.FailOptions
---@field hint? string what to do next
---@field field? string the member at fault
---@field retry_after? number|string
---@field detail? string

---@alias wharf.BTreeMap table<string, string>

---@alias wharf.EndCause "exited"|"signaled"|"terminated"|"submit_failed"|"never_registered"|"vanished"|"timeout"|"out_of_memory"|"node_failed"|"preempted"|"idle" What ended a session.

---@class wharf.FieldError One value at fault.
---@field field string The member's path, such as `params.cores`.
---@field message string What is wrong with it.

---@class wharf.JobReport Of `status`, for one job.
---@field cause? wharf.EndCause
---@field ends_at? wharf.Time
---@field exit_code? integer Its exit code, when it is over.
---@field node? string Where it runs.
---@field position? integer Place in the queue.
---@field raw? string The scheduler's own word.
---@field reason? string The scheduler's reason.
---@field restarts? integer How often the scheduler restarted it.
---@field starts_at? wharf.Time
---@field state wharf.JobState Its state; words that are not known read as `unknown`.

---@alias wharf.JobState "queued"|"held"|"starting"|"running"|"suspended"|"completing"|"ended"|"gone"|"unknown" A job's state in Wharf's words.

---@class wharf.MonitorInRequest How the job starts its monitor: `submit`'s and `prepare`'s `monitor`.
---@field argv (string)[] An absolute path and `run --bootstrap FILE`; with `[job] enrol` that program and `run --enrol`.
---@field dir string The session directory, 0700; its `mount/` is what a container gets.
---@field env table<string, string> Variables that go with it; no secret among them.
---@field stdin? string With `[job] enrol`: one line for its standard input, a secret that the first monitor to use it spends.

---@alias wharf.SessionId string

---@class wharf.SessionInRequest The session as hooks see it.
---@field command (string)[] What runs in it.
---@field created_at wharf.Time When it was recorded.
---@field env table<string, string> The user's variables.
---@field id wharf.SessionId Its id, which has to end up on the job.
---@field name string Its name.
---@field owner string Its owner.
---@field params table All parameters.
---@field tags wharf.BTreeMap Its tags.
---@field template string Its template.

---@class wharf.Submitted Of `submit`.
---@field handle? table The template's own data, at most 4 KiB, handed back to each hook.
---@field job_id string The backend's job id.
---@field message? string A sentence for the user.
---@field node? string Where it runs, when that is known already.

---@alias wharf.Time string

---@class wharf.User Whose session it is.
---@field gid integer The group id.
---@field groups (string)[] Names of all groups.
---@field home string The home directory.
---@field name string The login name.
---@field uid integer The user id.

---@class wharf.Validated Of `validate`.
---@field command? (string)[] The command as it is to be.
---@field errors? (wharf.FieldError)[] What is wrong.
---@field params? table Parameters as they are to be.

---@class wharf.OptionsRequest
---@field config table [config] of the template.
---@field deadline_ms integer What is left of its time.
---@field dry_run boolean Nothing may be changed.
---@field node? string The instance or node that was chosen for the session.
---@field params table<string, any> Parameters so far.
---@field trace_id string Names this call.
---@field user wharf.User

---@alias wharf.OptionsResult table<string, (any)[]> Choices by parameter.

---@class wharf.ValidateRequest
---@field command (string)[]
---@field config table [config] of the template.
---@field deadline_ms integer What is left of its time.
---@field dry_run boolean Nothing may be changed.
---@field node? string The instance or node that was chosen for the session.
---@field params table<string, any> Parameters.
---@field session wharf.SessionInRequest
---@field trace_id string Names this call.
---@field user wharf.User

---@alias wharf.ValidateResult wharf.Validated

---@class wharf.SelectRequest
---@field config table [config] of the template.
---@field deadline_ms integer What is left of its time.
---@field dry_run boolean Nothing may be changed.
---@field node? string The instance or node that was chosen for the session.
---@field nodes ({name: string})[]
---@field session wharf.SessionInRequest
---@field trace_id string Names this call.
---@field user wharf.User

---@alias wharf.SelectResult (string)[]

---@class wharf.PrepareRequest
---@field config table [config] of the template.
---@field deadline_ms integer What is left of its time.
---@field dry_run boolean Nothing may be changed.
---@field job? {before: (string)[], cwd?: string, env: table<string, string>}
---@field monitor wharf.MonitorInRequest
---@field node? string The instance or node that was chosen for the session.
---@field session wharf.SessionInRequest
---@field trace_id string Names this call.
---@field user wharf.User

---@alias wharf.PrepareResult table

---@class wharf.SubmitRequest
---@field config table [config] of the template.
---@field deadline_ms integer What is left of its time.
---@field dry_run boolean Nothing may be changed.
---@field job? {before: (string)[], cwd?: string, env: table<string, string>}
---@field monitor wharf.MonitorInRequest
---@field node? string The instance or node that was chosen for the session.
---@field session wharf.SessionInRequest
---@field trace_id string Names this call.
---@field user wharf.User

---@alias wharf.SubmitResult wharf.Submitted

---@class wharf.FindRequest
---@field config table [config] of the template.
---@field deadline_ms integer What is left of its time.
---@field dry_run boolean Nothing may be changed.
---@field node? string The instance or node that was chosen for the session.
---@field sessions (wharf.SessionInRequest)[]
---@field trace_id string Names this call.
---@field user wharf.User

---@alias wharf.FindResult table<string, string|(string)[]|false> By session id: a job id, several, or false: surely none.

---@class wharf.StatusRequest
---@field config table [config] of the template.
---@field deadline_ms integer What is left of its time.
---@field dry_run boolean Nothing may be changed.
---@field jobs ({handle?: any, job_id: string, session_id: string})[]
---@field node? string The instance or node that was chosen for the session.
---@field trace_id string Names this call.
---@field user wharf.User

---@alias wharf.StatusResult table<string, wharf.JobReport> By job id; what is left out nobody can tell.

---@class wharf.LogsRequest
---@field after? string `next` of an earlier answer; absent for the end of it all.
---@field config table [config] of the template.
---@field deadline_ms integer What is left of its time.
---@field dir string The session directory, where a job's own output may lie.
---@field dry_run boolean Nothing may be changed.
---@field handle? any What submit gave as handle.
---@field job_id? string The job; absent when the submit's answer was lost.
---@field node? string The instance or node that was chosen for the session.
---@field session wharf.SessionInRequest
---@field tail? integer So many lines.
---@field trace_id string Names this call.
---@field user wharf.User

---@alias wharf.LogsResult {next?: string, text: string}|{path: string}

---@class wharf.TerminateRequest
---@field config table [config] of the template.
---@field deadline_ms integer What is left of its time.
---@field dry_run boolean Nothing may be changed.
---@field handle? any What submit gave as handle.
---@field job_id? string The job; absent when the submit's answer was lost.
---@field mode "stop"|"kill"
---@field node? string The instance or node that was chosen for the session.
---@field session wharf.SessionInRequest
---@field trace_id string Names this call.
---@field user wharf.User

---@alias wharf.TerminateResult table

---@class wharf.TerminateManyRequest
---@field config table [config] of the template.
---@field deadline_ms integer What is left of its time.
---@field dry_run boolean Nothing may be changed.
---@field jobs ({handle?: any, job_id?: string, mode: "stop"|"kill", session_id: string})[]
---@field node? string The instance or node that was chosen for the session.
---@field trace_id string Names this call.
---@field user wharf.User

---@alias wharf.TerminateManyResult table<string, table|{error: table}> By session id.

---@class wharf.ExtendRequest
---@field by_seconds integer
---@field config table [config] of the template.
---@field deadline_ms integer What is left of its time.
---@field dry_run boolean Nothing may be changed.
---@field handle? any What submit gave as handle.
---@field job_id? string The job; absent when the submit's answer was lost.
---@field node? string The instance or node that was chosen for the session.
---@field session wharf.SessionInRequest
---@field trace_id string Names this call.
---@field user wharf.User

---@class wharf.ExtendResult
---@field ends_at string

---@class wharf.OnRunningRequest
---@field config table [config] of the template.
---@field deadline_ms integer What is left of its time.
---@field dry_run boolean Nothing may be changed.
---@field event? table
---@field handle? any What submit gave as handle.
---@field job_id? string The job; absent when the submit's answer was lost.
---@field node? string The instance or node that was chosen for the session.
---@field session wharf.SessionInRequest
---@field trace_id string Names this call.
---@field user wharf.User

---@alias wharf.OnRunningResult table

---@class wharf.OnConnectRequest
---@field config table [config] of the template.
---@field deadline_ms integer What is left of its time.
---@field dry_run boolean Nothing may be changed.
---@field event? table
---@field handle? any What submit gave as handle.
---@field job_id? string The job; absent when the submit's answer was lost.
---@field node? string The instance or node that was chosen for the session.
---@field session wharf.SessionInRequest
---@field trace_id string Names this call.
---@field user wharf.User

---@alias wharf.OnConnectResult table

---@class wharf.OnDisconnectRequest
---@field config table [config] of the template.
---@field deadline_ms integer What is left of its time.
---@field dry_run boolean Nothing may be changed.
---@field event? table
---@field handle? any What submit gave as handle.
---@field job_id? string The job; absent when the submit's answer was lost.
---@field node? string The instance or node that was chosen for the session.
---@field session wharf.SessionInRequest
---@field trace_id string Names this call.
---@field user wharf.User

---@alias wharf.OnDisconnectResult table

---@class wharf.OnParamsRequest
---@field config table [config] of the template.
---@field deadline_ms integer What is left of its time.
---@field dry_run boolean Nothing may be changed.
---@field event? table
---@field handle? any What submit gave as handle.
---@field job_id? string The job; absent when the submit's answer was lost.
---@field node? string The instance or node that was chosen for the session.
---@field session wharf.SessionInRequest
---@field trace_id string Names this call.
---@field user wharf.User

---@alias wharf.OnParamsResult table

---@class wharf.OnEndedRequest
---@field config table [config] of the template.
---@field deadline_ms integer What is left of its time.
---@field dry_run boolean Nothing may be changed.
---@field event? table
---@field handle? any What submit gave as handle.
---@field job_id? string The job; absent when the submit's answer was lost.
---@field node? string The instance or node that was chosen for the session.
---@field session wharf.SessionInRequest
---@field trace_id string Names this call.
---@field user wharf.User

---@alias wharf.OnEndedResult table

---@class wharf.api.host
host = {}

---Runs a command of `[hooks] commands`, no shell. Returns whatever the status; `check = true` raises `command_failed` instead.
---@param options wharf.ExecOptions
---@return wharf.ExecResult
function host.exec(options) end

---Ends the hook with that error.
---@param kind wharf.ErrorKind
---@param message string
---@param options? wharf.FailOptions
---@return never
function host.fail(kind, message, options) end

---A document of `files/` by minijinja; undefined names are errors. `{{ x | shq }}` makes one shell word, `{{ x | directive }}` refuses line ends.
---@param file string
---@param vars? table
---@return string
function host.render(file, vars) end

---The call's private directory, or a new file in it (0600); removed with the call.
---@param name? string
---@param text? string|wharf.Secret
---@return string
function host.tmp(name, text) end

---Runs functions side by side; their results in order. The first failure ends the others.
---@param ... fun(): any
---@return any[]
function host.parallel(...) end

---The function's result, kept for that template version and user, at most an hour.
---@param key string
---@param seconds number|string
---@param make fun(): any
---@return any
function host.cache(key, seconds, make) end

---A line for who waits.
---@param text string
function host.progress(text) end

---A pause within the deadline.
---@param seconds number|string
function host.sleep(seconds) end

---Seconds since 1970.
---@return number
function host.now() end

---The content of `[secrets.NAME] file`, opaque: usable as `env` or `stdin` only, with functions of a backend as `script` too.
---@param name string
---@return wharf.Secret
function host.secret(name) end

---@class wharf.api.json
json = {}

---A value as JSON.
---@param value any
---@return string
function json.encode(value) end

---JSON as a value.
---@param text string
---@return any
function json.decode(text) end

---Marks a table as a list, also an empty one.
---@param list? table
---@return table
function json.array(list) end

---JSON's null.
---@type wharf.Null
json.null = nil

---@class wharf.api.toml
toml = {}

---TOML as a value.
---@param text string
---@return any
function toml.decode(text) end

---@class wharf.api.re
re = {}

---Whether the pattern is found; linear time.
---@param text string
---@param pattern string
---@return boolean
function re.test(text, pattern) end

---Captures by number and name, the whole match at 0.
---@param text string
---@param pattern string
---@return wharf.Captures?
function re.match(text, pattern) end

---The first match.
---@param text string
---@param pattern string
---@return string?
function re.find(text, pattern) end

---Captures of all matches.
---@param text string
---@param pattern string
---@return wharf.Captures[]
function re.all(text, pattern) end

---@class wharf.api.units
units = {}

---Seconds of a duration as parameters of that type come: `1h 30m`.
---@param text string
---@return number
function units.seconds(text) end

---Bytes of a size as parameters of that type come: `4GiB`.
---@param text string
---@return number
function units.bytes(text) end

---Seconds since 1970 as results want a time.
---@param seconds number
---@return string
function units.time(seconds) end

---@class wharf.api.log
log = {}

---A line of the hook's log, which `wharf trace` shows.
---@param ... any
function log.debug(...) end

---A line of the hook's log.
---@param ... any
function log.info(...) end

---A line of the hook's log.
---@param ... any
function log.warn(...) end

---A line of the hook's log.
---@param ... any
function log.error(...) end

---Lines that are not empty.
---@param text string
---@return string[]
function lines(text) end

---A table for each line, by name; the last column takes the rest of the line.
---@param text string
---@param names string[]
---@param separator? string
---@return table<string, string>[]
function columns(text, names, separator) end

---The same as `log.info`.
---@param ... any
function print(...) end

---`require "lib.x"`: `lib/x.lua` of the template.
---@param name string
---@return any
function require(name) end

---@class wharf.api.shell
shell = {}

---Starts the request's monitor, or a path of `[hooks] commands`, in the background; what runs already for that tag is the answer.
---@param options {argv: string[], env?: table<string, string>, dir: string, tag: string}
---@return {job_id: string}
function shell.spawn(options) end

---Looks at processes.
---@param options {job_ids: string[]}
---@return table<string, {state: string}>
function shell.inspect(options) end

---Finds jobs by tag: job ids, or `false`.
---@param options {tags: string[]}
---@return table<string, string[]|false>
function shell.list(options) end

---Signals a job and waits for its end. Already gone is success.
---@param options {job_id: string, signal: "TERM"|"KILL", tree?: boolean}
---@return {}
function shell.signal(options) end

---Kills what a session that is over has left in its own cgroup, after a moment for a clean end.
---@param options {tag: string}
---@return {}
function shell.clear(options) end

---@class wharf.api.docker
docker = {}

---Brings an image, telling the waiting user how far it is. Ends when the hook is given up.
---@param options {image: string, when?: "missing"|"always"|"never"}
---@return {}
function docker.pull(options) end

---Makes a session's container, named after it, or finds the one that was made. What it may do beyond the least stands in the template's `[config]` only.
---@param options {id: string, monitor: any, image: string, memory?: string|number, cpus?: number, pids?: number, shm?: string|number, network?: string, mounts?: string|string[], env?: table<string, string>, labels?: table<string, string>, user?: string, hostname?: string}
---@return {}
function docker.create(options) end

---Starts a container that never ran. One that the engine refuses to start is removed.
---@param options {id: string}
---@return {}
function docker.start(options) end

---The states of sessions' containers, as `status` answers them; one list call for all.
---@param options {ids: string[]}
---@return table<string, {state: string, raw: string, exit_code?: number, cause?: string, reason?: string}>
function docker.inspect(options) end

---Finds sessions' containers: the engine's word for the state (`created`, `running`), or `false`.
---@param options {ids: string[]}
---@return table<string, string|false>
function docker.list(options) end

---What the container's first process, the monitor, printed itself: the end of it, or with `after`, which is `next` of an earlier answer, what came since.
---@param options {id: string, tail?: number, after?: string}
---@return {text: string, next?: string}
function docker.logs(options) end

---Runs a program in a session's container.
---@param options {id: string, argv: string[], stdin?: string}
---@return {status: number, stdout: string, stderr: string, truncated: boolean}
function docker.exec(options) end

---What a session's container uses now: bytes, and processor time since its start.
---@param options {id: string}
---@return {memory?: number, memory_limit?: number, cpu_seconds?: number, pids?: number}
function docker.stats(options) end

---The names of the networks that sessions of the template may join.
---@param options {}
---@return string[]
function docker.networks(options) end

---Kills and removes a session's container. Already gone is success; somebody else's is left alone.
---@param options {id: string}
---@return {}
function docker.remove(options) end

---@class wharf.api.slurm
slurm = {}

---Submits a job whose name and comment are the session's id.
---@param options {script: string, tag: string, output: string, chdir: string?, partition: string?, account: string?, qos: string?, reservation: string?, constraint: string?, cluster: string?, time: string?, memory: string?, cpus: integer?, nodes: integer?, gpus: integer?, requeue: boolean?, options: string[]?}
---@return {job_id: string}
function slurm.sbatch(options) end

---Finds jobs by session id in squeue, then in accounting; false: surely none.
---@param options {tags: string[], cluster: string?}
---@return table<string, string[]|false>
function slurm.find(options) end

---Asks about many jobs with one squeue; what nobody can tell is left out. Asked for everybody's jobs, the answer has places in the queue.
---@param options {job_ids: string[], everybody?: boolean}
---@return table<string, wharf.JobReport>
function slurm.status(options) end

---What accounting says of jobs.
---@param options {job_ids: string[]}
---@return table<string, wharf.JobReport>
function slurm.sacct(options) end

---Ends jobs, or signals them. Already gone is success.
---@param options {job_ids: string[], signal: string?}
---@return table<string, {error: {kind: string, message: string}?}>
function slurm.scancel(options) end

---Gives a job more time.
---@param options {job_id: string, by_seconds: integer}
---@return {ends_at: string?}
function slurm.extend(options) end

---The partitions, the default one first.
---@param options {}
---@return {name: string, available: boolean, default: boolean, time_limit: string, longest: string?, cpus: integer, memory_mib: integer, gpus: integer}[]
function slurm.sinfo(options) end

---What the user may charge to.
---@param options {}
---@return {accounts: string[], qos: string[]}
function slurm.sacctmgr(options) end

