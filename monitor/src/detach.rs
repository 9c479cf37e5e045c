//! Leaving a hook: `run --detach`, and getting rid of the marks that hooks' processes carry.
//!
//! A mark stands in a process's first environment, so it can only be dropped by executing anew.

use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use wharf_protocol::process::ProcessId;

use crate::cgroup;

/// What only a hook's own processes carry.
const MARKS: [&str; 10] = [
    "WHARF_INSTANCE",
    "WHARF_HOOK",
    "WHARF_TRACE_ID",
    "WHARF_DEADLINE_MS",
    "WHARF_TMPDIR",
    "WHARF_DRY_RUN",
    "WHARF_MONITOR",
    "WHARF_BOOTSTRAP",
    "WHARF_MODE",
    "WHARF_TAG",
];
/// Says where the job id comes from: from the monitor's own process.
const SELF: &str = "self";

/// Whether this process carries a hook's mark.
pub(crate) fn is_marked() -> bool {
    MARKS.iter().any(|mark| std::env::var_os(mark).is_some())
}

fn clean(program: &mut Command) -> &mut Command {
    for mark in MARKS {
        program.env_remove(mark);
    }
    program
}

/// Executes this program anew without marks; returns only when that fails.
pub(crate) fn unmark() -> io::Error {
    clean(Command::new("/proc/self/exe").arg0("wharf-monitor").args(std::env::args_os().skip(1))).exec()
}

/// Starts a detached monitor, prints its job id, and returns.
pub(crate) fn detach(bootstrap: &Path) -> io::Result<()> {
    let bootstrap = std::path::absolute(bootstrap)?;
    // What is wrong with the file is said here, where a hook still listens.
    crate::bootstrap::read(&bootstrap)?;
    let dir = bootstrap.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    let log = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(dir.join("monitor.log"));
    let mut program = Command::new("/proc/self/exe");
    program.arg0("wharf-monitor").arg("detached").arg("--bootstrap").arg(&bootstrap);
    let child = clean(&mut program)
        .env("WHARF_JOB_ID", SELF)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.map_or_else(|_| Stdio::null(), Stdio::from))
        .spawn()?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let id = process_id(pid)?;
    // Only what has left the caller's session is safe from what happens to that.
    let until = std::time::Instant::now() + Duration::from_secs(5);
    while ProcessId::session_of(&std::fs::read_to_string(format!("/proc/{pid}/stat"))?) != Some(pid) {
        if std::time::Instant::now() > until {
            return Err(io::Error::other("the detached monitor does not leave"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    use std::io::Write as _;
    writeln!(io::stdout(), "{id}")
}

/// First thing of a detached monitor: a cgroup and a session of its own, in that order, for whoever waits for the session
/// may then rely on both.
pub(crate) fn detached(bootstrap: &Path) -> io::Result<Option<cgroup::Own>> {
    let own = cgroup::join(&crate::bootstrap::read(bootstrap)?.session);
    rustix::process::setsid()?;
    let _ = std::env::set_current_dir(bootstrap.parent().unwrap_or(Path::new("/")));
    Ok(own)
}

/// The job id of a process.
pub(crate) fn process_id(pid: i32) -> io::Result<ProcessId> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let start = ProcessId::start_of(&stat).ok_or_else(|| io::Error::other("/proc cannot be understood"))?;
    Ok(ProcessId { pid, start, boot: ProcessId::boot_of(&boot) })
}

/// The job id that this job sees, and how often the scheduler restarted it.
pub(crate) fn job() -> (Option<String>, u32) {
    let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let restarts = get("SLURM_RESTART_COUNT").and_then(|count| count.parse().ok()).unwrap_or(0);
    let id = match get("WHARF_JOB_ID") {
        Some(id) if id == SELF => i32::try_from(std::process::id())
            .ok()
            .and_then(|pid| process_id(pid).ok())
            .map(|id| id.to_string()),
        Some(id) => Some(id),
        None => get("SLURM_JOB_ID"),
    };
    (id, restarts)
}
