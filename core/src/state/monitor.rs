//! What a monitor does: it registers, its link comes and goes, its command ends.

use wharf_protocol::monitor::{ExitReport, Incarnation};
use wharf_protocol::process::ProcessId;
use wharf_protocol::{EndCause, Phase, StoppedBy};

use super::submit::new_job;
use super::{Due, Effect, Work};
use crate::hook::{Hook, Submitted};
use crate::record::{Interrupted, LinkState, Stage};

impl Work {
    pub(super) fn registered(&mut self, incarnation: Incarnation, job: Option<&str>) {
        let stage = self.stage().clone();
        if matches!(stage, Stage::Ended { .. }) {
            // A fence refuses those; should one slip through, it is hung up on and refused when it returns.
            self.effect(Effect::CloseLink);
            return;
        }
        let newer = self.step.session.record.incarnation.is_none_or(|known| incarnation > known);
        self.record().incarnation = Some(incarnation);
        self.step.session.link = LinkState::Connected;
        self.step.session.acknowledged = false;
        self.step.session.linked = true;
        self.adopt_job(job);
        if let Some(job) = &mut self.record().job {
            // Whatever it waited for, it waits no more.
            (job.reason, job.position, job.starts_at) = (None, None, None);
        }
        match stage {
            Stage::Pending { phase, .. } => {
                if self.has_wish() {
                    // It never shows running: it is told to end.
                    self.note("registered", "monitor", "its monitor registered and is told to end");
                    self.order();
                    return;
                }
                let now = self.now;
                if phase == Phase::Preparing {
                    self.effect(Effect::CancelPrepare);
                }
                let record = self.record();
                record.started_at.get_or_insert(now);
                record.reason = None;
                record.stage = Stage::Running { interrupted: None };
                self.note("running", "monitor", "its monitor registered");
                self.effect(Effect::PushSnapshot);
                self.effect(Effect::Tell(Hook::OnRunning));
                self.arm_lifetime();
                self.ask_for_limit();
            }
            Stage::Running { interrupted } => {
                let record = self.record();
                record.reason = None;
                if newer {
                    record.stage = Stage::Running { interrupted: None };
                    self.ask_for_limit();
                    if interrupted.is_some() {
                        self.note("running", "monitor", "runs again");
                    }
                }
                self.remember_limit();
                if self.has_wish() {
                    self.order();
                }
            }
            Stage::Ended { .. } => {}
        }
    }

    /// The job that the registered monitor sees is the session's; another one of the same kind serves nobody.
    ///
    /// A monitor that only knows its own process says nothing of a scheduler's job, which is known by another name.
    fn adopt_job(&mut self, job: Option<&str>) {
        let Some(id) = job else { return };
        let submitted = Submitted { job_id: id.to_owned(), node: None, message: None, handle: None };
        let now = self.now;
        let known = self.record().job.clone();
        match known {
            Some(known) if known.id == id || !is_same_kind(&known.id, id) => {}
            Some(known) => {
                self.record().job = Some(new_job(&submitted, now));
                self.stray(known.id, known.handle);
            }
            None => {
                let record = self.record();
                record.job = Some(new_job(&submitted, now));
                record.submitted_at.get_or_insert(now);
            }
        }
    }

    pub(super) fn link_lost(&mut self) {
        match self.stage() {
            Stage::Pending { .. } | Stage::Ended { .. } => self.step.session.link = LinkState::None,
            Stage::Running { .. } => {
                self.step.session.link = LinkState::Lost { since: self.now };
                self.effect(Effect::AskStatus);
            }
        }
        if self.has_wish() && !matches!(self.stage(), Stage::Ended { .. }) {
            self.wake(self.back(), Due::Back);
        }
    }

    pub(super) fn exited(&mut self, report: &ExitReport) {
        match self.stage() {
            Stage::Pending { .. } | Stage::Running { .. } => {}
            Stage::Ended { .. } => {
                self.effect(Effect::ReleaseMonitor);
                return;
            }
        }
        // The monitor is let go only after its report is durable, which it is when effects run.
        self.effect(Effect::ReleaseMonitor);
        if self.has_wish() {
            let by = report.stopped_by.or_else(|| report.interrupted.then_some(StoppedBy::Hook));
            let message = report.message.clone().unwrap_or_else(|| "ended as asked".to_owned());
            self.finish(report, None, message).stopped_by = by;
            return;
        }
        if report.interrupted && self.step.session.record.rules.requeue {
            let at = self.now;
            self.record().stage = Stage::Running {
                interrupted: Some(Interrupted {
                    at,
                    signal: report.signal,
                    exit_code: report.exit_code,
                    out_of_memory: report.out_of_memory,
                }),
            };
            self.record().started_at.get_or_insert(at);
            self.step.session.link = LinkState::Lost { since: at };
            self.reason(
                "interrupted",
                "ended by somebody else's signal; asking the scheduler whether it is over",
            );
            self.note("interrupted", "monitor", describe(report));
            self.effect(Effect::AskStatus);
            return;
        }
        let cause = if report.orphaned {
            EndCause::Timeout
        } else if report.out_of_memory {
            EndCause::OutOfMemory
        } else if report.signal.is_some() {
            EndCause::Signaled
        } else {
            EndCause::Exited
        };
        let message = report.message.clone().unwrap_or_else(|| describe(report));
        self.finish(report, Some(cause), message);
    }

    fn finish(
        &mut self,
        report: &ExitReport,
        cause: Option<EndCause>,
        message: String,
    ) -> &mut wharf_protocol::End {
        self.step.session.link = LinkState::None;
        let cause = cause
            .or_else(|| self.step.session.record.wish.as_ref().map(|wish| wish.cause))
            .unwrap_or(EndCause::Terminated);
        let end = self.end(cause, message);
        end.exit_code = report.exit_code;
        end.signal = report.signal;
        end
    }
}

fn describe(report: &ExitReport) -> String {
    match (report.orphaned, report.exit_code, report.signal) {
        (true, _, _) => "ended because no launcher answered for too long".to_owned(),
        (false, _, Some(signal)) => format!("the command was ended by signal {signal}"),
        (false, Some(code), None) => format!("the command exited with {code}"),
        (false, None, None) => "the command ended".to_owned(),
    }
}

/// Whether two job ids can name two jobs of one scheduler: a process's id and any other kind of id cannot.
pub(crate) fn is_same_kind(one: &str, other: &str) -> bool {
    one.parse::<ProcessId>().is_ok() == other.parse::<ProcessId>().is_ok()
}
