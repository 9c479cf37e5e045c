//! All descendants of this process, also those that left every group: as their subreaper we see them in `/proc`.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

/// What `/proc` says of a process.
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    /// Only waiting to be reaped.
    dead: bool,
}

fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
            let dead = matches!(fields.next()?, "Z" | "X");
            let parent = fields.next()?.parse().ok()?;
            Some(Process { pid, parent, group: fields.next()?.parse().ok()?, dead })
        })
        .collect()
}

/// All living descendants.
fn descendants() -> Vec<Pid> {
    living(|_| true)
}

/// The living descendants in that process group.
pub(crate) fn group(group: Pid) -> Vec<Pid> {
    living(|process| process.group == group.as_raw_nonzero().get())
}

fn living(wanted: impl Fn(&Process) -> bool) -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for process in processes() {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut next = vec![i32::try_from(std::process::id()).unwrap_or(1)];
    while let Some(parent) = next.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            if seen.insert(child.pid) {
                next.push(child.pid);
                if !child.dead && wanted(&child) {
                    found.extend(Pid::from_raw(child.pid));
                }
            }
        }
    }
    found
}

fn send_all(signal: Signal) -> usize {
    let all = descendants();
    for pid in &all {
        let _ = kill_process(*pid, signal);
    }
    all.len()
}

/// Kills every descendant: stopped first, so that none makes new ones meanwhile. Whether none is left.
pub(crate) async fn kill() -> bool {
    let give_up = Instant::now() + Duration::from_secs(5);
    loop {
        let mut before = 0;
        for _ in 0..8 {
            let stopped = send_all(Signal::STOP);
            if stopped == before {
                break;
            }
            before = stopped;
        }
        if send_all(Signal::KILL) == 0 {
            return true;
        }
        if Instant::now() >= give_up {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Asks every descendant to end, waits a little, and kills the rest.
pub(crate) async fn sweep(patience: Duration) {
    if send_all(Signal::TERM) == 0 {
        return;
    }
    send_all(Signal::CONT);
    let until = Instant::now() + patience;
    while Instant::now() < until {
        if descendants().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    kill().await;
}
