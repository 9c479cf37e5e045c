//! The session as the API and `--output json` show it (CONTRACT section 2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::SessionId;
use crate::time::Time;

/// Parameters, declared and custom, by name.
pub type Params = BTreeMap<String, Value>;
/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// A session as its viewers see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Session {
    /// Random, never reused.
    pub id: SessionId,
    /// A label; several sessions may share it.
    pub name: String,
    /// Who started it.
    pub owner: String,
    /// The template it was started from.
    pub template: String,
    /// The driver: `docker`, `slurm` or `shell`.
    pub backend: String,
    /// The scheduler's name for people.
    pub scheduler: String,
    /// Where in its life it is; never goes backwards.
    pub state: State,
    /// How far a pending session has come; `null` otherwise.
    pub phase: Option<Phase>,
    /// Whether its monitor is linked to a launcher.
    pub link: Link,
    /// Somebody asked for its end; never taken back.
    pub terminating: bool,
    /// Why it is as it is, in words.
    pub reason: Option<Reason>,
    /// What the scheduler says of its job; `null` until there is one.
    pub job: Option<Job>,
    /// What runs in it.
    pub command: Vec<String>,
    /// The start's parameters and custom ones; secret ones are left out.
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub params: Params,
    /// Its tags.
    pub tags: Tags,
    /// Users' streams that are open now: terminals, tunnels, applications; not execs.
    pub connections: u32,
    /// When it was recorded.
    pub created_at: Time,
    /// When the scheduler took it.
    pub submitted_at: Option<Time>,
    /// When its monitor first registered.
    pub started_at: Option<Time>,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// How it ended.
    pub end: Option<End>,
    /// The launcher's node name.
    pub launcher: String,
    /// Raised by each durable change.
    pub rev: u64,
    /// Raised by each change of the parameters.
    pub params_rev: u64,
}

/// A session's place in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Recorded or submitted; no monitor has registered yet.
    Pending,
    /// Its monitor has registered.
    Running,
    /// Over.
    Ended,
}

/// How far a pending session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Durable, and nothing submitted.
    Recorded,
    /// The prepare hook runs.
    Preparing,
    /// The submit hook may have been asked.
    Submitting,
    /// The scheduler has it.
    Submitted,
    /// Asked, answer lost, being looked up.
    Unknown,
}

/// What the launcher knows of the session's monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// None has registered, or the session is over.
    None,
    /// Its monitor is linked.
    Connected,
    /// It was linked and is not now.
    Lost,
}

/// Why something is as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Reason {
    /// A stable word for programs, such as `queued` or `unavailable`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

/// What the scheduler says of a session's job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Job {
    /// The backend's job id.
    pub id: String,
    /// Where it runs.
    pub node: Option<String>,
    /// Its state in Wharf's words.
    pub state: JobState,
    /// The scheduler's own word.
    pub raw: Option<String>,
    /// The scheduler's reason.
    pub reason: Option<String>,
    /// Place in the queue, from 1.
    pub position: Option<u64>,
    /// The scheduler's estimate of the start.
    pub starts_at: Option<Time>,
    /// When the job's limit will end it.
    pub ends_at: Option<Time>,
    /// When the scheduler was last heard about it.
    pub checked_at: Option<Time>,
}

/// A job's state in Wharf's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its turn.
    Queued,
    /// Waits for somebody to release it.
    Held,
    /// Being started.
    Starting,
    /// Runs.
    Running,
    /// Stopped for a while.
    Suspended,
    /// Over, being cleaned up.
    Completing,
    /// Over.
    Ended,
    /// The scheduler surely knows no such job.
    Gone,
    /// Nobody can tell. Never changes a session.
    #[default]
    Unknown,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct End {
    /// What ended it.
    pub cause: EndCause,
    /// The command's exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended the command.
    pub signal: Option<i32>,
    /// A sentence for people.
    pub message: String,
    /// Which attempt ended a terminated one.
    pub stopped_by: Option<StoppedBy>,
}

/// What ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// The command ended by itself.
    Exited,
    /// A signal ended the command.
    Signaled,
    /// Somebody asked for it.
    Terminated,
    /// The scheduler did not take it.
    SubmitFailed,
    /// Its job ended, or ran for too long, without its monitor registering.
    NeverRegistered,
    /// Its job is gone, not by Wharf.
    Vanished,
    /// Its time was up.
    Timeout,
    /// It was killed for memory.
    OutOfMemory,
    /// Its node failed.
    NodeFailed,
    /// Something more important took its place.
    Preempted,
    /// Nobody used it.
    Idle,
}

impl EndCause {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Signaled => "signaled",
            Self::Terminated => "terminated",
            Self::SubmitFailed => "submit_failed",
            Self::NeverRegistered => "never_registered",
            Self::Vanished => "vanished",
            Self::Timeout => "timeout",
            Self::OutOfMemory => "out_of_memory",
            Self::NodeFailed => "node_failed",
            Self::Preempted => "preempted",
            Self::Idle => "idle",
        }
    }
}

/// Which attempt ended a terminated session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StoppedBy {
    /// The template's stop command.
    Command,
    /// SIGTERM (and SIGHUP on a terminal).
    Signal,
    /// SIGKILL to the whole tree.
    Kill,
    /// The template's terminate hook.
    Hook,
    /// Nothing had been submitted.
    NotStarted,
}
