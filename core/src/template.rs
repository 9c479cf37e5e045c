//! A template as the core knows it: parameters, limits, and which hooks there are.
//!
//! `wharf-hooks` reads the directory and fills this in; the core never reads a template's files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wharf_protocol::monitor::{EndpointDeclared, OnOrphan};
use wharf_protocol::template::{Finding, TemplateState};

use crate::hook::Hook;

/// A good version of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// Its title for people; the name when it has none.
    pub title: String,
    /// A sentence or two.
    pub description: Option<String>,
    /// Where its documentation is.
    pub documentation: Option<String>,
    /// The driver it uses: `docker`, `slurm` or `shell`.
    pub backend: String,
    /// The scheduler's name for people.
    pub scheduler: String,
    /// Instances of the backend to choose from; empty: the default one.
    pub instances: Vec<String>,
    /// How one of several is chosen without a `select` hook; none: the first.
    pub select: Option<Placement>,
    /// A message: starts are refused with it.
    pub disabled: Option<String>,
    /// Who may start.
    pub access: Access,
    /// What runs.
    pub command: CommandRule,
    /// Declared parameters, by name.
    pub params: BTreeMap<String, ParamSpec>,
    /// Working directory of the command.
    pub job_cwd: Option<String>,
    /// The monitor's program on nodes that have no file system in common with the launcher: it enrols.
    pub job_enrol: Option<String>,
    /// Variables of the command.
    pub job_env: BTreeMap<String, String>,
    /// Lines of the site's own for the job script.
    pub job_before: Vec<String>,
    /// The site's own values, for the hooks.
    pub config: Value,
    /// Declared endpoints.
    pub endpoints: Vec<EndpointDeclared>,
    /// How long each hook may take, and how long each wait is.
    pub timeouts: Timeouts,
    /// How its sessions are ended.
    pub session: SessionRules,
    /// How many sessions it takes.
    pub limits: TemplateLimits,
    /// The hooks it has.
    pub hooks: BTreeSet<Hook>,
    /// SHA-256 of its files, hexadecimal.
    pub version: String,
}

/// Who may start; both empty: everybody.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// These users.
    #[serde(default)]
    pub users: Vec<String>,
    /// Members of these groups.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// How one of several instances is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// The one with the fewest live sessions.
    Fewest,
    /// One after the other.
    RoundRobin,
    /// The one with the most free memory, where the backend knows it; else as `fewest`.
    MostMemory,
}

/// What runs in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRule {
    /// When the user gives none; empty: the user has to.
    pub default: Vec<String>,
    /// The user may give one.
    pub overridable: bool,
    /// In a terminal.
    pub tty: bool,
    /// The clean-stop command, run in the session.
    pub stop: Option<Vec<String>>,
}

/// A declared parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamSpec {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ParamKind,
    /// Used when the user gives none.
    #[serde(default)]
    pub default: Option<Value>,
    /// The user has to give one.
    #[serde(default)]
    pub required: bool,
    /// Smallest value: a number, or a duration or size as text.
    #[serde(default)]
    pub min: Option<Value>,
    /// Largest value.
    #[serde(default)]
    pub max: Option<Value>,
    /// A regular expression that has to match the whole text.
    #[serde(default)]
    pub pattern: Option<String>,
    /// Most characters of a text; 4096 when absent.
    #[serde(default)]
    pub max_length: Option<usize>,
    /// The values there are.
    #[serde(default)]
    pub choices: Vec<Value>,
    /// Its title for people.
    #[serde(default)]
    pub title: Option<String>,
    /// A sentence for people.
    #[serde(default)]
    pub help: Option<String>,
    /// Never shown, never in the command's environment.
    #[serde(default)]
    pub secret: bool,
    /// Parameters of one group stand together in a form.
    #[serde(default)]
    pub group: Option<String>,
}

/// A parameter's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamKind {
    /// Text without control characters.
    String,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// `true` or `false`.
    Bool,
    /// One of `choices`.
    Choice,
    /// `30s`, `10m`, `2h`, `7d`.
    Duration,
    /// `512MiB`, `4GiB`, `2G`.
    Size,
    /// An absolute path, or one that begins with `~/`.
    Path,
}

/// How long each hook may take, and how long each wait is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// Of the `prepare` hook.
    pub prepare: Duration,
    /// Of `submit`.
    pub submit: Duration,
    /// Of `find`.
    pub find: Duration,
    /// Of `status`.
    pub status: Duration,
    /// Of `logs`.
    pub logs: Duration,
    /// Of `terminate`, `terminate_many`, `extend` and the `on_*` hooks.
    pub terminate: Duration,
    /// Of `options`.
    pub options: Duration,
    /// Of `validate` and `select`.
    pub validate: Duration,
    /// How long after an unknown submit a "no job" is believed.
    pub settle: Duration,
    /// From the job's start to its monitor's registration.
    pub register: Duration,
    /// How long an unsubmitted or unknown session is kept trying.
    pub queue: Duration,
    /// Between two rounds of `status`.
    pub poll: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            prepare: secs(30 * 60),
            submit: secs(30),
            find: secs(10),
            status: secs(15),
            logs: secs(5),
            terminate: secs(15),
            options: secs(2),
            validate: Duration::from_millis(500),
            settle: secs(60),
            register: secs(10 * 60),
            queue: secs(7 * 24 * 3600),
            poll: secs(15),
        }
    }
}

impl Timeouts {
    /// The deadline of that hook.
    pub const fn of(&self, hook: Hook) -> Duration {
        match hook {
            Hook::Options => self.options,
            Hook::Validate | Hook::Select => self.validate,
            Hook::Prepare => self.prepare,
            Hook::Submit => self.submit,
            Hook::Find => self.find,
            Hook::Status => self.status,
            Hook::Logs => self.logs,
            Hook::Terminate
            | Hook::TerminateMany
            | Hook::Extend
            | Hook::OnRunning
            | Hook::OnConnect
            | Hook::OnDisconnect
            | Hook::OnParams
            | Hook::OnEnded => self.terminate,
        }
    }
}

/// How sessions are ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRules {
    /// From the clean attempts to the kill.
    pub terminate_grace: Duration,
    /// Ends a session that nobody used for so long.
    pub idle_timeout: Option<Duration>,
    /// Ends a session that ran for so long.
    pub max_lifetime: Option<Duration>,
    /// What a monitor does when no launcher is there.
    pub on_orphan: OnOrphan,
}

impl Default for SessionRules {
    fn default() -> Self {
        Self {
            terminate_grace: Duration::from_secs(10),
            idle_timeout: None,
            max_lifetime: None,
            on_orphan: OnOrphan::Run,
        }
    }
}

/// How many sessions a template takes; `None`: any number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TemplateLimits {
    /// Live sessions of one user.
    pub per_user: Option<u32>,
    /// Live sessions in all.
    pub total: Option<u32>,
    /// Starts in one minute.
    pub starts_per_minute: Option<u32>,
}

/// A template as the catalogue has it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Whether it can be used.
    pub state: TemplateState,
    /// `builtin`, or the directory it came from.
    pub origin: String,
    /// Why it is not `ok`.
    pub message: Option<String>,
    /// What the last check found.
    pub findings: Vec<Finding>,
    /// The version that serves; none when broken.
    pub template: Option<Arc<Template>>,
}

/// All templates.
pub trait Catalog: std::fmt::Debug + Send + Sync {
    /// All of them, by name.
    fn list(&self) -> Vec<Entry>;
    /// One of them; cheap, called for every request and hook.
    fn get(&self, name: &str) -> Option<Entry>;
    /// Reads again what has changed; called on SIGHUP and before a request that needs them as they are now. Quick when nothing changed.
    fn reload(&self);
    /// Whether that template is known to be as its files are now. Looks at no other, and does not block: false where only
    /// a reload can tell, as of one that is unknown, broken or on a network.
    fn is_current(&self, name: &str) -> bool;
}
