//! The rules: one pure function from (session, event, now) to (session, effects).
//!
//! ```text
//!          Recorded ──▶ Preparing ──▶ Submitting ──▶ Submitted ──▶ Running ──▶ Ended
//!             ▲  └───────────────────────▲ │  └──▶ Unknown ──▲          (from any state)
//!             └── unavailable ─────────────┘        │ find ──┘
//! ```
//!
//! No clock, no I/O, no waiting, and no `_` arm over states: a new event does not compile until every state
//! answers it. The caller writes the new record down *before* it carries out the effects, and each effect but
//! `Submit` may be carried out twice. `submit`, `job`, `monitor`, `terminate` and `edit` hold a family of events each.
//!
//! Must not: decide who may ask (that is [`crate::actor`]) or whether a monitor is genuine (`crate::fence`).

#![deny(clippy::wildcard_enum_match_arm)]

mod edit;
mod job;
#[cfg(test)]
mod lifecycle;
pub(crate) mod limit;
pub(crate) mod monitor;
mod submit;
mod terminate;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::Value;
use wharf_protocol::monitor::{ExitReport, Incarnation, SnapshotShare};
use wharf_protocol::session::Params;
use wharf_protocol::{End, EndCause, Notice, Phase, Reason, ShareId, StoppedBy, Time};

use crate::hook::{Found, Hook, HookError, JobReport, Submitted};
use crate::record::{LinkState, Record, Stage};

/// A session as the rules see it: the durable record, and what dies with the launcher.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// Durable.
    pub record: Record,
    /// Not durable.
    pub link: LinkState,
    /// The monitor has understood the order to end.
    pub acknowledged: bool,
    /// When this launcher started: a link that is lost since then is given more time.
    pub boot: Time,
    /// A monitor of it was linked in this launcher's life.
    pub linked: bool,
}

/// How hard a terminate hook is to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// As the scheduler ends jobs.
    Stop,
    /// At once.
    Kill,
}

impl Mode {
    /// The word in requests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Kill => "kill",
        }
    }
}

/// A moment that was asked for with [`Effect::Wake`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Due {
    /// Submit again.
    Retry,
    /// Look the job up again.
    Find,
    /// The monitor should have registered.
    Register,
    /// The monitor should have acknowledged the order to end.
    Acknowledge,
    /// The monitor should have ended the session.
    Grace,
    /// The link of a session that is to end should be back.
    Back,
    /// Kept trying for long enough.
    Queue,
    /// Ran for long enough.
    Lifetime,
    /// Nobody was in it for long enough; said only while nobody is.
    Idle,
    /// A share is over.
    Share,
    /// Its job's time limit is near.
    Limit,
}

/// A change that a user asked for and that has no other consequence than being kept and told.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// All parameters as they are to be, made from those of that revision; nothing if they have changed since.
    Params {
        /// The revision.
        was: u64,
        /// The parameters.
        params: Params,
    },
    /// Adds a share, in place of one of the same grantee.
    Share(SnapshotShare),
    /// Withdraws one.
    Unshare(ShareId),
    /// The scheduler gave its job more time, until then.
    Extend(Time),
    /// Writes the record again as it is (a refused purge).
    Refresh,
}

/// What happens to a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It was just recorded, or the launcher has just started.
    Resume,
    /// The prepare hook says how far it has come.
    Progress(String),
    /// The prepare hook answered.
    Prepared(Result<(), HookError>),
    /// The submit hook of that attempt answered.
    SubmitAnswered {
        /// Which attempt.
        attempt: u32,
        /// Its answer.
        outcome: Result<Submitted, HookError>,
    },
    /// The find hook answered.
    FindAnswered {
        /// When it was asked: what it says is no newer.
        asked: Time,
        /// Its answer.
        outcome: Result<Found, HookError>,
    },
    /// The scheduler was heard about that job.
    Reported {
        /// Which job.
        job: String,
        /// When it was asked: what it says is no newer.
        asked: Time,
        /// What it said.
        report: JobReport,
    },
    /// A genuine monitor that may serve has registered.
    Registered {
        /// Its life.
        incarnation: Incarnation,
        /// The job id that it sees.
        job: Option<String>,
    },
    /// The monitor has understood the order to end.
    Acknowledged,
    /// The link is gone.
    LinkLost,
    /// The command is over.
    Exited(ExitReport),
    /// Somebody wants the end.
    Terminate {
        /// Who.
        by: String,
        /// From the clean attempts to the kill; the template's own when absent.
        grace: Option<Duration>,
    },
    /// The terminate hook answered.
    TerminateAnswered {
        /// How hard it had been told to try.
        mode: Mode,
        /// Its verdict.
        outcome: Result<(), HookError>,
    },
    /// A moment has come.
    Due(Due),
    /// A user's change.
    Edit {
        /// Who.
        by: String,
        /// Which.
        edit: Edit,
    },
}

/// What is to be done once the record is durable.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Run the prepare hook.
    Prepare,
    /// Stop it.
    CancelPrepare,
    /// Run the submit hook; never twice for one attempt.
    Submit {
        /// Which attempt.
        attempt: u32,
    },
    /// Run the find hook.
    Find,
    /// Run the terminate hook for the session's job.
    Terminate {
        /// How hard.
        mode: Mode,
    },
    /// Run the terminate hook for a job that serves nobody; its verdict changes nothing.
    EndStray {
        /// Which job.
        job: String,
        /// The template's own data on it.
        handle: Option<Value>,
    },
    /// Tell the monitor to end the session.
    OrderEnd {
        /// From the clean attempts to the kill.
        grace: Duration,
    },
    /// Hand the monitor a new snapshot.
    PushSnapshot,
    /// Tell the monitor that its report is kept, and hang up.
    ReleaseMonitor,
    /// Hang up.
    CloseLink,
    /// Send [`Event::Due`] at that time; a later one of the same kind takes its place.
    Wake {
        /// When.
        at: Time,
        /// What for.
        due: Due,
    },
    /// Ask the scheduler soon.
    AskStatus,
    /// Ask it when it has had a moment to look at what it was given.
    AskStatusLater,
    /// Run a hook that cannot change anything.
    Tell(Hook),
    /// See again who may stay, after shares changed.
    ReviewStreams,
    /// Tell those who are in the session.
    Notify(Notice),
}

/// One line of the session's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// A stable word.
    pub event: &'static str,
    /// Who.
    pub actor: String,
    /// A sentence.
    pub detail: String,
}

/// What came of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The session as it is now.
    pub session: Session,
    /// What to do about it, in order.
    pub effects: Vec<Effect>,
    /// What to tell about it.
    pub notes: Vec<Note>,
    /// Write it down even if nothing changed.
    pub touch: bool,
}

/// How long a link may stay lost before a session that is to end is ended by its hook.
pub const BACK: Duration = Duration::from_secs(5);
/// The same, and how long a purge cannot tell, after the launcher's own start.
pub const BACK_AFTER_BOOT: Duration = Duration::from_secs(35);
/// How long a monitor may take to acknowledge an order, and to be done after the grace.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// The reason of a session that could not be ended as somebody wanted.
const UNENDED: &str = "terminate_failed";

/// Decides. The session given is not changed.
pub fn step(session: &Session, event: &Event, now: Time) -> Step {
    let mut work = Work {
        step: Step { session: session.clone(), effects: Vec::new(), notes: Vec::new(), touch: false },
        now,
    };
    match event {
        Event::Resume => work.resume(),
        Event::Progress(text) => work.progress(text),
        Event::Prepared(outcome) => work.prepared(outcome),
        Event::SubmitAnswered { attempt, outcome } => work.submit_answered(*attempt, outcome),
        Event::FindAnswered { asked, outcome } => work.find_answered(*asked, outcome),
        Event::Reported { job, asked, report } => work.reported(job, *asked, report),
        Event::Registered { incarnation, job } => work.registered(*incarnation, job.as_deref()),
        Event::Acknowledged => work.step.session.acknowledged = true,
        Event::LinkLost => work.link_lost(),
        Event::Exited(report) => work.exited(report),
        Event::Terminate { by, grace } => work.terminate(by, *grace, EndCause::Terminated),
        Event::TerminateAnswered { mode, outcome } => work.terminate_answered(*mode, outcome),
        Event::Due(due) => work.due(*due),
        Event::Edit { by, edit } => work.edit(by, edit),
    }
    work.step
}

/// A step under construction.
struct Work {
    step: Step,
    now: Time,
}

impl Work {
    fn record(&mut self) -> &mut Record {
        &mut self.step.session.record
    }

    fn stage(&self) -> &Stage {
        &self.step.session.record.stage
    }

    fn has_wish(&self) -> bool {
        self.step.session.record.wish.is_some()
    }

    fn connected(&self) -> bool {
        self.step.session.link == LinkState::Connected
    }

    fn effect(&mut self, effect: Effect) {
        self.step.effects.push(effect);
    }

    fn wake(&mut self, after: Duration, due: Due) {
        let at = self.now.after(after);
        self.effect(Effect::Wake { at, due });
    }

    fn note(&mut self, event: &'static str, actor: &str, detail: impl Into<String>) {
        self.step.notes.push(Note { event, actor: actor.to_owned(), detail: detail.into() });
    }

    /// Says what it waits for. That it could not be ended stays said, until it is over: somebody has to ask again.
    fn reason(&mut self, code: &str, message: impl Into<String>) {
        let is_said = self.step.session.record.reason.as_ref().is_some_and(|said| said.code == UNENDED);
        if is_said && code != UNENDED {
            return;
        }
        self.record().reason = Some(Reason { code: code.to_owned(), message: message.into() });
    }

    /// Enters a phase of a pending session.
    fn enter(&mut self, phase: Phase) {
        let (retries, since) = match self.stage() {
            Stage::Pending { retries, .. } => (*retries, self.now),
            Stage::Running { .. } | Stage::Ended { .. } => (0, self.now),
        };
        self.record().stage = Stage::Pending { phase, since, retry_at: None, retries, doubt: None };
    }

    /// Ends the session, once and for all.
    fn end(&mut self, cause: EndCause, message: impl Into<String>) -> &mut End {
        let at = self.now;
        let end = End { cause, exit_code: None, signal: None, message: message.into(), stopped_by: None };
        self.note("ended", "launcher", format!("{}: {}", cause.as_str(), end.message));
        if self.connected() {
            // Whoever is still there learns of it when the session is over for it too.
            self.effect(Effect::CloseLink);
        }
        self.effect(Effect::Tell(Hook::OnEnded));
        self.step.session.link = LinkState::None;
        let record = self.record();
        record.reason = None;
        if let Some(wish) = &mut record.wish {
            wish.hook_pending = false;
        }
        record.stage = Stage::Ended { end, at };
        match &mut record.stage {
            Stage::Ended { end, .. } => end,
            Stage::Pending { .. } | Stage::Running { .. } => unreachable!("just ended"),
        }
    }

    /// Ends a session that was wished to end.
    fn end_wished(&mut self, by: StoppedBy, message: impl Into<String>) -> &mut End {
        let cause = self.step.session.record.wish.as_ref().map_or(EndCause::Terminated, |wish| wish.cause);
        let end = self.end(cause, message);
        end.stopped_by = Some(by);
        end
    }

    fn resume(&mut self) {
        self.arm_shares();
        match self.stage().clone() {
            Stage::Pending { phase, retry_at, .. } => self.resume_pending(phase, retry_at),
            Stage::Running { .. } => {
                self.step.session.link = LinkState::Lost { since: self.now };
                self.arm_lifetime();
                self.arm_limit();
                if self.has_wish() {
                    self.wake(self.back(), Due::Back);
                }
            }
            Stage::Ended { .. } => {}
        }
    }

    /// How long a lost link is waited for: longer where the launcher itself was away.
    fn back(&self) -> Duration {
        if self.step.session.linked {
            return BACK;
        }
        BACK.max(BACK_AFTER_BOOT.saturating_sub(self.now.since(self.step.session.boot)))
    }

    fn arm_lifetime(&mut self) {
        if let Some(idle) = self.step.session.record.rules.idle {
            self.wake(idle, Due::Idle);
        }
        let record = &self.step.session.record;
        if let (Some(started), Some(most)) = (record.started_at, record.rules.max_lifetime) {
            let at = started.after(most);
            self.effect(Effect::Wake { at, due: Due::Lifetime });
        }
    }

    fn due(&mut self, due: Due) {
        match due {
            Due::Retry => self.due_retry(),
            Due::Find => self.due_find(),
            Due::Register => self.due_register(),
            Due::Queue => self.due_queue(),
            Due::Acknowledge | Due::Grace | Due::Back => self.due_end(due),
            Due::Lifetime => {
                if matches!(self.stage(), Stage::Running { .. }) && !self.has_wish() {
                    self.terminate("launcher", None, EndCause::Timeout);
                }
            }
            Due::Idle => {
                if matches!(self.stage(), Stage::Running { .. }) && !self.has_wish() && self.connected() {
                    self.terminate("launcher", None, EndCause::Idle);
                }
            }
            Due::Share => {
                self.effect(Effect::ReviewStreams);
                self.arm_shares();
            }
            Due::Limit => self.due_limit(),
        }
    }
}
