//! The mark of a call: every process that a hook starts carries `WHARF_INSTANCE=INSTANCE:TRACE` in its environment,
//! so that what a call leaves behind is found wherever it went, also by the next launcher.
//!
//! Which calls have not ended is written down in the `journal`.
//!
//! A process is only signalled through a pidfd that was opened before its mark was read, so a reused process id
//! never hits a stranger. What dropped the mark (a detached monitor) is nobody's leftover.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::calls;
use super::journal::Journal;

/// The variable that carries the mark.
pub(crate) const VARIABLE: &str = "WHARF_INSTANCE";
/// How often the table of processes is read until nobody new turns up.
const ROUNDS: usize = 5;

/// The process ids that were given out since a moment: whatever a call has started has one of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Since {
    last: i32,
    at: Instant,
}

/// So many process ids are not given out in a second on any host.
const IDS_A_SECOND: u32 = 32_768;
/// More are not looked at one by one.
const IDS_MOST: i32 = 2048;

impl Since {
    /// From now on.
    pub(crate) fn now() -> Option<Self> {
        Some(Self { last: last_id()?, at: Instant::now() })
    }

    /// Those given out until now; `None` when the numbers may have gone round, or are many.
    fn ids(self) -> Option<RangeInclusive<i32>> {
        let last = last_id()?;
        let most: u32 = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok()?.trim().parse().ok()?;
        let round = Duration::from_secs(u64::from(most / IDS_A_SECOND));
        let few = (0..=IDS_MOST).contains(&(last - self.last));
        (few && self.at.elapsed() < round).then_some(self.last + 1..=last)
    }
}

/// The process id that was given out last.
fn last_id() -> Option<i32> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_ascii_whitespace().last()?.parse().ok()
}

/// Which processes are meant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Target {
    /// Those that carry one of these marks.
    pub(crate) marks: BTreeSet<String>,
    /// Those in one of these groups, marked or not.
    pub(crate) groups: BTreeSet<i32>,
    /// Those that carry the mark and are in that group.
    pub(crate) marked_groups: BTreeSet<(String, i32)>,
    /// None of them is older.
    pub(crate) since: Option<Since>,
}

impl Target {
    /// Whether it is plain at once that there is none. Does not block.
    pub(crate) fn is_surely_gone(&self) -> bool {
        let exists = |pid: i32| std::fs::exists(format!("/proc/{pid}")).unwrap_or(true);
        self.is_empty() || self.since.and_then(Since::ids).is_some_and(|mut ids| !ids.any(exists))
    }

    fn is_empty(&self) -> bool {
        self.marks.is_empty() && self.groups.is_empty() && self.marked_groups.is_empty()
    }

    fn matches(&self, pid: i32) -> bool {
        let group = group_of(pid);
        if group.is_some_and(|group| self.groups.contains(&group)) {
            return true;
        }
        let Some(mark) = mark_of(pid) else { return false };
        self.marks.contains(&mark) || group.is_some_and(|group| self.marked_groups.contains(&(mark, group)))
    }
}

/// The mark that a process carries now.
fn mark_of(pid: i32) -> Option<String> {
    let environ = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    environ
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(VARIABLE.as_bytes())?.strip_prefix(b"="))
        .map(|mark| String::from_utf8_lossy(mark).into_owned())
}

fn group_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    // A zombie is over already.
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(1)?.parse().ok()
}

/// All processes, or those of the ids that can be meant.
fn candidates(target: &Target) -> Vec<i32> {
    if let Some(ids) = target.since.and_then(Since::ids) {
        return ids.collect();
    }
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn find(target: &Target) -> Vec<OwnedFd> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let uid = rustix::process::geteuid().as_raw();
    let mut found = Vec::new();
    for pid in candidates(target) {
        let ours = std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|meta| meta.uid() == uid);
        if pid == own || !ours || !target.matches(pid) {
            continue;
        }
        let Some(handle) =
            Pid::from_raw(pid).and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok())
        else {
            continue;
        };
        // The id may have changed hands before the handle was opened; it cannot any more.
        if target.matches(pid) {
            found.push(handle);
        }
    }
    found
}

/// Ends the processes that are meant: TERM, `grace`, KILL, until nobody new turns up. Blocks; returns how many.
pub(crate) fn end(target: &Target, grace: Duration) -> usize {
    if target.is_empty() {
        return 0;
    }
    let mut ended = 0;
    for round in 0..ROUNDS {
        let found = find(target);
        if found.is_empty() {
            break;
        }
        // Those that turn up later were made by ones that had heard the TERM.
        if round == 0 && !grace.is_zero() {
            ended += found.len();
            send(&found, Signal::TERM);
            wait(&found, grace);
        } else if round == 0 {
            ended += found.len();
        }
        send(&found, Signal::KILL);
        wait(&found, Duration::from_millis(100));
    }
    ended
}

fn send(found: &[OwnedFd], signal: Signal) {
    for handle in found {
        // Over already is what we want.
        let _ = rustix::process::pidfd_send_signal(handle, signal);
    }
}

fn wait(found: &[OwnedFd], most: Duration) {
    let until = Instant::now() + most;
    for handle in found {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        // A pidfd becomes readable when its process has ended.
        let _ = rustix::event::poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&timeout));
    }
}

/// After a crash: ends what carries the mark of a call that had not ended, and forgets those calls. Blocks.
pub(crate) fn end_leftovers(journal: &Journal, calls: &Path, instance: &str) -> usize {
    let open = journal.open();
    let mut target = Target::default();
    for (trace, group) in &open {
        let mark = format!("{instance}:{trace}");
        match group {
            Some(group) => drop(target.marked_groups.insert((mark, *group))),
            None => drop(target.marks.insert(mark)),
        }
    }
    let ended = end(&target, Duration::from_secs(2));
    journal.forget(&open);
    calls::clear(calls);
    ended
}
