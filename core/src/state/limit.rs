//! The time limit of a session's job: who is in the session is warned before it ends, once each time, and anew when the
//! limit is moved out.
//!
//! Must not: end anything; that is the scheduler's. What was said is in the record, so that a restarted launcher does not
//! say it again.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wharf_protocol::{Notice, Time};

use super::{Due, Effect, Work};
use crate::record::Stage;

/// How long before the end people are warned, the earliest first.
const WARNINGS: [Duration; 2] = [Duration::from_secs(10 * 60), Duration::from_secs(2 * 60)];
/// An end that moves by less than this is the same one: schedulers round.
const ROUNDING: Duration = Duration::from_secs(60);
/// The code of the reason and of the notice.
const CODE: &str = "time_limit";

/// The last warning that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warned {
    /// Of which end.
    pub ends_at: Time,
    /// How long before it: one of the times at which people are warned.
    pub before: Duration,
}

impl Work {
    /// Sets the time of the next warning; an end that was moved out begins anew.
    pub(super) fn arm_limit(&mut self) {
        if !matches!(self.stage(), Stage::Running { .. }) || self.has_wish() {
            return;
        }
        let now = self.now;
        let record = self.record();
        let Some(job) = &mut record.job else { return };
        let moved = |warned: &Warned| job.ends_at.is_none_or(|at| at >= warned.ends_at.after(ROUNDING));
        if job.warned.as_ref().is_some_and(moved) {
            job.warned = None;
            record.reason.take_if(|reason| reason.code == CODE);
        }
        let (Some(ends_at), warned) = (job.ends_at, job.warned) else { return };
        let next = WARNINGS.iter().find(|before| warned.is_none_or(|warned| **before < warned.before));
        if let Some(before) = next {
            let at = now.after(ends_at.since(now).saturating_sub(*before));
            self.effect(Effect::Wake { at, due: Due::Limit });
        }
    }

    /// Its job has begun: when it will end is asked now, long before the turn of connected sessions comes.
    pub(super) fn ask_for_limit(&mut self) {
        let record = &self.step.session.record;
        if record.rules.status && record.job.is_some() {
            self.effect(Effect::AskStatus);
        }
    }

    /// Warns, when it is time to; the nearest of several warnings that were missed.
    pub(super) fn due_limit(&mut self) {
        if !matches!(self.stage(), Stage::Running { .. }) || self.has_wish() {
            return;
        }
        let now = self.now;
        let Some(job) = &mut self.record().job else { return };
        let Some(ends_at) = job.ends_at else { return };
        let left = ends_at.since(now);
        let come = WARNINGS.iter().rev().find(|before| left <= **before);
        let Some(before) = come.filter(|before| job.warned.is_none_or(|warned| **before < warned.before))
        else {
            return self.arm_limit();
        };
        job.warned = Some(Warned { ends_at, before: *before });
        let message = format!("its time limit ends this session {}, at {ends_at}", in_words(left));
        self.note(CODE, "launcher", message.clone());
        self.effect(Effect::Notify(Notice { code: CODE.to_owned(), message }));
        self.remember_limit();
        self.arm_limit();
    }

    /// Shows a warning that was given, where nothing else is told of the session.
    pub(super) fn remember_limit(&mut self) {
        let record = self.record();
        let warned = record.job.as_ref().and_then(|job| job.warned);
        if let Some(warned) = warned.filter(|_| record.reason.is_none()) {
            self.reason(CODE, format!("its time limit ends it at {}", warned.ends_at));
        }
    }
}

fn in_words(left: Duration) -> String {
    match left.as_secs().div_ceil(60) {
        0 => "any moment".to_owned(),
        1 => "in a minute".to_owned(),
        minutes => format!("in {minutes} minutes"),
    }
}

#[cfg(test)]
mod tests;
