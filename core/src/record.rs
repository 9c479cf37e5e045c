//! The durable record of one session, and what only lives in memory beside it.
//!
//! Two axes, never one enum: [`Stage`] and [`JobRecord`] say what we asked of the scheduler and heard from
//! it; [`LinkState`] says what the monitor's link does. The link is not durable: after a restart every running
//! session is lost until its monitor is back.
//!
//! Changed only by [`crate::state::step`]; read next there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wharf_protocol::monitor::{Incarnation, Limits, SnapshotShare};
use wharf_protocol::session::{Params, Tags};
use wharf_protocol::{End, EndCause, JobState, Phase, Reason, SessionId, ShareId, State, Time};

use crate::state::limit::Warned;

/// All that is durable of one session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Random, never reused.
    pub id: SessionId,
    /// Raised by one with each durable change.
    pub rev: u64,
    /// A label.
    pub name: String,
    /// Who started it.
    pub owner: String,
    /// The template's name.
    pub template: String,
    /// The template's backend when it was started.
    pub backend: String,
    /// The scheduler's name for people.
    pub scheduler: String,
    /// The instance of the backend that was chosen for it, of those that the template names.
    #[serde(default)]
    pub placed: Option<String>,
    /// What runs in it.
    pub command: Vec<String>,
    /// In a terminal.
    pub tty: bool,
    /// Declared and custom parameters, secret ones included.
    pub params: Params,
    /// Names of the secret ones among them.
    pub secrets: BTreeSet<String>,
    /// Raised by each change of the parameters.
    pub params_rev: u64,
    /// The user's tags.
    pub tags: Tags,
    /// The user's variables for the command; never shown.
    pub env: BTreeMap<String, String>,
    /// Who else may enter.
    pub shares: Vec<SnapshotShare>,
    /// Shares that were withdrawn: should the session be purged and come back, they do not.
    pub withdrawn: Vec<ShareId>,
    /// When it was recorded.
    pub created_at: Time,
    /// When the scheduler took it.
    pub submitted_at: Option<Time>,
    /// When its monitor first registered.
    pub started_at: Option<Time>,
    /// Where in its life it is.
    pub stage: Stage,
    /// The wish to end it; once there, there for ever.
    pub wish: Option<Wish>,
    /// The submit attempt under way or last made, from 1; 0 before the first.
    pub attempt: u32,
    /// The job of that attempt.
    pub job: Option<JobRecord>,
    /// Jobs that carry the session's tag and serve nobody: they are being ended, and their monitors are told to end.
    #[serde(default)]
    pub strays: Vec<String>,
    /// The newest life of its monitor.
    pub incarnation: Option<Incarnation>,
    /// Why it is as it is.
    pub reason: Option<Reason>,
    /// The template's rules as they were at the start.
    pub rules: Rules,
}

/// Where in its life a session is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Stage {
    /// No monitor has registered.
    Pending {
        /// How far it has come.
        phase: Phase,
        /// When this phase began.
        since: Time,
        /// Earliest time of the next submit, after a hook vouched that nothing was submitted.
        retry_at: Option<Time>,
        /// How often that happened in a row.
        retries: u32,
        /// The hook's words of a submit whose outcome is unknown.
        doubt: Option<String>,
    },
    /// Its monitor has registered.
    Running {
        /// The command was ended by somebody else's signal: the scheduler decides whether it is over.
        interrupted: Option<Interrupted>,
    },
    /// Over.
    Ended {
        /// How.
        end: End,
        /// When.
        at: Time,
    },
}

/// A command ended by SIGTERM or SIGKILL without the launcher's order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interrupted {
    /// When it was reported.
    pub at: Time,
    /// The signal.
    pub signal: Option<i32>,
    /// The exit code, when the command made one of the signal.
    pub exit_code: Option<i32>,
    /// It was killed for memory, by the monitor's own evidence.
    pub out_of_memory: bool,
}

/// Somebody's wish to end the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// When it was first said.
    pub at: Time,
    /// Who said it.
    pub by: String,
    /// What the end is to be called: `terminated`, or `timeout` when its lifetime was over.
    pub cause: EndCause,
    /// From the clean attempts to the kill, when the user said so.
    pub grace: Option<Duration>,
    /// A terminate hook was started and its verdict is not known: after a crash it is run again.
    pub hook_pending: bool,
}

/// The job of one submit attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The backend's job id; never changes once set.
    pub id: String,
    /// The template's own data on it, handed back to each hook.
    pub handle: Option<Value>,
    /// Where it runs.
    pub node: Option<String>,
    /// What the scheduler last said for sure.
    pub state: JobState,
    /// The scheduler's own word.
    pub raw: Option<String>,
    /// The scheduler's reason.
    pub reason: Option<String>,
    /// Place in the queue.
    pub position: Option<u64>,
    /// The scheduler's estimate of the start.
    pub starts_at: Option<Time>,
    /// When its limit ends it.
    pub ends_at: Option<Time>,
    /// The last warning of that.
    #[serde(default)]
    pub warned: Option<Warned>,
    /// When it was first seen running, for `timeouts.register`.
    pub running_since: Option<Time>,
    /// How often the scheduler restarted it.
    pub restarts: u32,
    /// When it was taken.
    pub since: Time,
}

/// What a template rules for its sessions; copied at the start, so that a decision needs nothing but the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// How the session is ended.
    pub limits: Limits,
    /// From the job's start to its monitor's registration.
    pub register: Duration,
    /// How long an unsubmitted or unknown session is kept trying.
    pub queue: Duration,
    /// How long after an unknown submit a "no job" is believed.
    pub settle: Duration,
    /// The template has a prepare hook.
    pub prepare: bool,
    /// The template has a find hook.
    pub find: bool,
    /// The template has a status hook.
    pub status: bool,
    /// The backend may start the same job again by itself.
    pub requeue: bool,
    /// Ends a session that ran for so long.
    pub max_lifetime: Option<Duration>,
    /// Ends a session that nobody was in for so long.
    pub idle: Option<Duration>,
}

/// What only lives in memory: whether a monitor is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// None has registered, or the session is over.
    None,
    /// Linked.
    Connected,
    /// Was linked; since when.
    Lost {
        /// Since when.
        since: Time,
    },
}

impl Record {
    /// The visible state.
    pub fn state(&self) -> State {
        match self.stage {
            Stage::Pending { .. } => State::Pending,
            Stage::Running { .. } => State::Running,
            Stage::Ended { .. } => State::Ended,
        }
    }

    /// The phase of a pending session.
    pub fn phase(&self) -> Option<Phase> {
        match self.stage {
            Stage::Pending { phase, .. } => Some(phase),
            Stage::Running { .. } | Stage::Ended { .. } => None,
        }
    }

    /// Whether it is over.
    pub fn is_ended(&self) -> bool {
        self.state() == State::Ended
    }

    /// Parameters without the secret ones.
    pub fn open_params(&self) -> Params {
        self.params
            .iter()
            .filter(|(name, _)| !self.secrets.contains(*name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

/// What is left of a session that had ended or was being terminated when it was purged, or lost shares since its last snapshot:
/// not a record, not listed; it only answers a monitor that returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The session.
    pub id: SessionId,
    /// It had ended, or somebody wished it to: its monitor is told to end.
    pub over: bool,
    /// Shares withdrawn before the purge: they do not come back.
    pub withdrawn: Vec<ShareId>,
    /// When it was made.
    pub at: Time,
    /// When it may be forgotten: later than any credential of the session is valid.
    pub until: Time,
}
