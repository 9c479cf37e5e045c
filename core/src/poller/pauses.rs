//! When a single session's job is asked about, apart from its template's rhythm: less and less often where the scheduler
//! has forgotten it, and again after a moment where its answer is older than what its monitor has told. Pure.
//!
//! Must not: hold back a question whose answer could change its session. Only jobs of connected sessions rest; one whose
//! link is lost, or that an event asks about, is asked about at once.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use wharf_protocol::{JobState, SessionId, Time};

use crate::hook::JobReport;
use crate::record::{Record, Stage};

/// A pause grows to so many times the interval, a power of two.
const MOST_DOUBLINGS: u32 = 5;
/// What is asked again because the answer was old is not asked again sooner.
const MOMENT: Duration = Duration::from_secs(1);

/// What one question brought.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) session: SessionId,
    /// Its monitor is connected and speaks for it.
    pub(super) connected: bool,
    /// The scheduler knows a living job.
    pub(super) known: bool,
}

impl Told {
    /// Whether an answer is that of a living job; none and "gone" are what costs schedulers most, job by job.
    pub(super) fn is_known(report: Option<&JobReport>) -> bool {
        report.is_some_and(|report| !matches!(report.state, JobState::Gone | JobState::Ended))
    }
}

#[derive(Debug)]
struct Pause {
    times: u32,
    until: Instant,
}

/// Connected sessions whose jobs are asked about less and less often.
#[derive(Debug, Default)]
pub(super) struct Pauses(HashMap<SessionId, Pause>);

impl Pauses {
    /// Takes an answer in; `interval` is that of connected sessions.
    pub(super) fn heard(&mut self, told: Told, interval: Duration, now: Instant) {
        if told.known || !told.connected {
            self.0.remove(&told.session);
            return;
        }
        let pause = self.0.entry(told.session).or_insert(Pause { times: 0, until: now });
        // A little less, so that it comes along with the round of that time.
        pause.until = now + interval * (1 << pause.times) - interval / 4;
        pause.times = (pause.times + 1).min(MOST_DOUBLINGS);
    }

    pub(super) fn rests(&self, session: &SessionId, now: Instant) -> bool {
        self.0.get(session).is_some_and(|pause| now < pause.until)
    }

    /// An event asks about it.
    pub(super) fn wake(&mut self, session: &SessionId) {
        self.0.remove(session);
    }

    /// Drops those that are over.
    pub(super) fn retain(&mut self, lives: impl Fn(&SessionId) -> bool) {
        self.0.retain(|session, _| lives(session));
    }
}

/// After how long a session is asked about again, because the scheduler has not caught up with its monitor: the job of one
/// that has registered still waits, that of one that was interrupted still runs. As long again as it has been so, until
/// that is as long as the interval anyway.
pub(super) fn again(record: &Record, report: &JobReport, now: Time, interval: Duration) -> Option<Duration> {
    let Stage::Running { interrupted } = &record.stage else { return None };
    let since = match interrupted {
        Some(was) if matches!(report.state, JobState::Running | JobState::Completing) => was.at,
        None if matches!(report.state, JobState::Queued | JobState::Starting) => record.started_at?,
        _ => return None,
    };
    let long = now.since(since);
    (long < interval).then(|| long.max(MOMENT))
}

#[cfg(test)]
mod tests;
