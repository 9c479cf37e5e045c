//! Everything there is: what is durable, the launcher's memory, hooks under way, the scheduler, monitors, and how
//! much may still go wrong.

use std::collections::BTreeSet;

use wharf_protocol::JobState;
use wharf_protocol::monitor::Incarnation;

use super::small::Small;
use crate::state::{Due, Mode};

/// One deliberate breach of one rule: the checker has to find each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Mutant {
    DoThenWrite,
    ResubmitUnknown,
    ResubmitAfterCrash,
    NoFence,
    OlderNotTold,
    TerminateNotSticky,
    EndedNotFinal,
    LeftoversLive,
    CannotTellIsGone,
    FindBelievedAtOnce,
    GoneBelievedAtOnce,
    NoTombstone,
    PurgeKeepsLink,
    StraysWelcome,
}

/// What the checked world is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Design {
    pub(super) mutant: Option<Mutant>,
    /// The template has a find hook.
    pub(super) find: bool,
    /// The backend may start a job again by itself.
    pub(super) requeue: bool,
    pub(super) left: Left,
}

impl Design {
    pub(super) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

/// How often each thing may still happen that nobody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Left {
    pub(super) crashes: u8,
    /// Hooks that fail, lose their answer or lie; schedulers that lose a request.
    pub(super) faults: u8,
    /// Submit hooks that deliver twice, against their contract.
    pub(super) doubles: u8,
    pub(super) requeues: u8,
    /// Links that break.
    pub(super) drops: u8,
    /// Commands that end by themselves.
    pub(super) exits: u8,
    pub(super) terminates: u8,
    pub(super) purges: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    /// The durable record.
    pub(super) kept: Option<Small>,
    /// A tombstone says that it is over.
    pub(super) tombstone: bool,
    pub(super) up: bool,
    pub(super) driver: Option<Driver>,
    pub(super) hooks: Vec<HookProcess>,
    /// Submits on their way to the scheduler, by attempt.
    pub(super) flights: Vec<u32>,
    pub(super) jobs: Vec<Job>,
    pub(super) monitors: Vec<Monitor>,
    pub(super) left: Left,
    /// A wish was durable once.
    pub(super) wished: bool,
    /// It was over once.
    pub(super) over: bool,
}

/// What dies with the launcher.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Driver {
    /// The monitor at the other end of the link.
    pub(super) link: Option<usize>,
    /// The session's link is lost, not merely absent.
    pub(super) lost: bool,
    pub(super) connected: bool,
    pub(super) acknowledged: bool,
    pub(super) linked: bool,
    pub(super) finding: bool,
    pub(super) terminating: bool,
    pub(super) submits: u8,
    pub(super) dues: BTreeSet<Due>,
}

/// A hook's process: outlives a launcher that is killed, until the next one ends it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct HookProcess {
    pub(super) orphan: bool,
    pub(super) does: Does,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Does {
    Submit {
        attempt: u32,
        sent: bool,
        job: Option<u8>,
    },
    /// `found`: what it has seen, and whether all waits were over when it looked.
    Find {
        found: Option<(Vec<u8>, bool)>,
    },
    Status {
        job: u8,
        seen: JobState,
        restarts: u32,
        settled: bool,
    },
    Terminate {
        mode: Mode,
        job: Option<u8>,
        wished: bool,
        done: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum JobIs {
    Queued,
    Running,
    Over,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Job {
    pub(super) attempt: u32,
    pub(super) is: JobIs,
    pub(super) restarts: u32,
    /// Look-ups show it: schedulers answer from caches.
    pub(super) shown: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum MonitorIs {
    Serving,
    /// Told to end.
    Told,
    /// Its command is over; it has to report that.
    Over {
        told: bool,
        interrupted: bool,
    },
    Gone,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Monitor {
    pub(super) job: u8,
    pub(super) attempt: u32,
    pub(super) restarts: u32,
    pub(super) incarnation: Option<Incarnation>,
    pub(super) linked: bool,
    pub(super) is: MonitorIs,
}

impl World {
    pub(super) fn alive(&self) -> impl Iterator<Item = u8> {
        self.jobs
            .iter()
            .enumerate()
            .filter(|(_, job)| job.is != JobIs::Over)
            .map(|(at, _)| u8::try_from(at).expect("few jobs"))
    }

    /// Every request has arrived and every cache is fresh.
    pub(super) fn settled(&self) -> bool {
        self.flights.is_empty() && self.jobs.iter().all(|job| job.shown)
    }

    /// A submit may still arrive.
    pub(super) fn may_arrive(&self) -> bool {
        !self.flights.is_empty()
            || self.hooks.iter().any(|hook| matches!(hook.does, Does::Submit { sent: false, .. }))
    }

    /// The monitor and its command are gone, and so is the job unless it runs again elsewhere.
    pub(super) fn bury(&mut self, monitor: usize) {
        let gone = &mut self.monitors[monitor];
        gone.is = MonitorIs::Gone;
        gone.linked = false;
        let job = &mut self.jobs[usize::from(gone.job)];
        if job.restarts == gone.restarts {
            job.is = JobIs::Over;
        }
    }

    /// The scheduler ends a job, and its processes with it.
    pub(super) fn kill(&mut self, id: u8) {
        let restarts = self.jobs[usize::from(id)].restarts;
        self.jobs[usize::from(id)].is = JobIs::Over;
        for monitor in &mut self.monitors {
            if monitor.job == id && monitor.restarts == restarts {
                monitor.is = MonitorIs::Gone;
                monitor.linked = false;
            }
        }
    }
}
