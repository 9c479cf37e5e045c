//! Every child is reaped here and nowhere else: our own, and orphans that came to us as their subreaper.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, WaitOptions, WaitStatus};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl Ended {
    fn of(status: WaitStatus) -> Option<Self> {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Some(Self::Code(code)),
            (None, Some(signal)) => Some(Self::Signal(signal)),
            (None, None) => None,
        }
    }

    /// As a shell would say it.
    pub(crate) fn shell_code(self) -> u8 {
        match self {
            Self::Code(code) => u8::try_from(code & 0xff).unwrap_or(u8::MAX),
            Self::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }
}

#[derive(Debug, Default)]
struct Waiting {
    waiters: HashMap<Pid, oneshot::Sender<Ended>>,
    /// Spawning is under way: who ended meanwhile may be the one that is about to be waited for.
    spawning: usize,
    early: HashMap<Pid, Ended>,
}

/// Reaps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reaper(Arc<Mutex<Waiting>>);

impl Reaper {
    /// Starts reaping.
    pub(crate) fn start() -> std::io::Result<Self> {
        let reaper = Self::default();
        let mut children = signal(SignalKind::child())?;
        let this = reaper.clone();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(std::time::Duration::from_secs(1));
            loop {
                this.reap();
                tokio::select! {
                    _ = children.recv() => {}
                    _ = tick.tick() => {}
                }
            }
        });
        Ok(reaper)
    }

    fn reap(&self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let Some(ended) = Ended::of(status) else { continue };
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(waiter) = waiting.waiters.remove(&pid) {
                let _ = waiter.send(ended);
            } else if waiting.spawning > 0 {
                waiting.early.insert(pid, ended);
            }
        }
    }

    /// Spawns a process and hands out its end.
    pub(crate) fn spawn(
        &self,
        program: &mut std::process::Command,
    ) -> std::io::Result<(std::process::Child, Pid, oneshot::Receiver<Ended>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).spawning += 1;
        let spawned = program.spawn();
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.spawning -= 1;
        let outcome = spawned.map(|child| {
            let pid = Pid::from_child(&child);
            let (send, end) = oneshot::channel();
            match waiting.early.remove(&pid) {
                Some(ended) => drop(send.send(ended)),
                None => drop(waiting.waiters.insert(pid, send)),
            }
            (child, pid, end)
        });
        if waiting.spawning == 0 {
            waiting.early.clear();
        }
        outcome
    }
}
