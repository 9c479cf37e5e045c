//! The cgroups that local sessions made for themselves: whoever is in one is of that session, whatever became of its
//! monitor. They are found by their names, so that no crash can hide one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use wharf_protocol::SessionId;
use wharf_protocol::cgroup;

/// Deeper ones are nobody's whom we started.
const DEPTH: usize = 12;

/// The cgroups of that session.
pub(super) fn find(session: &SessionId) -> Vec<PathBuf> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found = Vec::new();
    if let Some(root) = cgroup::root(&mountinfo) {
        look(&root, &cgroup::name_of(session), DEPTH, &mut found);
    }
    found
}

fn look(below: &Path, name: &str, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(below) else { return };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name() == *name {
            found.push(entry.path());
        } else if depth > 0 {
            look(&entry.path(), name, depth - 1, found);
        }
    }
}

/// The cgroup of a process, if it is a session's own.
pub(super) fn of(pid: i32) -> Option<PathBuf> {
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let directory = cgroup::directory(&own, &fs::read_to_string("/proc/self/mountinfo").ok()?)?;
    let session = directory.file_name()?.to_str()?.strip_prefix("wharf-")?;
    session.parse::<SessionId>().ok()?;
    Some(directory)
}

/// Kills all that are in it, and below.
pub(super) fn kill(cgroup: &Path) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.kill"), "1")
}

fn is_populated(cgroup: &Path) -> bool {
    fs::read_to_string(cgroup.join("cgroup.events")).is_ok_and(|events| events.contains("populated 1"))
}

/// Waits until nobody is in it; those who stay longer than that are killed. Then it is taken away.
///
/// # Errors
/// When they cannot be killed.
pub(super) async fn clear(cgroup: &Path, patience: Duration, left: Duration) -> io::Result<()> {
    let begin = Instant::now();
    let mut killed = false;
    while is_populated(cgroup) {
        if begin.elapsed() >= patience && !killed {
            kill(cgroup)?;
            killed = true;
        }
        if begin.elapsed() >= left {
            return Err(io::Error::other("some of its processes cannot be killed"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    remove(cgroup)
}

/// Takes a cgroup away in which nobody is, with those below it.
fn remove(cgroup: &Path) -> io::Result<()> {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path())?;
        }
    }
    match fs::remove_dir(cgroup) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
