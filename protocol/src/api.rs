//! Bodies of the HTTP API (CONTRACT section 3), shared by server and command line.
//!
//! Requests refuse members they do not know; answers may grow.

mod entering;
mod entry;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use entry::{
    Access, LoginAddress, LoginRequest, RedeemRequest, Redeemed, Scope, SignedIn, Token, TokenRequest,
};

use crate::id::{SessionId, ShareId};
use crate::session::{Params, Session, Tags};
use crate::time::{Dur, Time};

pub use entering::{
    ConnectRequest, Connection, DisconnectRequest, Disconnected, Endpoint, EndpointKind, OpenStream,
    StreamKind,
};

/// `POST /sessions`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct StartRequest {
    /// The template's name.
    pub template: String,
    /// A label; generated when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Parameters by name. Texts are converted by the declared type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub params: Params,
    /// What to run instead of the template's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Variables for the command; never shown again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Tags by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Tags,
    /// Overrides the template's `[command] tty`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
}

/// One page of a collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The items of this page.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// What a viewer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See only.
    #[default]
    View,
    /// See, type and use.
    Control,
}

/// `POST /sessions/{id}/shares`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ShareRequest {
    /// `user:NAME`, `group:NAME` or `link`.
    pub grantee: String,
    /// View or control.
    #[serde(default)]
    pub role: Role,
    /// Also exec.
    #[serde(default)]
    pub exec: bool,
    /// Until when; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// For how long; instead of `expires_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Dur>,
}

/// Somebody else's right to a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Share {
    /// The share's id.
    pub id: ShareId,
    /// `user:NAME`, `group:NAME` or `link`.
    pub grantee: String,
    /// View or control.
    pub role: Role,
    /// Also exec.
    pub exec: bool,
    /// Until when.
    pub expires_at: Option<Time>,
    /// The secret address of a link share; in the answer that made it, and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// `POST /sessions/{id}/exec`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ExecRequest {
    /// The program and its arguments; no shell.
    pub argv: Vec<String>,
    /// Standard input as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Standard input as base64, for bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin_base64: Option<String>,
    /// Variables beside the session's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Working directory; the session's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// After this the tree is ended and the answer is 504.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Dur>,
}

/// What a command in the session printed, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ExecResult {
    /// Its exit code; `null` when a signal ended it.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output, at most 1 MiB.
    pub stdout: String,
    /// Standard error, at most 1 MiB.
    pub stderr: String,
    /// How both are written down.
    pub encoding: Encoding,
    /// Something was left out.
    pub truncated: bool,
}

/// How bytes are written in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Encoding {
    /// As text.
    #[serde(rename = "utf-8")]
    Utf8,
    /// Base64: the bytes were no text.
    #[serde(rename = "base64")]
    Base64,
}

/// `GET /sessions/{id}/params`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ParamsAnswer {
    /// All parameters but secret ones.
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub params: Params,
    /// Raised by each change.
    pub params_rev: u64,
}

/// Which log is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// Both of the command's streams in their order.
    #[default]
    All,
    /// The command's standard output.
    Stdout,
    /// The command's standard error.
    Stderr,
    /// What the template's logs hook says.
    Hook,
}

/// `POST /sessions/{id}/extend`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ExtendRequest {
    /// By how much.
    pub by: Dur,
}

/// When an extended session's job will be ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Extended {
    /// The new limit.
    pub ends_at: Time,
}

/// `POST /sessions/{id}/purge`: nothing to choose.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PurgeRequest {}

/// `POST /sessions/{id}/terminate`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TerminateRequest {
    /// How long the command may take to end by itself; the template's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Dur>,
}

/// One thing that happened to a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HistoryEntry {
    /// When.
    pub at: Time,
    /// A stable word, such as `created`, `hook`, `running`, `terminate_requested`, `ended`.
    pub event: String,
    /// Who: a user, `launcher`, `monitor` or `scheduler`.
    pub actor: String,
    /// A sentence for people.
    pub detail: String,
    /// The hook run it tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

/// One change, on the event stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SessionEvent {
    /// What happened.
    pub r#type: EventType,
    /// The session; of a deleted one only its id.
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub session: Value,
}

impl SessionEvent {
    /// The session as it is now.
    pub fn update(session: &Session) -> Self {
        Self { r#type: EventType::Update, session: serde_json::to_value(session).unwrap_or_default() }
    }

    /// The session is no longer there for this viewer.
    pub fn delete(id: &SessionId) -> Self {
        Self { r#type: EventType::Delete, session: serde_json::json!({ "id": id }) }
    }
}

/// What happened to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    /// It is new, or changed.
    Update,
    /// It was purged, or is no longer shared.
    Delete,
}

/// One backend's health.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BackendStatus {
    /// `docker`, `slurm`, `shell`, with the instance where there are several.
    pub name: String,
    /// Templates that use it.
    pub templates: Vec<String>,
    /// Usable now; `null` before the first probe.
    pub healthy: Option<bool>,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// How long its last answer took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// The last failure; of a healthy one what it does without.
    pub last_error: Option<String>,
    /// `closed` (working), `open` (not asked for a while) or `half_open` (one try under way).
    pub breaker: String,
    /// When an open breaker is tried again.
    pub next_try: Option<Time>,
}

/// One launcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// When it started.
    pub started_at: Time,
    /// Monitors linked to it.
    pub links: u32,
}

/// One hook run in full, for the administrator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Trace {
    /// The run's id.
    pub id: String,
    /// The session it served, if one.
    pub session_id: Option<SessionId>,
    /// The template.
    pub template: String,
    /// The hook.
    pub hook: String,
    /// When it began.
    pub started_at: Time,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// `ok`, or the error kind.
    pub outcome: String,
    /// The error's message, or the result, shortened.
    pub detail: String,
    /// What it wrote to its log.
    pub log: String,
    /// The commands it ran.
    pub commands: Vec<TracedCommand>,
}

/// One command that a hook ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TracedCommand {
    /// Its argument vector, secrets blotted out.
    pub argv: Vec<String>,
    /// `read` or `write`.
    pub effect: String,
    /// Milliseconds.
    pub duration_ms: u64,
    /// Its exit status.
    pub status: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The end of its standard output.
    pub stdout: String,
    /// The end of its standard error.
    pub stderr: String,
}

/// `GET /healthz` and `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Health {
    /// `ok`, or what is missing.
    pub status: String,
}
