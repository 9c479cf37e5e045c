//! What the scheduler says of a job. "Cannot tell" never changes a session.

use wharf_protocol::{EndCause, JobState, Phase, StoppedBy, Time};

use super::{Due, Effect, Mode, Work};
use crate::hook::JobReport;
use crate::record::{LinkState, Stage};

impl Work {
    pub(super) fn reported(&mut self, job: &str, asked: Time, report: &JobReport) {
        let known = self.step.session.record.job.as_ref().is_some_and(|known| known.id == job);
        if !known || report.state == JobState::Unknown {
            return;
        }
        match self.stage().clone() {
            Stage::Pending { phase: Phase::Submitted, .. } => {
                self.keep(report);
                self.reported_pending(asked, report);
            }
            Stage::Pending { .. } => {}
            Stage::Running { interrupted } => {
                self.keep(report);
                self.arm_limit();
                self.tell_suspended(report);
                match self.step.session.link {
                    LinkState::Lost { .. } | LinkState::None => {
                        self.reported_lost(asked, report, interrupted.map(|was| was.at));
                    }
                    // Its monitor speaks for it; the scheduler is asked again.
                    LinkState::Connected => {}
                }
            }
            Stage::Ended { .. } => {}
        }
    }

    /// Keeps what was said.
    fn keep(&mut self, report: &JobReport) {
        let now = self.now;
        let waits = matches!(report.state, JobState::Queued | JobState::Held | JobState::Starting);
        // An answer from before its monitor registered tells what it waited for.
        let old = waits && self.connected();
        let Some(job) = &mut self.record().job else { return };
        job.state = report.state;
        job.raw.clone_from(&report.raw);
        job.reason = report.reason.clone().filter(|_| !old);
        job.position = report.position.filter(|_| !old);
        job.starts_at = report.starts_at.filter(|_| !old);
        job.ends_at = report.ends_at.or(job.ends_at);
        if report.node.is_some() {
            job.node.clone_from(&report.node);
        }
        job.restarts = job.restarts.max(report.restarts.unwrap_or(0));
        match report.state {
            JobState::Running | JobState::Suspended => {
                job.running_since.get_or_insert(now);
            }
            // Back in the queue: its monitor has the whole time again.
            JobState::Queued | JobState::Held => {
                job.running_since = None;
                job.ends_at = report.ends_at;
            }
            JobState::Starting
            | JobState::Completing
            | JobState::Ended
            | JobState::Gone
            | JobState::Unknown => {}
        }
    }

    /// A running session whose job is stopped answers nobody: it says why, until the job goes on.
    fn tell_suspended(&mut self, report: &JobReport) {
        if report.state == JobState::Suspended {
            let words = report.reason.clone().unwrap_or_else(|| "its job is suspended".to_owned());
            self.reason("suspended", words);
        } else if self.record().reason.take_if(|reason| reason.code == "suspended").is_some() {
            self.remember_limit();
        }
    }

    /// A "gone" is believed only some time after the submit: schedulers answer from caches.
    fn too_early(&self, asked: Time) -> bool {
        let record = &self.step.session.record;
        let taken = record.job.as_ref().map(|job| job.since).or(record.submitted_at);
        taken.is_some_and(|at| asked.since(at) < record.rules.settle)
    }

    fn reported_pending(&mut self, asked: Time, report: &JobReport) {
        let words = |fallback: &str| match (&report.reason, &report.raw) {
            (Some(reason), _) => reason.clone(),
            (None, Some(raw)) => format!("{fallback} ({raw})"),
            (None, None) => fallback.to_owned(),
        };
        match report.state {
            JobState::Queued => self.reason("queued", words("waiting in the queue")),
            JobState::Held => self.reason("held", words("held until somebody releases it")),
            JobState::Starting => self.reason("starting", words("its job is being started")),
            JobState::Running => {
                self.reason("registering", "its job runs; waiting for its monitor");
                self.arm_register();
            }
            JobState::Suspended => self.reason("suspended", words("its job is suspended")),
            JobState::Completing => self.reason("completing", words("its job is being cleaned up")),
            JobState::Ended => self.job_over(report, EndCause::NeverRegistered),
            JobState::Gone if self.too_early(asked) => {}
            JobState::Gone => self.job_over(report, EndCause::Vanished),
            JobState::Unknown => {}
        }
    }

    fn reported_lost(&mut self, asked: Time, report: &JobReport, interrupted: Option<Time>) {
        match report.state {
            JobState::Queued | JobState::Held | JobState::Starting if interrupted.is_some() => {
                self.reason("requeued", "interrupted; its job waits to run again");
            }
            JobState::Queued | JobState::Held => {
                self.reason("requeued", "its job waits to run again");
            }
            JobState::Ended => self.job_over(report, EndCause::Vanished),
            // After an interruption it is believed at once, unless it was asked before that.
            JobState::Gone if interrupted.map_or(self.too_early(asked), |at| asked < at) => {}
            JobState::Gone => self.job_over(report, EndCause::Vanished),
            JobState::Starting
            | JobState::Running
            | JobState::Suspended
            | JobState::Completing
            | JobState::Unknown => {}
        }
    }

    /// The scheduler says that the job is over, and nobody else speaks for it.
    fn job_over(&mut self, report: &JobReport, otherwise: EndCause) {
        let interrupted = match self.stage() {
            Stage::Running { interrupted } => interrupted.clone(),
            Stage::Pending { .. } | Stage::Ended { .. } => None,
        };
        let raw = report.raw.clone().unwrap_or_else(|| "no such job".to_owned());
        if self.has_wish() {
            self.end_wished(StoppedBy::Hook, format!("its job is over ({raw})")).exit_code = report.exit_code;
            return;
        }
        let cancelled = report.raw.as_deref().is_some_and(|raw| raw.to_ascii_lowercase().contains("cancel"));
        let cause = match (report.cause, &interrupted) {
            (Some(cause), _) => cause,
            (None, Some(interrupted)) if interrupted.out_of_memory => EndCause::OutOfMemory,
            (None, Some(_)) => EndCause::Signaled,
            (None, None) if cancelled => EndCause::Vanished,
            (None, None) => otherwise,
        };
        let message = match cause {
            EndCause::NeverRegistered => {
                format!("its job ended before its monitor registered ({raw}); see the logs for why")
            }
            EndCause::Vanished => format!("its job is gone, and not by Wharf ({raw})"),
            EndCause::Timeout => format!("its job ran out of time ({raw}): start it again with more"),
            EndCause::OutOfMemory => format!("its job ran out of memory ({raw}): start it again with more"),
            EndCause::NodeFailed => format!("the node of its job failed ({raw}): start it again"),
            EndCause::Preempted => format!("a more urgent job took its place ({raw}): start it again"),
            EndCause::Exited
            | EndCause::Signaled
            | EndCause::Terminated
            | EndCause::SubmitFailed
            | EndCause::Idle => format!("the scheduler says: {raw}"),
        };
        let end = self.end(cause, message);
        end.exit_code = report.exit_code.or_else(|| interrupted.as_ref().and_then(|was| was.exit_code));
        end.signal = interrupted.and_then(|was| was.signal);
    }

    /// Wakes when its monitor is overdue; what could not be ended is tried again each time that has passed once more.
    pub(super) fn arm_register(&mut self) {
        let record = &self.step.session.record;
        let Some(since) = record.job.as_ref().and_then(|job| job.running_since) else { return };
        let register = record.rules.register;
        let mut at = since.after(register);
        if self.has_wish() && at <= self.now && !register.is_zero() {
            let passed = self.now.since(since).as_nanos() / register.as_nanos();
            let times = u32::try_from(passed).unwrap_or(u32::MAX).saturating_add(1);
            at = since.after(register.saturating_mul(times));
        }
        self.effect(Effect::Wake { at, due: Due::Register });
    }

    pub(super) fn due_register(&mut self) {
        let Stage::Pending { phase: Phase::Submitted, .. } = self.stage() else { return };
        let record = &self.step.session.record;
        let Some(job) = record.job.clone() else { return };
        let overdue = job.running_since.is_some_and(|since| self.now >= since.after(record.rules.register));
        if !overdue || self.connected() {
            return;
        }
        if self.has_wish() {
            // What could not be ended in the queue runs by now: tried again.
            self.run_hook(Mode::Stop);
            return;
        }
        self.effect(Effect::EndStray { job: job.id, handle: job.handle });
        self.end(
            EndCause::NeverRegistered,
            "its job runs, but its monitor did not register in time: can its node reach the launcher?",
        );
    }
}
