//! A record with all that the rules never read left out, so that worlds are few and small.
//!
//! Times are left out too: a move happens either at once ([`now`]) or when every wait is over ([`late`]).

use wharf_protocol::monitor::Incarnation;
use wharf_protocol::{End, EndCause, JobState, Phase, Time};

use crate::record::{Interrupted, JobRecord, Record, Stage, Wish};

/// When everything so far has happened.
pub(super) fn now() -> Time {
    Time::from_millis(1_000_000_000)
}

/// When every wait is over.
pub(super) fn late() -> Time {
    Time::from_millis(9_000_000_000)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Where {
    Pending { phase: Phase, retry: bool, retries: u32, doubt: bool },
    Running { interrupted: bool },
    Ended(EndCause),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct KnownJob {
    pub(super) id: u8,
    state: JobState,
    seen_running: bool,
    pub(super) restarts: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Small {
    pub(super) at: Where,
    /// The sticky wish, and whether its hook's verdict is open.
    pub(super) wish: Option<bool>,
    pub(super) attempt: u32,
    pub(super) job: Option<KnownJob>,
    pub(super) strays: Vec<u8>,
    pub(super) incarnation: Option<Incarnation>,
}

pub(super) fn job_name(id: u8) -> String {
    format!("j{id}")
}

pub(super) fn job_number(name: &str) -> u8 {
    name.trim_start_matches('j').parse().expect("a job of this world")
}

impl KnownJob {
    pub(super) fn seen(id: u8, restarts: u32) -> Self {
        Self { id, state: JobState::Unknown, seen_running: false, restarts }
    }
}

impl Small {
    pub(super) fn of(record: &Record) -> Self {
        Self {
            at: match &record.stage {
                Stage::Pending { phase, retry_at, retries, doubt, .. } => Where::Pending {
                    phase: *phase,
                    retry: retry_at.is_some(),
                    retries: *retries,
                    doubt: doubt.is_some(),
                },
                Stage::Running { interrupted } => Where::Running { interrupted: interrupted.is_some() },
                Stage::Ended { end, .. } => Where::Ended(end.cause),
            },
            wish: record.wish.as_ref().map(|wish| wish.hook_pending),
            attempt: record.attempt,
            job: record.job.as_ref().map(|job| KnownJob {
                id: job_number(&job.id),
                state: job.state,
                seen_running: job.running_since.is_some(),
                restarts: job.restarts,
            }),
            strays: record.strays.iter().map(|job| job_number(job)).collect(),
            incarnation: record.incarnation,
        }
    }

    /// The record again, on the pattern of `like`.
    pub(super) fn record(&self, like: &Record) -> Record {
        let mut record = like.clone();
        record.stage = match &self.at {
            Where::Pending { phase, retry, retries, doubt } => Stage::Pending {
                phase: *phase,
                since: now(),
                retry_at: retry.then(|| now().after(std::time::Duration::from_secs(1))),
                retries: *retries,
                doubt: doubt.then(|| "lost".to_owned()),
            },
            Where::Running { interrupted } => Stage::Running {
                interrupted: interrupted.then(|| Interrupted {
                    // After all that was asked before anything settled.
                    at: now().after(std::time::Duration::from_secs(1)),
                    signal: Some(15),
                    exit_code: None,
                    out_of_memory: false,
                }),
            },
            Where::Ended(cause) => Stage::Ended {
                end: End {
                    cause: *cause,
                    exit_code: None,
                    signal: None,
                    message: String::new(),
                    stopped_by: None,
                },
                at: now(),
            },
        };
        record.wish = self.wish.map(|hook_pending| Wish {
            at: now(),
            by: "alice".to_owned(),
            cause: EndCause::Terminated,
            grace: None,
            hook_pending,
        });
        record.attempt = self.attempt;
        record.job = self.job.as_ref().map(|job| JobRecord {
            id: job_name(job.id),
            handle: None,
            node: None,
            state: job.state,
            raw: None,
            reason: None,
            position: None,
            starts_at: None,
            ends_at: None,
            warned: None,
            running_since: job.seen_running.then_some(now()),
            restarts: job.restarts,
            since: now(),
        });
        record.strays = self.strays.iter().copied().map(job_name).collect();
        record.incarnation = self.incarnation;
        record
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self.at, Where::Ended(_))
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.at, Where::Running { .. })
    }
}
