//! Templates as the API shows them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Time;

/// Whether a template can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TemplateState {
    /// The newest version serves.
    Ok,
    /// A reload failed; the last good version serves.
    Stale,
    /// Refused, or never good.
    Broken,
    /// Closed by the administrator.
    Disabled,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The template cannot be used.
    Error,
    /// Worth a look.
    Warning,
}

/// One thing that a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Finding {
    /// The file, relative to the template.
    pub file: String,
    /// The line, from 1; `null` for the file as a whole.
    pub line: Option<u32>,
    /// How bad it is.
    pub severity: Severity,
    /// A stable word.
    pub code: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// A template in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TemplateSummary {
    /// Its name.
    pub name: String,
    /// Its title for people.
    pub title: String,
    /// A sentence or two.
    #[serde(default)]
    pub description: Option<String>,
    /// Its backend.
    pub backend: String,
    /// Its scheduler's name for people.
    pub scheduler: String,
    /// Whether it can be used.
    pub state: TemplateState,
    /// `builtin`, or the directory it came from.
    pub origin: String,
    /// Why it is not `ok`.
    pub message: Option<String>,
    /// Its hooks that fail at present.
    #[serde(default)]
    pub failing: Vec<FailingHook>,
}

/// A hook that has failed and not worked since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FailingHook {
    /// Which hook.
    pub hook: String,
    /// How often in a row.
    pub failures: u32,
    /// The last failure.
    pub error: String,
    /// `closed` (asked as ever), `open` (not asked for a while) or `half_open` (one try under way).
    pub breaker: String,
    /// When an open breaker is tried again.
    pub next_try: Option<Time>,
}

/// A template in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TemplateDetail {
    /// Its name.
    pub name: String,
    /// Its title for people.
    pub title: String,
    /// A sentence or two.
    pub description: Option<String>,
    /// Its backend.
    pub backend: String,
    /// Its scheduler's name for people.
    pub scheduler: String,
    /// Whether it can be used.
    pub state: TemplateState,
    /// What the last check found.
    pub findings: Vec<Finding>,
    /// Its parameters as JSON Schema.
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub schema: Value,
    /// Its endpoints by name.
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub connect: Value,
    /// Its command: `{default, override, tty}`.
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub command: Value,
    /// Its last conformance run on the real scheduler, for administrators; `null` when there was none.
    #[serde(default)]
    pub report: Option<LiveReport>,
}

/// What a conformance run on the real scheduler found (`wharf template test --live`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LiveReport {
    /// Whose run it was.
    pub template: String,
    /// A digest of the template's files, and of those that it extends, as they were.
    pub version: String,
    /// Its backend.
    pub backend: String,
    /// Its scheduler's name for people.
    pub scheduler: String,
    /// The version of Wharf.
    pub wharf: String,
    /// The host.
    pub node: String,
    /// When it began.
    pub began_at: Time,
    /// When it was over.
    pub ended_at: Time,
    /// Whether no step failed.
    pub passed: bool,
    /// Whether the template has changed since: the report says nothing of what serves now.
    #[serde(default)]
    pub outdated: bool,
    /// In the order in which they were taken.
    pub steps: Vec<LiveStep>,
}

/// One step of a conformance run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LiveStep {
    /// What was tried.
    pub step: String,
    /// How it went.
    pub result: StepResult,
    /// What was seen, or what went wrong.
    pub detail: String,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

/// How a step of a conformance run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    /// As it should.
    Passed,
    /// Otherwise.
    Failed,
    /// The template has nothing for it, or an earlier step failed.
    Skipped,
}
