//! Processes as `/proc` shows them: who belongs to a test, who is alive, and signals to them.
//!
//! A zombie counts as gone: nothing of it runs any more, and in a container nobody may ever reap it.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// One process at one moment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Clock ticks between boot and its start: with the id, its identity.
    pub started: u64,
    /// Its parent's id.
    pub parent: i32,
    /// `R`, `S`, `D`, `T`, `Z`…
    pub state: char,
}

impl Process {
    /// Reads one; `None` when it is gone or a zombie.
    pub fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        (!matches!(state, 'Z' | 'X')).then_some(Self { pid, started, parent, state })
    }

    /// Whether the very same process is still there.
    pub fn is_alive(&self) -> bool {
        Self::read(self.pid).is_some_and(|now| now.started == self.started)
    }

    /// Its argument vector, joined by blanks.
    pub fn command_line(&self) -> String {
        text(self.pid, "cmdline")
    }

    /// Its environment, `K=V` joined by blanks.
    pub fn environment(&self) -> String {
        text(self.pid, "environ")
    }

    /// Sends a signal, when it is still the same process.
    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            send(self.pid, signal);
        }
    }
}

/// The processor time that a process has used itself, its children not counted; in steps of a clock tick.
pub fn cpu(pid: i32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: u64 =
        fields.split_ascii_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// The most memory that a process ever held, in bytes.
///
/// # Panics
/// When it is gone.
#[track_caller]
pub fn peak(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a process has memory");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("it is a number");
    peak << 10
}

fn text(pid: i32, file: &str) -> String {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Sends a signal; a process that is gone is no error.
pub fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid).filter(|pid| pid.as_raw_nonzero().get() > 1) {
        _ = kill_process(pid, signal);
    }
}

/// Every process that is alive.
pub fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Process::read)
        .collect()
}

/// Processes whose arguments or environment contain the text, but this one.
pub fn mentioning(text: &str) -> Vec<Process> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    all()
        .into_iter()
        .filter(|process| process.pid != own)
        .filter(|process| process.command_line().contains(text) || process.environment().contains(text))
        .collect()
}

/// Processes whose arguments contain the text, but this one.
pub fn running(text: &str) -> Vec<Process> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    all().into_iter().filter(|process| process.pid != own && process.command_line().contains(text)).collect()
}

/// The processes themselves and all that descend from them.
pub fn with_descendants(roots: &[Process]) -> Vec<Process> {
    let everybody = all();
    let mut pids: BTreeSet<i32> = roots.iter().map(|process| process.pid).collect();
    loop {
        let before = pids.len();
        for process in &everybody {
            if pids.contains(&process.parent) {
                pids.insert(process.pid);
            }
        }
        if pids.len() == before {
            break;
        }
    }
    everybody.into_iter().filter(|process| pids.contains(&process.pid)).collect()
}

/// The process of a job id of the form `PID:START:BOOT`.
///
/// # Panics
/// When the job id has another form, or the process is gone.
#[track_caller]
pub fn of_job(job_id: &str) -> Process {
    // A batch system's number is no process: it would be somebody else's.
    let pid = job_id.split_once(':').and_then(|(pid, _)| pid.parse().ok());
    let pid = pid.unwrap_or_else(|| panic!("no process's job id: {job_id}"));
    Process::read(pid).unwrap_or_else(|| panic!("no process {pid} of job {job_id}"))
}

/// Ends with SIGKILL all that mention the text, and their descendants, until none is left.
///
/// The text is a test's own random directory: nobody else can be hit.
pub fn end_all(text: &str) {
    assert!(text.len() >= 12, "too short to be anybody's own: {text}");
    for _ in 0..50 {
        let found = with_descendants(&mentioning(text));
        if found.is_empty() {
            return;
        }
        for process in &found {
            process.signal(Signal::KILL);
        }
        crate::wait::pause(std::time::Duration::from_millis(10));
    }
}
