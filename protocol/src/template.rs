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
}
