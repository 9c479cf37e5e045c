//! The host API as a table: what scripts may call, for the check, the editors' types and the reference page.
//!
//! The one place that lists it; a test holds it against what a script really sees.

/// One function or value that scripts see.
#[derive(Debug, Clone, Copy)]
pub struct ApiItem {
    /// Its table; empty for globals.
    pub table: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Parameters as `name: type`; a `?` behind a name when it may be left out.
    pub params: &'static [(&'static str, &'static str)],
    /// What it returns; empty for nothing.
    pub returns: &'static str,
    /// One or two sentences.
    pub doc: &'static str,
}

const fn item(
    table: &'static str,
    name: &'static str,
    params: &'static [(&'static str, &'static str)],
    returns: &'static str,
    doc: &'static str,
) -> ApiItem {
    ApiItem { table, name, params, returns, doc }
}

/// Everything but what the language itself has.
pub const API: &[ApiItem] = &[
    item(
        "host",
        "exec",
        &[("options", "wharf.ExecOptions")],
        "wharf.ExecResult",
        "Runs a command of `[hooks] commands`, no shell. Returns whatever the status; `check = true` raises `command_failed` instead.",
    ),
    item(
        "host",
        "fail",
        &[("kind", "wharf.ErrorKind"), ("message", "string"), ("options?", "wharf.FailOptions")],
        "",
        "Ends the hook with that error.",
    ),
    item(
        "host",
        "render",
        &[("file", "string"), ("vars?", "table")],
        "string",
        "A document of `files/` by minijinja; undefined names are errors. `{{ x | shq }}` makes one shell word, `{{ x | directive }}` refuses line ends.",
    ),
    item(
        "host",
        "tmp",
        &[("name?", "string"), ("text?", "string|wharf.Secret")],
        "string",
        "The call's private directory, or a new file in it (0600); removed with the call.",
    ),
    item(
        "host",
        "parallel",
        &[("...", "fun(): any")],
        "any[]",
        "Runs functions side by side; their results in order. The first failure ends the others.",
    ),
    item(
        "host",
        "cache",
        &[("key", "string"), ("seconds", "number|string"), ("make", "fun(): any")],
        "any",
        "The function's result, kept for that template version and user, at most an hour.",
    ),
    item("host", "progress", &[("text", "string")], "", "A line for who waits."),
    item("host", "sleep", &[("seconds", "number|string")], "", "A pause within the deadline."),
    item("host", "now", &[], "number", "Seconds since 1970."),
    item(
        "host",
        "secret",
        &[("name", "string")],
        "wharf.Secret",
        "The content of `[secrets.NAME] file`, opaque: usable as `env` or `stdin` only, with functions of a backend as `script` too.",
    ),
    item("json", "encode", &[("value", "any")], "string", "A value as JSON."),
    item("json", "decode", &[("text", "string")], "any", "JSON as a value."),
    item("json", "array", &[("list?", "table")], "table", "Marks a table as a list, also an empty one."),
    item("json", "null", &[], "wharf.Null", "JSON's null."),
    item("toml", "decode", &[("text", "string")], "any", "TOML as a value."),
    item(
        "re",
        "test",
        &[("text", "string"), ("pattern", "string")],
        "boolean",
        "Whether the pattern is found; linear time.",
    ),
    item(
        "re",
        "match",
        &[("text", "string"), ("pattern", "string")],
        "wharf.Captures?",
        "Captures by number and name, the whole match at 0.",
    ),
    item("re", "find", &[("text", "string"), ("pattern", "string")], "string?", "The first match."),
    item(
        "re",
        "all",
        &[("text", "string"), ("pattern", "string")],
        "wharf.Captures[]",
        "Captures of all matches.",
    ),
    item(
        "units",
        "seconds",
        &[("text", "string")],
        "number",
        "Seconds of a duration as parameters of that type come: `1h 30m`.",
    ),
    item(
        "units",
        "bytes",
        &[("text", "string")],
        "number",
        "Bytes of a size as parameters of that type come: `4GiB`.",
    ),
    item("units", "time", &[("seconds", "number")], "string", "Seconds since 1970 as results want a time."),
    item("log", "debug", &[("...", "any")], "", "A line of the hook's log, which `wharf trace` shows."),
    item("log", "info", &[("...", "any")], "", "A line of the hook's log."),
    item("log", "warn", &[("...", "any")], "", "A line of the hook's log."),
    item("log", "error", &[("...", "any")], "", "A line of the hook's log."),
    item("", "lines", &[("text", "string")], "string[]", "Lines that are not empty."),
    item(
        "",
        "columns",
        &[("text", "string"), ("names", "string[]"), ("separator?", "string")],
        "table<string, string>[]",
        "A table for each line, by name; the last column takes the rest of the line.",
    ),
    item("", "print", &[("...", "any")], "", "The same as `log.info`."),
    item("", "require", &[("name", "string")], "any", "`require \"lib.x\"`: `lib/x.lua` of the template."),
    item(
        "shell",
        "spawn",
        &[("options", "{argv: string[], env?: table<string, string>, dir: string, tag: string}")],
        "{job_id: string}",
        "Starts the request's monitor, or a path of `[hooks] commands`, in the background; what runs already for that tag is the answer.",
    ),
    item(
        "shell",
        "inspect",
        &[("options", "{job_ids: string[]}")],
        "table<string, {state: string}>",
        "Looks at processes.",
    ),
    item(
        "shell",
        "list",
        &[("options", "{tags: string[]}")],
        "table<string, string[]|false>",
        "Finds jobs by tag: job ids, or `false`.",
    ),
    item(
        "shell",
        "signal",
        &[("options", "{job_id: string, signal: \"TERM\"|\"KILL\", tree?: boolean}")],
        "{}",
        "Signals a job and waits for its end. Already gone is success.",
    ),
    item(
        "shell",
        "clear",
        &[("options", "{tag: string}")],
        "{}",
        "Kills what a session that is over has left in its own cgroup, after a moment for a clean end.",
    ),
    item(
        "docker",
        "pull",
        &[("options", "{image: string, when?: \"missing\"|\"always\"|\"never\"}")],
        "{}",
        "Brings an image, telling the waiting user how far it is. Ends when the hook is given up.",
    ),
    item(
        "docker",
        "create",
        &[(
            "options",
            "{id: string, monitor: any, image: string, memory?: string|number, cpus?: number, pids?: number, \
             shm?: string|number, network?: string, mounts?: string|string[], env?: table<string, string>, \
             labels?: table<string, string>, user?: string, hostname?: string}",
        )],
        "{}",
        "Makes a session's container, named after it, or finds the one that was made. What it may do beyond the \
         least stands in the template's `[config]` only.",
    ),
    item(
        "docker",
        "start",
        &[("options", "{id: string}")],
        "{}",
        "Starts a container that never ran. One that the engine refuses to start is removed.",
    ),
    item(
        "docker",
        "inspect",
        &[("options", "{ids: string[]}")],
        "table<string, {state: string, raw: string, exit_code?: number, cause?: string, reason?: string}>",
        "The states of sessions' containers, as `status` answers them; one list call for all.",
    ),
    item(
        "docker",
        "list",
        &[("options", "{ids: string[]}")],
        "table<string, string|false>",
        "Finds sessions' containers: the engine's word for the state (`created`, `running`), or `false`.",
    ),
    item(
        "docker",
        "logs",
        &[("options", "{id: string, tail?: number, after?: string}")],
        "{text: string, next?: string}",
        "What the container's first process, the monitor, printed itself: the end of it, or with `after`, which is \
         `next` of an earlier answer, what came since.",
    ),
    item(
        "docker",
        "exec",
        &[("options", "{id: string, argv: string[], stdin?: string}")],
        "{status: number, stdout: string, stderr: string, truncated: boolean}",
        "Runs a program in a session's container.",
    ),
    item(
        "docker",
        "stats",
        &[("options", "{id: string}")],
        "{memory?: number, memory_limit?: number, cpu_seconds?: number, pids?: number}",
        "What a session's container uses now: bytes, and processor time since its start.",
    ),
    item(
        "docker",
        "networks",
        &[("options", "{}")],
        "string[]",
        "The names of the networks that sessions of the template may join.",
    ),
    item(
        "docker",
        "remove",
        &[("options", "{id: string}")],
        "{}",
        "Kills and removes a session's container. Already gone is success; somebody else's is left alone.",
    ),
    item(
        "slurm",
        "sbatch",
        &[(
            "options",
            "{script: string, tag: string, output: string, chdir: string?, partition: string?, account: string?, qos: string?, reservation: string?, constraint: string?, cluster: string?, time: string?, memory: string?, cpus: integer?, nodes: integer?, gpus: integer?, requeue: boolean?, options: string[]?}",
        )],
        "{job_id: string}",
        "Submits a job whose name and comment are the session's id.",
    ),
    item(
        "slurm",
        "find",
        &[("options", "{tags: string[], cluster: string?}")],
        "table<string, string[]|false>",
        "Finds jobs by session id in squeue, then in accounting; false: surely none.",
    ),
    item(
        "slurm",
        "status",
        &[("options", "{job_ids: string[], everybody?: boolean}")],
        "table<string, wharf.JobReport>",
        "Asks about many jobs with one squeue; what nobody can tell is left out. Asked for everybody's jobs, the answer has \
         places in the queue.",
    ),
    item(
        "slurm",
        "sacct",
        &[("options", "{job_ids: string[]}")],
        "table<string, wharf.JobReport>",
        "What accounting says of jobs.",
    ),
    item(
        "slurm",
        "scancel",
        &[("options", "{job_ids: string[], signal: string?}")],
        "table<string, {error: {kind: string, message: string}?}>",
        "Ends jobs, or signals them. Already gone is success.",
    ),
    item(
        "slurm",
        "extend",
        &[("options", "{job_id: string, by_seconds: integer}")],
        "{ends_at: string?}",
        "Gives a job more time.",
    ),
    item(
        "slurm",
        "sinfo",
        &[("options", "{}")],
        "{name: string, available: boolean, default: boolean, time_limit: string, longest: string?, cpus: integer, memory_mib: integer, gpus: integer}[]",
        "The partitions, the default one first.",
    ),
    item(
        "slurm",
        "sacctmgr",
        &[("options", "{}")],
        "{accounts: string[], qos: string[]}",
        "What the user may charge to.",
    ),
];

/// Modules of backends.
const MODULES: [&str; 3] = ["docker", "slurm", "shell"];

/// Names that scripts of that backend see.
pub(crate) fn globals(backend: Option<&str>) -> Vec<&'static str> {
    let host = ["host", "json", "toml", "re", "units", "log"].into_iter();
    let own = API.iter().filter(|item| item.table.is_empty()).map(|item| item.name);
    let modules = MODULES.into_iter().filter(move |name| backend.is_none_or(|backend| backend == *name));
    crate::lua::LANGUAGE.into_iter().chain(["base"]).chain(host).chain(own).chain(modules).collect()
}

/// Functions of a table of the host; none for a table that is no such. `module` is what the backend itself says.
pub(crate) fn members(
    table: &str,
    backend: Option<&str>,
    module: Option<&(String, Vec<&'static str>)>,
) -> Option<Vec<&'static str>> {
    if let Some((_, functions)) = module.filter(|(name, _)| name == table) {
        return Some(functions.clone());
    }
    if MODULES.contains(&table) && backend.is_some_and(|backend| backend != table) {
        return None;
    }
    let listed = API.iter().filter(|item| !table.is_empty() && item.table == table);
    let found: Vec<_> = listed.map(|item| item.name).collect();
    (!found.is_empty()).then_some(found)
}
