//! Hooks as the core sees them: which there are, what they are asked, what they may answer.
//!
//! The runtime (`wharf-hooks`) runs Lua and executables under one contract and one validator: what comes back
//! here has the right type, sizes and job ids already. The core never sees how a hook is written.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wharf_protocol::api::Trace;
use wharf_protocol::session::{Params, Tags};
use wharf_protocol::{EndCause, FieldError, JobState, SessionId, Time, TraceId};

/// One named function of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// Choices for parameters.
    Options,
    /// Checks and completes parameters.
    Validate,
    /// Orders nodes.
    Select,
    /// Long work before the submit.
    Prepare,
    /// Hands the job to the scheduler.
    Submit,
    /// Looks jobs up by session id.
    Find,
    /// Asks about many jobs at once.
    Status,
    /// The scheduler's own log of a job.
    Logs,
    /// Ends a job.
    Terminate,
    /// Ends many jobs at once.
    TerminateMany,
    /// Gives a job more time.
    Extend,
    /// After the first registration.
    OnRunning,
    /// After a user entered.
    OnConnect,
    /// After a user left.
    OnDisconnect,
    /// After parameters changed.
    OnParams,
    /// After the end.
    OnEnded,
}

impl Hook {
    /// All hooks.
    pub const ALL: [Self; 16] = [
        Self::Options,
        Self::Validate,
        Self::Select,
        Self::Prepare,
        Self::Submit,
        Self::Find,
        Self::Status,
        Self::Logs,
        Self::Terminate,
        Self::TerminateMany,
        Self::Extend,
        Self::OnRunning,
        Self::OnConnect,
        Self::OnDisconnect,
        Self::OnParams,
        Self::OnEnded,
    ];

    /// The name in templates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Options => "options",
            Self::Validate => "validate",
            Self::Select => "select",
            Self::Prepare => "prepare",
            Self::Submit => "submit",
            Self::Find => "find",
            Self::Status => "status",
            Self::Logs => "logs",
            Self::Terminate => "terminate",
            Self::TerminateMany => "terminate_many",
            Self::Extend => "extend",
            Self::OnRunning => "on_running",
            Self::OnConnect => "on_connect",
            Self::OnDisconnect => "on_disconnect",
            Self::OnParams => "on_params",
            Self::OnEnded => "on_ended",
        }
    }
}

/// One call of one hook.
#[derive(Debug)]
pub struct HookCall {
    /// The template's name; the newest good version serves.
    pub template: String,
    /// The hook.
    pub hook: Hook,
    /// The session it serves; none for `options`, `find`, `status`, `terminate_many`.
    pub session: Option<SessionId>,
    /// The request as in CONTRACT section 5, complete but for `trace_id`, `deadline_ms`, `dry_run` and `config`, which the runtime adds.
    pub request: Value,
    /// Parameters of `request.session.params` that are secret.
    pub secret_params: Vec<String>,
    /// From now.
    pub deadline: Duration,
    /// Names this call everywhere.
    pub trace: TraceId,
    /// Where `host.progress` goes: its newest words.
    pub progress: Option<watch::Sender<String>>,
    /// Ends the call early, its processes with it.
    pub cancel: CancellationToken,
}

/// What came of a call.
#[derive(Debug)]
pub struct HookRun {
    /// The answer, or why there is none.
    pub outcome: Result<HookAnswer, HookError>,
    /// What happened, for `wharf trace`.
    pub trace: Trace,
}

/// A validated answer, of the hook that was asked.
#[derive(Debug, Clone, PartialEq)]
pub enum HookAnswer {
    /// Of `options`: choices by parameter.
    Options(BTreeMap<String, Vec<Value>>),
    /// Of `validate`.
    Validate(Validated),
    /// Of `select`: node names, best first.
    Select(Vec<String>),
    /// Of `submit`.
    Submit(Submitted),
    /// Of `find`: by session; sessions that the answer left out are absent.
    Find(BTreeMap<SessionId, Found>),
    /// Of `status`: by job id; jobs that the answer left out are absent.
    Status(BTreeMap<String, JobReport>),
    /// Of `logs`.
    Logs(Logs),
    /// Of `terminate_many`: by session.
    TerminateMany(BTreeMap<SessionId, Result<(), HookError>>),
    /// Of `extend`.
    Extend(Time),
    /// Of all that answer `{}`.
    Done,
}

/// Of `validate`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Validated {
    /// Parameters as they are to be.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Object>))]
    pub params: Option<Params>,
    /// The command as it is to be.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// What is wrong.
    #[serde(default)]
    pub errors: Vec<FieldError>,
}

/// Of `submit`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Submitted {
    /// The backend's job id.
    pub job_id: String,
    /// Where it runs, when that is known already.
    #[serde(default)]
    pub node: Option<String>,
    /// A sentence for the user.
    #[serde(default)]
    pub message: Option<String>,
    /// The template's own data, at most 4 KiB, handed back to each hook.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Object>))]
    pub handle: Option<Value>,
}

/// Of `find`, for one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Surely no job.
    No,
    /// These jobs, oldest first; never empty.
    Jobs(Vec<String>),
}

/// Of `status`, for one job.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct JobReport {
    /// Its state; words that are not known read as `unknown`.
    pub state: JobState,
    /// The scheduler's own word.
    #[serde(default)]
    pub raw: Option<String>,
    /// The scheduler's reason.
    #[serde(default)]
    pub reason: Option<String>,
    /// Where it runs.
    #[serde(default)]
    pub node: Option<String>,
    /// Its exit code, when it is over.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// What ended it.
    #[serde(default)]
    pub cause: Option<EndCause>,
    /// How often the scheduler restarted it.
    #[serde(default)]
    pub restarts: Option<u32>,
    /// Place in the queue.
    #[serde(default)]
    pub position: Option<u64>,
    /// The scheduler's estimate of the start.
    #[serde(default)]
    pub starts_at: Option<Time>,
    /// When its limit ends it.
    #[serde(default)]
    pub ends_at: Option<Time>,
}

/// Of `logs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Logs {
    /// The text itself, as much of its end as was asked for.
    Text(String),
    /// What came after the place that was asked for, or the end of it all where none was.
    Piece {
        /// The text.
        text: String,
        /// The place where it ends, in words of the hook's own: asked for by the next `after`.
        next: String,
    },
    /// A file that the runtime has checked: regular, below the session directory or `logs.roots`, no links.
    Path(std::path::PathBuf),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HookError {
    /// What kind of failure.
    pub kind: HookErrorKind,
    /// For the user in the first seven kinds, else for the administrator.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// The member at fault, of `invalid`.
    pub field: Option<String>,
    /// The hook's own process ended by itself with a plain non-zero exit code that has no meaning in the contract:
    /// it lived to its end and said no.
    pub plain_exit: bool,
}

/// What kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookErrorKind {
    /// A value is not acceptable.
    Invalid,
    /// Not allowed.
    Denied,
    /// Something named is not there.
    NotFound,
    /// The template cannot do it.
    Unsupported,
    /// Nothing happened; try later.
    Unavailable,
    /// Nothing happened; try later.
    RateLimited,
    /// The administrator has to look.
    Misconfigured,
    /// Past its deadline.
    Timeout,
    /// Past its memory.
    Memory,
    /// A command of its failed.
    CommandFailed,
    /// Anything else.
    Internal,
}

impl HookErrorKind {
    /// The word in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Unsupported => "unsupported",
            Self::Unavailable => "unavailable",
            Self::RateLimited => "rate_limited",
            Self::Misconfigured => "misconfigured",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::CommandFailed => "command_failed",
            Self::Internal => "internal",
        }
    }

    /// Whether users see the message; of the others they see a trace id.
    pub const fn is_public(self) -> bool {
        matches!(
            self,
            Self::Invalid
                | Self::Denied
                | Self::NotFound
                | Self::Unsupported
                | Self::Unavailable
                | Self::RateLimited
                | Self::Misconfigured
        )
    }
}

impl HookError {
    /// A failure of that kind.
    pub fn new(kind: HookErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, retry_after: None, field: None, plain_exit: false }
    }
}

/// The session as hooks see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SessionInRequest {
    /// Its id, which has to end up on the job.
    pub id: SessionId,
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// Its template.
    pub template: String,
    /// All parameters.
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub params: Params,
    /// What runs in it.
    pub command: Vec<String>,
    /// The user's variables.
    pub env: BTreeMap<String, String>,
    /// Its tags.
    pub tags: Tags,
    /// When it was recorded.
    pub created_at: Time,
}

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct User {
    /// The login name.
    pub name: String,
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
    /// The home directory.
    pub home: String,
    /// Names of all groups.
    pub groups: Vec<String>,
}

/// How the job starts its monitor: `submit`'s and `prepare`'s `monitor`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MonitorInRequest {
    /// An absolute path and `run --bootstrap FILE`; with `[job] enrol` that program and `run --enrol`.
    pub argv: Vec<String>,
    /// Variables that go with it; no secret among them.
    pub env: BTreeMap<String, String>,
    /// The session directory, 0700; its `mount/` is what a container gets.
    pub dir: String,
    /// With `[job] enrol`: one line for its standard input, a secret that the first monitor to use it spends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
}

/// Runs templates' hooks.
#[async_trait]
pub trait HookRuntime: std::fmt::Debug + Send + Sync {
    /// Runs a hook to its end or its deadline, whichever comes first; never later than deadline + 500 ms.
    async fn call(&self, call: HookCall) -> HookRun;
    /// After a crash and before anything else: ends every process that carries the mark of a call that had not ended.
    /// Returns how many there were.
    async fn end_leftovers(&self) -> usize;
}
