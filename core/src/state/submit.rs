//! From the record to the job: prepare, submit, and finding out what became of a submit whose answer was lost.
//!
//! A submit is made once per attempt. A new attempt begins only after the hook vouched that nothing was submitted.

use std::time::Duration;

use wharf_protocol::{EndCause, JobState, Phase, StoppedBy, Time};

use super::monitor::is_same_kind;
use super::{Due, Effect, Mode, Work};
use crate::hook::{Found, HookError, HookErrorKind, Submitted};
use crate::record::{JobRecord, Stage};

/// What a hook's failure says about the submit.
enum Verdict {
    /// Surely nothing was submitted, and trying again is no use.
    Refused,
    /// Surely nothing was submitted; later it may work.
    Later,
    /// Nobody can tell.
    Doubt,
}

fn verdict(error: &HookError) -> Verdict {
    match error.kind {
        HookErrorKind::Invalid
        | HookErrorKind::Denied
        | HookErrorKind::NotFound
        | HookErrorKind::Unsupported
        | HookErrorKind::Misconfigured => Verdict::Refused,
        HookErrorKind::Unavailable | HookErrorKind::RateLimited => Verdict::Later,
        HookErrorKind::Timeout
        | HookErrorKind::Memory
        | HookErrorKind::CommandFailed
        | HookErrorKind::Internal => Verdict::Doubt,
    }
}

/// Between two looks for a job: 1 s, doubling to 30 s.
fn look_again(waited: Duration) -> Duration {
    (waited / 2).clamp(Duration::from_secs(1), Duration::from_secs(30))
}

impl Work {
    pub(super) fn resume_pending(&mut self, phase: Phase, retry_at: Option<Time>) {
        match phase {
            Phase::Recorded => {
                if self.has_wish() {
                    self.end_wished(StoppedBy::NotStarted, "ended before anything was submitted");
                } else if let Some(at) = retry_at.filter(|at| *at > self.now) {
                    self.effect(Effect::Wake { at, due: Due::Retry });
                } else {
                    self.begin();
                }
            }
            Phase::Preparing => {
                if self.has_wish() {
                    self.end_wished(StoppedBy::NotStarted, "ended before anything was submitted");
                } else {
                    self.effect(Effect::Prepare);
                }
            }
            // The launcher died with the submit hook under way: its leftovers are ended, its answer is lost.
            Phase::Submitting => self.doubt("the launcher stopped while the submit hook ran"),
            Phase::Submitted => {
                self.arm_register();
                self.effect(Effect::AskStatus);
                self.retry_wish();
            }
            Phase::Unknown => {
                self.arm_unknown();
                self.retry_wish();
            }
        }
    }

    fn retry_wish(&mut self) {
        if self.step.session.record.wish.as_ref().is_some_and(|wish| wish.hook_pending) {
            self.effect(Effect::Terminate { mode: Mode::Stop });
        }
    }

    /// Begins with what comes first.
    fn begin(&mut self) {
        if self.step.session.record.rules.prepare {
            self.enter(Phase::Preparing);
            self.reason("preparing", "being prepared");
            self.effect(Effect::Prepare);
        } else {
            self.submit();
        }
    }

    fn submit(&mut self) {
        self.enter(Phase::Submitting);
        let record = self.record();
        record.attempt += 1;
        record.job = None;
        let attempt = record.attempt;
        self.reason("submitting", "being handed to the scheduler");
        self.effect(Effect::Submit { attempt });
    }

    /// Nothing was submitted; tries again later, with more patience each time.
    fn later(&mut self, error: &HookError) {
        if self.has_wish() {
            self.end_wished(StoppedBy::NotStarted, "ended before anything was submitted");
            return;
        }
        let record = &self.step.session.record;
        let give_up = record.created_at.after(record.rules.queue);
        if self.now >= give_up {
            self.end(EndCause::SubmitFailed, format!("given up: {}", error.message));
            return;
        }
        self.enter(Phase::Recorded);
        let now = self.now;
        if let Stage::Pending { retry_at, retries, .. } = &mut self.record().stage {
            let backoff = Duration::from_secs(2 << (*retries).min(7));
            let at = now.after(error.retry_after.unwrap_or(backoff));
            *retries += 1;
            *retry_at = Some(at);
            self.effect(Effect::Wake { at: at.min(give_up), due: Due::Retry });
        }
        self.reason("unavailable", error.message.clone());
        self.note("retry", "launcher", format!("the scheduler is not available: {}", error.message));
    }

    /// The submit's outcome is not known.
    fn doubt(&mut self, words: &str) {
        self.enter(Phase::Unknown);
        if let Stage::Pending { doubt, .. } = &mut self.record().stage {
            *doubt = Some(words.to_owned());
        }
        let finding = self.step.session.record.rules.find;
        let next = if finding { "looking it up" } else { "waiting for its monitor" };
        self.reason("unknown", format!("whether the scheduler took it is not known; {next}"));
        self.note("submit_unknown", "launcher", words);
        self.arm_unknown();
        if let Some(wish) = &mut self.record().wish {
            wish.hook_pending = true;
            self.effect(Effect::Terminate { mode: Mode::Stop });
        }
    }

    fn arm_unknown(&mut self) {
        let Stage::Pending { since, .. } = *self.stage() else { return };
        let rules = &self.step.session.record.rules;
        let (find, give_up) = (rules.find, since.after(rules.queue));
        if find {
            self.effect(Effect::Find);
        }
        self.effect(Effect::Wake { at: give_up, due: Due::Queue });
    }

    pub(super) fn progress(&mut self, text: &str) {
        let preparing = matches!(self.stage(), Stage::Pending { phase: Phase::Preparing, .. });
        if preparing && !self.has_wish() {
            self.reason("preparing", text);
        }
    }

    pub(super) fn prepared(&mut self, outcome: &Result<(), HookError>) {
        match self.stage() {
            Stage::Pending { phase: Phase::Preparing, .. } => match outcome {
                Ok(()) => self.submit(),
                Err(error) => match verdict(error) {
                    Verdict::Later => self.later(error),
                    // A prepare submits nothing, whatever became of it.
                    Verdict::Refused | Verdict::Doubt => {
                        self.end(EndCause::SubmitFailed, format!("could not be prepared: {}", error.message));
                    }
                },
            },
            Stage::Pending { .. } | Stage::Running { .. } | Stage::Ended { .. } => {}
        }
    }

    pub(super) fn submit_answered(&mut self, attempt: u32, outcome: &Result<Submitted, HookError>) {
        if attempt != self.step.session.record.attempt {
            if let Ok(submitted) = outcome {
                self.stray(submitted.job_id.clone(), submitted.handle.clone());
            }
            return;
        }
        match (self.stage().clone(), outcome) {
            (Stage::Pending { phase: Phase::Submitting | Phase::Unknown, .. }, Ok(submitted)) => {
                self.take(submitted);
            }
            (Stage::Pending { phase: Phase::Submitting, .. }, Err(error)) => self.submit_failed(error),
            // Found meanwhile, or an answer that cannot be: what is known already stands.
            (Stage::Pending { .. } | Stage::Running { .. }, Ok(submitted)) => self.complete(submitted),
            (Stage::Pending { .. } | Stage::Running { .. }, Err(error)) => {
                self.note("contradiction", "launcher", format!("the submit hook failed: {}", error.message));
            }
            (Stage::Ended { .. }, Ok(submitted)) => {
                self.stray(submitted.job_id.clone(), submitted.handle.clone());
            }
            (Stage::Ended { .. }, Err(_)) => {}
        }
    }

    fn submit_failed(&mut self, error: &HookError) {
        match verdict(error) {
            Verdict::Refused if self.has_wish() => {
                self.end_wished(StoppedBy::NotStarted, "the scheduler did not take it");
            }
            Verdict::Refused => {
                self.end(EndCause::SubmitFailed, error.message.clone());
            }
            Verdict::Later => self.later(error),
            Verdict::Doubt if error.plain_exit && !self.step.session.record.rules.find => {
                self.end(EndCause::SubmitFailed, error.message.clone());
            }
            Verdict::Doubt => self.doubt(&error.message),
        }
    }

    /// The scheduler has it.
    fn take(&mut self, submitted: &Submitted) {
        self.enter(Phase::Submitted);
        let now = self.now;
        let record = self.record();
        record.submitted_at = Some(now);
        record.job = Some(new_job(submitted, now));
        let message = submitted.message.clone().unwrap_or_else(|| "waiting for the scheduler".to_owned());
        self.reason("queued", message);
        self.note("submitted", "launcher", format!("job {}", submitted.job_id));
        self.effect(Effect::AskStatusLater);
        self.effect(Effect::PushSnapshot);
        if let Some(wish) = &mut self.record().wish {
            wish.hook_pending = true;
            self.effect(Effect::Terminate { mode: Mode::Stop });
        }
    }

    /// A late answer fills what is missing; another job than the known one serves nobody.
    fn complete(&mut self, submitted: &Submitted) {
        let now = self.now;
        let record = self.record();
        record.submitted_at.get_or_insert(now);
        match &mut record.job {
            None => {
                record.job = Some(new_job(submitted, now));
                self.note("submitted", "launcher", format!("job {}", submitted.job_id));
                self.effect(Effect::PushSnapshot);
            }
            Some(job) if job.id == submitted.job_id => {
                if job.handle.is_none() {
                    job.handle.clone_from(&submitted.handle);
                }
                if job.node.is_none() {
                    job.node.clone_from(&submitted.node);
                }
            }
            // The monitor had only its own process to tell of: the scheduler's name for the job is better.
            Some(job) if !is_same_kind(&job.id, &submitted.job_id) => {
                *job = new_job(submitted, now);
                self.effect(Effect::PushSnapshot);
            }
            Some(_) => self.stray(submitted.job_id.clone(), submitted.handle.clone()),
        }
    }

    pub(super) fn stray(&mut self, job: String, handle: Option<serde_json::Value>) {
        self.note("stray", "launcher", format!("job {job} serves nobody and is ended"));
        let record = self.record();
        // Its monitor may register before the hook has ended it, and must not take the other job's place.
        if !record.is_ended() && !record.strays.contains(&job) {
            record.strays.push(job.clone());
        }
        self.effect(Effect::EndStray { job, handle });
    }

    pub(super) fn find_answered(&mut self, asked: Time, outcome: &Result<Found, HookError>) {
        match (self.stage().clone(), outcome) {
            (Stage::Pending { phase: Phase::Unknown, .. }, Ok(Found::Jobs(jobs))) => {
                let strays = self.step.session.record.strays.clone();
                let kept = jobs.iter().find(|job| !strays.contains(job));
                if let Some(job_id) = kept {
                    self.take(&Submitted { job_id: job_id.clone(), node: None, message: None, handle: None });
                } else {
                    self.wake(look_again(Duration::ZERO), Due::Find);
                }
                for other in jobs.iter().filter(|job| kept != Some(job)) {
                    self.stray(other.clone(), None);
                }
            }
            (Stage::Pending { phase: Phase::Unknown, since, doubt, .. }, Ok(Found::No)) => {
                // By when it looked: an answer may have been long on its way.
                let waited = asked.since(since);
                if waited < self.step.session.record.rules.settle {
                    let left = self.step.session.record.rules.settle.saturating_sub(waited);
                    self.wake(look_again(waited).min(left), Due::Find);
                } else if self.has_wish() {
                    self.end_wished(StoppedBy::NotStarted, "the scheduler has no such job");
                } else {
                    let words = doubt.unwrap_or_else(|| "the scheduler has no such job".to_owned());
                    self.end(EndCause::SubmitFailed, words);
                }
            }
            (Stage::Pending { phase: Phase::Unknown, since, .. }, Err(error)) => {
                self.reason(
                    "unknown",
                    format!("whether the scheduler took it cannot be asked: {}", error.message),
                );
                self.wake(look_again(self.now.since(since)), Due::Find);
            }
            (Stage::Pending { .. } | Stage::Running { .. }, Ok(Found::Jobs(jobs))) => {
                let kept = self.step.session.record.job.as_ref().map(|job| job.id.clone());
                for job in jobs.iter().filter(|job| kept.as_ref().is_some_and(|kept| kept != *job)) {
                    self.stray(job.clone(), None);
                }
            }
            (Stage::Pending { .. } | Stage::Running { .. }, Ok(Found::No) | Err(_)) => {}
            (Stage::Ended { .. }, Ok(Found::Jobs(jobs))) => {
                for job in jobs {
                    self.stray(job.clone(), None);
                }
            }
            (Stage::Ended { .. }, Ok(Found::No) | Err(_)) => {}
        }
    }

    pub(super) fn due_retry(&mut self) {
        if let Stage::Pending { phase: Phase::Recorded, retry_at, .. } = *self.stage() {
            self.resume_pending(Phase::Recorded, retry_at);
        }
    }

    pub(super) fn due_find(&mut self) {
        if matches!(self.stage(), Stage::Pending { phase: Phase::Unknown, .. }) {
            self.effect(Effect::Find);
        }
    }

    pub(super) fn due_queue(&mut self) {
        if let Stage::Pending { phase: Phase::Unknown, since, doubt, .. } = self.stage().clone() {
            if self.now < since.after(self.step.session.record.rules.queue) {
                return;
            }
            if self.has_wish() {
                self.end_wished(StoppedBy::NotStarted, "no job of it ever appeared");
            } else {
                self.end(
                    EndCause::SubmitFailed,
                    doubt.unwrap_or_else(|| "no job of it ever appeared".to_owned()),
                );
            }
        }
    }
}

pub(super) fn new_job(submitted: &Submitted, now: Time) -> JobRecord {
    JobRecord {
        id: submitted.job_id.clone(),
        handle: submitted.handle.clone(),
        node: submitted.node.clone(),
        state: JobState::Unknown,
        raw: None,
        reason: None,
        position: None,
        starts_at: None,
        ends_at: None,
        warned: None,
        running_since: None,
        restarts: 0,
        since: now,
    }
}
