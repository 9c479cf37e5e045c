//! Backends as the core knows them: something whose health can be asked, and a module of functions that hooks call.
//!
//! What a job is and how it is started is the hooks' business; a backend only gives them typed verbs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wharf_protocol::SessionId;

use crate::hook::{HookError, HookErrorKind};

/// A driver of something that runs jobs.
#[async_trait]
pub trait Backend: std::fmt::Debug + Send + Sync {
    /// `docker`, `slurm` or `shell`, with `/INSTANCE` where there are several.
    fn name(&self) -> &str;
    /// What it can do, in words of the documentation.
    fn capabilities(&self) -> Vec<&'static str>;
    /// Whether the backend starts a job again by itself (requeue).
    fn requeues(&self) -> bool;
    /// Asks whether it is usable now; the message is for the administrator.
    async fn probe(&self) -> Result<(), String>;
    /// The functions that hooks of its templates may call.
    fn module(&self) -> Option<Arc<dyn HostModule>>;
    /// Bytes of its memory that are promised to no job, where that can be told.
    async fn free_memory(&self) -> Option<u64> {
        None
    }
    /// What a usable backend does without just now, and why; for the administrator.
    fn lacks(&self) -> Option<String> {
        None
    }
    /// Removes what a submit left half done of a session that nobody knows any more: only what has never run and cannot
    /// begin by itself. Nothing there is success.
    async fn forget(&self, _session: &SessionId) -> Result<(), String> {
        Ok(())
    }
    /// Says which jobs may be over as soon as the backend itself hears of it, for as long as it is asked; ends at
    /// once where nothing can be heard. Only a hint: what jobs are is told by `status`.
    async fn watch(&self, _heard: &mpsc::UnboundedSender<Heard>) {}
}

/// What a backend heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The job of that id may be over.
    Job(String),
    /// Jobs may be over of which nothing was heard: listening begins, or begins again.
    Missed,
}

/// Functions that Lua hooks call, as `NAME.FUNCTION{…}`.
#[async_trait]
pub trait HostModule: std::fmt::Debug + Send + Sync {
    /// The table's name in Lua.
    fn name(&self) -> &'static str;
    /// The functions there are.
    fn functions(&self) -> &'static [HostFunction];
    /// The program on this host that a call starts by the script's own word: only the request's monitor, or a command
    /// of the template.
    fn program<'a>(&self, _function: &str, _arguments: &'a Value) -> Option<&'a str> {
        None
    }
    /// Calls one with a table of arguments (a JSON object); ends early when cancelled, leaving no process but jobs.
    async fn call(&self, function: &str, arguments: Value, context: &HostContext)
    -> Result<Value, HostError>;
}

/// One function of a module.
#[derive(Debug, Clone, Copy)]
pub struct HostFunction {
    /// Its name.
    pub name: &'static str,
    /// Whether it changes anything: a dry run does not call those.
    pub writes: bool,
    /// One sentence.
    pub doc: &'static str,
}

/// What a host function knows of the call it serves.
#[derive(Debug, Clone)]
pub struct HostContext {
    /// The session, when the hook serves one.
    pub session: Option<SessionId>,
    /// The cleaned environment that every process of the call gets: `PATH` (the template's own directories first),
    /// `HOME`, `USER`, `LANG` and the mark.
    pub base: Vec<(String, String)>,
    /// Files that the template gives for commands, by name; the others are found in `PATH`.
    pub programs: Vec<(String, String)>,
    /// The template's `[hooks] env`.
    pub env: Vec<(String, String)>,
    /// The template's `[config]`: what the administrator allows.
    pub config: Value,
    /// Where words for the waiting user go; none where nobody waits.
    pub progress: Option<tokio::sync::watch::Sender<String>>,
    /// The mark that every process of the call carries (`WHARF_INSTANCE`).
    pub mark: String,
    /// Hears of it before a process of the call is started on this host.
    pub processes: Arc<dyn Processes>,
    /// What is left of the hook's time.
    pub left: Duration,
    /// The call was given up.
    pub cancel: CancellationToken,
}

/// The processes of one call: what is left of those is looked for after the hook, and after a crash.
pub trait Processes: std::fmt::Debug + Send + Sync {
    /// Has to come before a process is started that carries the mark. A call that starts none costs no search.
    ///
    /// # Errors
    /// The call has ended, or cannot be written down: nothing may be started then.
    fn about_to_start(&self) -> Result<(), HostError>;
}

/// What belongs to no call: a question of the launcher's own.
#[derive(Debug, Clone, Copy)]
pub struct NoCall;

impl Processes for NoCall {
    fn about_to_start(&self) -> Result<(), HostError> {
        Ok(())
    }
}

/// Why a host function failed: becomes the hook's own error unless the script catches it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    /// What kind of failure.
    pub kind: HookErrorKind,
    /// What happened.
    pub message: String,
}

impl HostError {
    /// A failure of that kind.
    pub fn new(kind: HookErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl From<HostError> for HookError {
    fn from(error: HostError) -> Self {
        Self::new(error.kind, error.message)
    }
}
