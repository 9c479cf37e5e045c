//! A detached monitor's own cgroup, where one can be made: whoever kills it misses nothing that the session started,
//! also when this monitor is no more.
//!
//! In a scheduler's job or a container the cgroup is theirs, and is left alone. How the processes of a session are ended
//! by this monitor itself is in `tree`: as their subreaper it finds them without a cgroup.

use std::fs;
use std::io;
use std::path::PathBuf;

use wharf_protocol::SessionId;
use wharf_protocol::cgroup;

/// The cgroup that was joined.
#[derive(Debug)]
pub(crate) struct Own(PathBuf);

/// The directory of the cgroup that this process is in.
pub(crate) fn current() -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    cgroup::directory(&own, &fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// How often the kernel killed something of our own cgroup for memory, as either version of cgroups tells it.
pub(crate) fn oom_kills() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let events = [
        cgroup::directory(&own, &mounts).map(|directory| directory.join("memory.events")),
        cgroup::directory_v1("memory", &own, &mounts).map(|directory| directory.join("memory.oom_control")),
    ];
    let text = events.into_iter().flatten().find_map(|file| fs::read_to_string(file).ok())?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// Makes one and joins it; `None` where that is not ours to do.
pub(crate) fn join(session: &SessionId) -> Option<Own> {
    let directory = current()?.join(cgroup::name_of(session));
    match fs::create_dir(&directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(_) => return None,
    }
    if fs::write(directory.join("cgroup.procs"), "0").is_ok() {
        return Some(Own(directory));
    }
    // The parent is not ours to leave.
    let _ = fs::remove_dir(&directory);
    None
}

impl Own {
    /// Goes back to where it came from, and takes the cgroup away; if somebody is left in it, it stays for them.
    pub(crate) fn leave(self) {
        if let Some(parent) = self.0.parent() {
            let _ = fs::write(parent.join("cgroup.procs"), "0");
        }
        let _ = fs::remove_dir(&self.0);
    }
}
