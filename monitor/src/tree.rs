//! All descendants of this process, also those that left every group: as their subreaper we see them in `/proc`.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

/// Process id, parent, and whether it is only waiting to be reaped.
fn processes() -> Vec<(i32, i32, bool)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
            let state = fields.next()?;
            Some((pid, fields.next()?.parse().ok()?, matches!(state, "Z" | "X")))
        })
        .collect()
}

/// All living descendants.
fn descendants() -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    let mut dead = HashSet::new();
    for (pid, parent, zombie) in processes() {
        children.entry(parent).or_default().push(pid);
        if zombie {
            dead.insert(pid);
        }
    }
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut next = vec![i32::try_from(std::process::id()).unwrap_or(1)];
    while let Some(parent) = next.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            if seen.insert(child) {
                next.push(child);
                if !dead.contains(&child) {
                    found.extend(Pid::from_raw(child));
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
