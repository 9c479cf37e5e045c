//! The end on demand: sticky, idempotent and final.

use std::time::Duration;

use wharf_protocol::{EndCause, Phase, StoppedBy};

use super::{Due, Effect, Mode, PATIENCE, UNENDED, Work};
use crate::hook::HookError;
use crate::record::{LinkState, Stage, Wish};

impl Work {
    pub(super) fn terminate(&mut self, by: &str, grace: Option<Duration>, cause: EndCause) {
        let stage = self.stage().clone();
        if matches!(stage, Stage::Ended { .. }) {
            return;
        }
        let at = self.now;
        if let Some(wish) = &mut self.record().wish {
            if grace.is_some() {
                wish.grace = grace;
            }
        } else {
            self.record().wish = Some(Wish { at, by: by.to_owned(), cause, grace, hook_pending: false });
            self.note("terminate_requested", by, "asked to end it");
        }
        match stage {
            Stage::Pending { phase: Phase::Recorded | Phase::Preparing, .. } => {
                self.effect(Effect::CancelPrepare);
                self.end_wished(StoppedBy::NotStarted, "ended before anything was submitted");
            }
            // In flight: the hook runs when the outcome is known.
            Stage::Pending { phase: Phase::Submitting, .. } => {
                if self.connected() {
                    self.order();
                }
            }
            Stage::Pending { phase: Phase::Submitted | Phase::Unknown, .. } => {
                if self.connected() {
                    self.order();
                }
                self.run_hook(Mode::Stop);
            }
            Stage::Running { .. } => {
                if self.connected() {
                    self.order();
                } else {
                    let waited = match self.step.session.link {
                        LinkState::Lost { since } => at.since(since),
                        LinkState::None | LinkState::Connected => Duration::ZERO,
                    };
                    self.wake(self.back().saturating_sub(waited), Due::Back);
                }
            }
            Stage::Ended { .. } => {}
        }
    }

    /// Tells the monitor, and looks after it.
    pub(super) fn order(&mut self) {
        let record = &self.step.session.record;
        let grace = record.wish.as_ref().and_then(|wish| wish.grace).unwrap_or(record.rules.limits.grace.0);
        self.step.session.acknowledged = false;
        self.effect(Effect::OrderEnd { grace });
        self.wake(PATIENCE, Due::Acknowledge);
        self.wake(grace + PATIENCE, Due::Grace);
    }

    pub(super) fn run_hook(&mut self, mode: Mode) {
        if let Some(wish) = &mut self.record().wish {
            wish.hook_pending = true;
        }
        self.effect(Effect::Terminate { mode });
    }

    /// The monitor did not do it in time: the hook has to.
    pub(super) fn due_end(&mut self, due: Due) {
        if !self.has_wish() {
            return;
        }
        let mode = match self.stage() {
            Stage::Running { .. } => Mode::Kill,
            Stage::Pending { .. } => Mode::Stop,
            Stage::Ended { .. } => return,
        };
        let late = "the monitor did not end it in time; the terminate hook has to";
        let why = match due {
            Due::Acknowledge => (self.connected() && !self.step.session.acknowledged).then_some(late),
            Due::Grace => self.connected().then_some(late),
            Due::Back => (!self.connected() && mode == Mode::Kill)
                .then_some("the monitor's link stays lost; the terminate hook has to end it"),
            Due::Retry
            | Due::Find
            | Due::Register
            | Due::Queue
            | Due::Lifetime
            | Due::Idle
            | Due::Share
            | Due::Limit => None,
        };
        // Without a job id there is nothing that a hook could name; the monitor is told when it returns.
        if let Some(why) = why.filter(|_| mode == Mode::Stop || self.step.session.record.job.is_some()) {
            self.note("terminate_fallback", "launcher", why);
            self.run_hook(mode);
        }
    }

    pub(super) fn terminate_answered(&mut self, mode: Mode, outcome: &Result<(), HookError>) {
        match (self.stage().clone(), outcome) {
            (Stage::Pending { .. } | Stage::Running { .. }, Ok(())) => {
                let message = match mode {
                    Mode::Stop => "ended by the terminate hook before it ran",
                    Mode::Kill => "ended by the terminate hook",
                };
                self.end_wished(StoppedBy::Hook, message);
            }
            (Stage::Pending { .. } | Stage::Running { .. }, Err(error)) => {
                if let Some(wish) = &mut self.record().wish {
                    wish.hook_pending = false;
                }
                self.reason(UNENDED, format!("could not be ended: {}", error.message));
                self.note("terminate_failed", "launcher", error.message.clone());
            }
            (Stage::Ended { .. }, Ok(()) | Err(_)) => {}
        }
    }
}
