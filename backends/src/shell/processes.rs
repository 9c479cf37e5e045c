//! Processes as `/proc` shows them. One is signalled only through a handle that was opened before it was recognised:
//! a reused process id is never hit.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use wharf_protocol::process::ProcessId;

fn boot() -> io::Result<String> {
    Ok(ProcessId::boot_of(&fs::read_to_string("/proc/sys/kernel/random/boot_id")?))
}

/// Start time, parent, and whether it is dead already.
fn stat(pid: i32) -> Option<(u64, i32, bool)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let start = ProcessId::start_of(&text)?;
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    Some((start, parent, matches!(state, "Z" | "X")))
}

fn pids() -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        if let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

/// Whether that very process lives.
pub(super) fn is_alive(id: &ProcessId) -> bool {
    boot().is_ok_and(|boot| boot == id.boot)
        && stat(id.pid).is_some_and(|(start, _, dead)| start == id.start && !dead)
}

/// Opens that very process; `None` when it is gone.
fn open(id: &ProcessId) -> Option<OwnedFd> {
    let handle = pidfd_open(Pid::from_raw(id.pid)?, PidfdFlags::empty()).ok()?;
    // Opened first, recognised then: what the handle names cannot have changed in between.
    is_alive(id).then_some(handle)
}

/// Signals that very process; `false` when it is gone.
pub(super) fn signal(id: &ProcessId, signal: Signal) -> io::Result<bool> {
    let Some(handle) = open(id) else { return Ok(false) };
    match pidfd_send_signal(&handle, signal) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Kills that process and all that descends from it; stopped first, so that none makes new ones meanwhile.
/// `false` when it is gone.
pub(super) fn kill_tree(id: &ProcessId) -> io::Result<bool> {
    if !signal(id, Signal::STOP)? {
        return Ok(false);
    }
    // Recognised while it was stopped. Those that it had taken in from elsewhere are still found below.
    let own = super::cgroups::of(id.pid).filter(|_| is_alive(id));
    let mut handles: HashMap<i32, OwnedFd> = HashMap::new();
    loop {
        let mut grew = false;
        for pid in descendants(id.pid)? {
            if !handles.contains_key(&pid)
                && let Some(raw) = Pid::from_raw(pid)
                && let Ok(handle) = pidfd_open(raw, PidfdFlags::empty())
            {
                let _ = pidfd_send_signal(&handle, Signal::STOP);
                handles.insert(pid, handle);
                grew = true;
            }
        }
        if !grew {
            break;
        }
    }
    // Children first: when their parent goes they would be handed to somebody else.
    for handle in handles.values() {
        let _ = pidfd_send_signal(handle, Signal::KILL);
    }
    if let Some(own) = own {
        let _ = super::cgroups::kill(&own);
    }
    signal(id, Signal::KILL)
}

fn descendants(root: i32) -> io::Result<HashSet<i32>> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for pid in pids()? {
        if let Some((_, parent, _)) = stat(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = HashSet::new();
    let mut next = vec![root];
    while let Some(parent) = next.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            if found.insert(child) {
                next.push(child);
            }
        }
    }
    Ok(found)
}

/// The monitors of the session of that tag, oldest first.
///
/// # Errors
/// When the processes cannot be listed: then nobody can tell.
pub(super) fn find(tag: &str) -> io::Result<Vec<ProcessId>> {
    let boot = boot()?;
    let file = format!("/sessions/{tag}/mount/bootstrap.json");
    let mut found = Vec::new();
    for pid in pids()? {
        // Gone meanwhile, or somebody else's that hides it: not one of ours.
        let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let runs = words.windows(3).any(|words| {
            words[0] == b"detached" && words[1] == b"--bootstrap" && words[2].ends_with(file.as_bytes())
        });
        if runs && let Some((start, _, false)) = stat(pid) {
            found.push(ProcessId { pid, start, boot: boot.clone() });
        }
    }
    found.sort_by_key(|job| job.start);
    Ok(found)
}
