//! One call while it runs: what it may use, what its processes get, and what is noted of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wharf_core::backend::{HostError, HostModule, Processes};
use wharf_core::hook::{Hook, HookError};
use wharf_protocol::api::TracedCommand;
use wharf_protocol::{SessionId, TraceId};

use crate::blot::Blot;
use crate::exec::calls::CallTraces;
use crate::exec::marks::{self, Since, Target};
use crate::exec::no_room;
use crate::load::Version;
use crate::stage::Stage;

/// Most bytes of a hook's log that a trace keeps.
const LOG_MAX: usize = 64 << 10;

/// What every call needs of the launcher.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) instance: String,
    pub(crate) path: String,
    pub(crate) home: String,
    pub(crate) user: String,
    pub(crate) logs_roots: Vec<PathBuf>,
}

impl Settings {
    /// Which calls may have processes.
    pub(crate) fn journal(&self) -> PathBuf {
        self.data_dir.join("calls.open")
    }

    /// Directories of the calls that run.
    pub(crate) fn calls(&self) -> PathBuf {
        self.data_dir.join("calls")
    }

    /// Where copies of templates lie that cannot be executed in place.
    pub(crate) fn copies(&self) -> PathBuf {
        self.data_dir.join("builtin")
    }
}

/// One call while it runs.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) settings: Arc<Settings>,
    pub(crate) version: Arc<Version>,
    pub(crate) hook: Hook,
    pub(crate) session: Option<SessionId>,
    pub(crate) trace: TraceId,
    /// The value of `WHARF_INSTANCE`.
    pub(crate) mark: String,
    pub(crate) deadline: Instant,
    /// How long it was given, for messages.
    pub(crate) allowed: Duration,
    pub(crate) cancel: CancellationToken,
    pub(crate) dry_run: bool,
    pub(crate) progress: Option<watch::Sender<String>>,
    pub(crate) traces: CallTraces,
    pub(crate) module: Option<Arc<dyn HostModule>>,
    pub(crate) secret_params: Vec<String>,
    /// The program of the request's monitor, where it has one.
    pub(crate) monitor: Option<String>,
    /// Only in a rehearsal: what stands between the call and the world.
    pub(crate) stage: Option<Arc<dyn Stage>>,
    pub(crate) blot: Mutex<Blot>,
    pub(crate) record: Mutex<Record>,
}

/// What a call leaves for its trace, and the groups it has made.
#[derive(Debug, Default)]
pub(crate) struct Record {
    log: String,
    commands: Vec<TracedCommand>,
    /// Of executable hooks.
    groups: BTreeSet<i32>,
    /// Of commands that a script ran; found by the mark as well.
    command_groups: BTreeSet<i32>,
    /// Since when something was started that may have left processes.
    ran: Option<Option<Since>>,
}

impl Context {
    /// The cleaned environment of every process of this call, without `[hooks] env`.
    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        let settings = &self.settings;
        let dirs = self.version.run.path.iter().map(String::as_str);
        let path =
            dirs.chain([settings.path.as_str()]).filter(|dir| !dir.is_empty()).collect::<Vec<_>>().join(":");
        [
            ("PATH", path.as_str()),
            ("HOME", &settings.home),
            ("USER", &settings.user),
            ("LANG", "C.UTF-8"),
            (marks::VARIABLE, &self.mark),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
    }

    /// What an executable hook gets on top.
    pub(crate) fn hook_environment(&self, hook: Hook, tmp: &Path) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        let mut set = |name: &str, value: String| drop(env.insert(name.to_owned(), value));
        set("WHARF_HOOK", hook.as_str().to_owned());
        if let Some(session) = &self.session {
            set("WHARF_SESSION_ID", session.to_string());
        }
        set("WHARF_TRACE_ID", self.trace.to_string());
        set("WHARF_DEADLINE_MS", self.left().as_millis().to_string());
        set("WHARF_TMPDIR", tmp.display().to_string());
        set("WHARF_DRY_RUN", u8::from(self.dry_run).to_string());
        env
    }

    /// What is left of its time.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Adds to the hook's log.
    pub(crate) fn log(&self, text: &str) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let room = LOG_MAX.saturating_sub(record.log.len());
        let end = (0..=room.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        record.log.push_str(text.get(..end).unwrap_or_default());
    }

    /// Adds a command to the trace.
    pub(crate) fn traced(&self, command: TracedCommand) {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).commands.push(command);
    }

    /// The group of an executable hook.
    pub(crate) fn note_group(&self, group: i32) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        if group > 1 {
            record.groups.insert(group);
        }
    }

    /// The group of a command that a script runs.
    pub(crate) fn note_command_group(&self, group: i32) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.command_groups.insert(group);
    }

    /// Comes before whatever may start processes that carry the mark: from then on the call is written down.
    ///
    /// # Errors
    /// The data directory takes no more; nothing may be started then.
    pub(crate) fn about_to_run(&self) -> Result<(), HookError> {
        self.traces.write_down().map_err(|error| no_room(&error))?;
        self.record.lock().unwrap_or_else(PoisonError::into_inner).ran.get_or_insert_with(Since::now);
        Ok(())
    }

    /// The same for what needs a place of its own: the call's private directory.
    ///
    /// # Errors
    /// The data directory takes no more; nothing may be started then.
    pub(crate) fn place_to_run(&self) -> Result<&Path, HookError> {
        self.about_to_run()?;
        self.traces.directory().map_err(|error| no_room(&error))
    }

    /// The log and the commands, for the trace.
    pub(crate) fn take_record(&self) -> (String, Vec<TracedCommand>) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut record.log), std::mem::take(&mut record.commands))
    }

    /// A text without the call's secrets.
    pub(crate) fn blotted(&self, text: &str) -> String {
        self.blot.lock().unwrap_or_else(PoisonError::into_inner).out(text)
    }

    /// What this call may have left behind.
    pub(crate) fn leftovers(&self) -> Target {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let mut target = Target::default();
        let Some(since) = record.ran else { return target };
        target.since = since;
        // An executable has only just ended: its group's number belongs to nobody else yet. Commands of a long call may
        // have ended long ago, so theirs count only together with the mark.
        target.groups.clone_from(&record.groups);
        target.marked_groups =
            record.command_groups.iter().map(|group| (self.mark.clone(), *group)).collect();
        if !self.version.run.keep_leftovers {
            target.marks.insert(self.mark.clone());
        }
        target
    }
}

impl Processes for Context {
    fn about_to_start(&self) -> Result<(), HostError> {
        self.about_to_run().map_err(|error| HostError::new(error.kind, error.message))
    }
}
