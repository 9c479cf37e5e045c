//! The seam between a hook's call and a rehearsal of it: what a script would run, and what is answered instead.
//!
//! A launcher's own calls have no stage and behave as if this file were not there. The bench puts one on a call to
//! mock, record or withhold everything that leaves the hook. Read next: `bench`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use wharf_core::hook::HookErrorKind;

use crate::exec::child::Ended;

/// One command, or one function of the backend's module, that a hook asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// The command and its arguments; of a module `["shell.list", "{…}"]`, the arguments as one JSON text.
    pub(crate) argv: Vec<String>,
    /// Its standard input.
    pub(crate) stdin: Vec<u8>,
    /// Variables that the hook gave it, beside those that every command gets.
    pub(crate) env: BTreeMap<String, String>,
    /// `read` or `write`.
    pub(crate) effect: String,
}

/// What comes back from one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Its exit status; anything but 0 is a failure of a module's function.
    pub(crate) status: i32,
    /// The signal that ended it; then there is no status.
    pub(crate) signal: Option<i32>,
    /// What it wrote; of a module's function its result in JSON.
    pub(crate) stdout: Vec<u8>,
    /// What it wrote to standard error; of a module's function its message.
    pub(crate) stderr: Vec<u8>,
    /// The kind of a module's failure.
    pub(crate) kind: Option<HookErrorKind>,
}

impl Reply {
    /// As a child that has ended.
    pub(crate) fn into_ended(self) -> Ended {
        Ended {
            code: self.signal.is_none().then_some(self.status),
            signal: self.signal,
            stdout: self.stdout,
            stderr: self.stderr,
            ..Ended::default()
        }
    }

    /// What a child really gave.
    pub(crate) fn of(ended: &Ended) -> Self {
        Self {
            status: ended.code.unwrap_or(0),
            signal: ended.signal,
            stdout: ended.stdout.clone(),
            stderr: ended.stderr.clone(),
            kind: None,
        }
    }
}

/// Stands between one call and the world.
pub(crate) trait Stage: fmt::Debug + Send + Sync {
    /// A step is wanted: an answer, or `None` to let it happen.
    fn step(&self, step: &Step) -> Option<Reply>;
    /// A step that was let happen has ended.
    fn ended(&self, step: &Step, reply: &Reply);
    /// The hook made a document: a file of `host.tmp`, or what `host.render` gave.
    fn document(&self, name: &str, bytes: &[u8]);
    /// An executable has ended; its private directory is as it left it.
    fn directory(&self, dir: &Path);
    /// What the hook answered, before it is validated.
    fn answered(&self, answer: &Value);
    /// Seconds since 1970, when the clock is pinned.
    fn now(&self) -> Option<f64>;
    /// Whether a pause only moves the pinned clock.
    fn slept(&self, time: Duration) -> bool;
    /// A stand-in for a secret.
    fn secret(&self, name: &str) -> Option<String>;
    /// Changes the environment of an executable hook.
    fn environment(&self, env: &mut BTreeMap<String, String>);
}
