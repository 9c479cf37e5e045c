//! Ending a command: cleanly if it lets us, surely in the end.
//!
//! ```text
//! stop command ─▶ SIGTERM (on a terminal SIGHUP too) ─▶ grace ─▶ SIGKILL to the whole tree
//!                    the leader ends ─▶ the rest of its group has what is left of the grace
//! ```
//!
//! When to, and what to tell of it, is for `supervise` to say; how to find every process is in `tree`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::time::Instant;
use wharf_protocol::StoppedBy;

use crate::monitor::Monitor;
use crate::spawn::{self, Input, Running};
use crate::supervise::copy;
use crate::{say, tree};

/// From SIGTERM to SIGHUP on a terminal.
const HANG_UP: Duration = Duration::from_millis(250);

/// How far the attempts to end the command have come; the last one is the one that worked.
#[derive(Debug, Default)]
pub(crate) struct Attempt(AtomicU8);

const COMMAND: u8 = 1;
const SIGNAL: u8 = 2;
const KILL: u8 = 3;

impl Attempt {
    fn set(&self, attempt: u8) {
        self.0.store(attempt, Ordering::SeqCst);
    }

    /// As the report says it.
    pub(crate) fn word(&self) -> Option<StoppedBy> {
        match self.0.load(Ordering::SeqCst) {
            COMMAND => Some(StoppedBy::Command),
            SIGNAL => Some(StoppedBy::Signal),
            KILL => Some(StoppedBy::Kill),
            _ => None,
        }
    }
}

/// Ends the command: cleanly if it lets us.
pub(crate) async fn stop(monitor: Arc<Monitor>, pid: Pid, until: Instant, attempt: Arc<Attempt>) {
    let half = until - until.saturating_duration_since(Instant::now()) / 2;
    if let Some(argv) = monitor.bootstrap.stop.clone().filter(|argv| !argv.is_empty()) {
        attempt.set(COMMAND);
        match spawn::start(&monitor.reaper, &argv, &monitor.env, monitor.cwd.as_deref(), Input::Null) {
            Ok(Running { pid, end, streams }) => {
                // Kept on as long as somebody has it open: what it set going must not die of a closed pipe.
                drop(copy(&monitor, streams));
                // Half the time for it and for what it set going; SIGTERM gets the other half.
                let ended = tokio::time::timeout_at(half, end).await;
                if ended.is_err() {
                    let _ = kill_process_group(pid, Signal::KILL);
                } else {
                    tokio::time::sleep_until(half).await;
                }
            }
            Err(error) => {
                say(&format!("the stop command cannot be executed: {}", spawn::failure(&argv, &error).1));
            }
        }
    }
    attempt.set(SIGNAL);
    let _ = kill_process_group(pid, Signal::TERM);
    // Also one that somebody has stopped is to end cleanly.
    let _ = kill_process_group(pid, Signal::CONT);
    if monitor.bootstrap.tty {
        // One that catches SIGTERM ends its own way; a shell waits for the hang-up.
        tokio::time::sleep_until(until.min(Instant::now() + HANG_UP)).await;
        let _ = kill_process_group(pid, Signal::HUP);
        let _ = kill_process_group(pid, Signal::CONT);
    }
    tokio::time::sleep_until(until).await;
    attempt.set(KILL);
    if !tree::kill().await {
        say("some processes of the session cannot be killed");
    }
}

/// The leader is gone: the others of its group were told the same and have the same time, to save their work.
pub(crate) async fn rest(group: Pid, until: Instant, attempt: &Attempt) {
    // Not told twice: many programs take the second time for "at once".
    if attempt.0.load(Ordering::SeqCst) < SIGNAL {
        for pid in tree::group(group) {
            let _ = kill_process(pid, Signal::TERM);
            let _ = kill_process(pid, Signal::CONT);
        }
    }
    while !tree::group(group).is_empty() {
        if Instant::now() >= until {
            attempt.set(KILL);
            tree::kill().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
