//! The threads that scripts run on, each with a fresh VM made ahead for its next call.
//!
//! ```text
//! call ─▶ an idle thread, or a new one ─▶ the job, with the VM that was ready ─▶ VM thrown away
//!             ▲                                                                      │
//!             └── idle, for a while ◀── a fresh VM is made, while nobody waits ◀─────┘
//! ```
//!
//! No VM serves two calls. A thread that hangs in a native function hangs alone: the next call gets another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::Fresh;

/// Threads that are kept when there is nothing to do.
const IDLE_MOST: usize = 4;
/// How long one is kept.
const IDLE: Duration = Duration::from_secs(10);
/// Stack of a thread.
const STACK: usize = 4 << 20;

/// What a thread is to do; it gives the VM back to nobody.
pub(crate) type Job = Box<dyn FnOnce(mlua::Result<Fresh>) + Send>;

#[derive(Debug, Default)]
struct Idle {
    next: AtomicU64,
    threads: Mutex<Vec<(u64, mpsc::Sender<Job>)>>,
}

/// All threads; those that are idle end with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Workers(Arc<Idle>);

impl Workers {
    /// Has a job done.
    ///
    /// # Errors
    /// When there is no idle thread and the host gives no other.
    pub(crate) fn run(&self, mut job: Job) -> std::io::Result<()> {
        loop {
            let idle = self.0.threads.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((_, thread)) = idle else { break };
            match thread.send(job) {
                Ok(()) => return Ok(()),
                Err(mpsc::SendError(back)) => job = back,
            }
        }
        let idle = Arc::downgrade(&self.0);
        std::thread::Builder::new()
            .name("hook".to_owned())
            .stack_size(STACK)
            .spawn(move || work(&idle, job))?;
        Ok(())
    }
}

fn work(idle: &Weak<Idle>, first: Job) {
    let mut fresh = None;
    let mut job = first;
    loop {
        job(fresh.take().unwrap_or_else(Fresh::new));
        // Whoever looks at the threads sees which are at work.
        let _ = rustix::thread::set_name(c"hook-idle");
        fresh = Some(Fresh::new());
        match next(idle) {
            Some(next) => job = next,
            None => return,
        }
        let _ = rustix::thread::set_name(c"hook");
    }
}

/// Waits for another job; `None` when there is none for long, or too many wait.
fn next(idle: &Weak<Idle>) -> Option<Job> {
    let (sender, jobs) = mpsc::channel();
    let id = {
        let idle = idle.upgrade()?;
        let mut threads = idle.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if threads.len() >= IDLE_MOST {
            return None;
        }
        let id = idle.next.fetch_add(1, Ordering::Relaxed);
        threads.push((id, sender));
        id
    };
    match jobs.recv_timeout(IDLE) {
        Ok(job) => Some(job),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => {
            if let Some(idle) = idle.upgrade() {
                idle.threads.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _)| *other != id);
            }
            // Taken in the same moment: then its job is on the way.
            jobs.recv().ok()
        }
    }
}
