//! [`Hooks`]: the catalogue and the runtime in one value, and the life of one call.
//!
//! ```text
//! call ─ newest good version ─ place in the pool ─ Lua or executable ─ validator ─ leftovers ended ─ answer and trace
//!                                                  └ written down, a directory: as it needs them ──── removed behind it
//! ```
//!
//! A call runs in a task of its own: whoever drops the future ends the call, and its processes are still cleaned up.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wharf_core::backend::{Backend, HostModule};
use wharf_core::clock::{Clock as _, SystemClock};
use wharf_core::hook::{Hook, HookAnswer, HookCall, HookError, HookErrorKind, HookRun, HookRuntime, Logs};
use wharf_core::template::{Catalog, Entry};
use wharf_protocol::api::Trace;
use wharf_protocol::template::Finding;
use wharf_protocol::{SessionId, Time, TraceId};

use crate::answer::{self, Rules};
use crate::blot::Blot;
use crate::builtin::BuiltinFile;
use crate::context::{Context, Settings};
use crate::exec::calls::CallTraces;
use crate::exec::journal::Journal;
use crate::exec::marks;
use crate::load::catalog::Shelf;
use crate::load::{Version, place};
use crate::pool::Pool;
use crate::stage::Stage;
use crate::{exec, lua};

/// Most bytes of a result that a trace keeps.
const DETAIL_MAX: usize = 4 << 10;
/// From the TERM to the KILL of what a call left behind.
const LEFTOVER_GRACE: Duration = Duration::from_millis(300);
/// How long after its deadline a call may still be on its way back.
const LATE: Duration = Duration::from_millis(400);

/// What the runtime needs to know of the launcher.
#[derive(Debug)]
pub struct HooksConfig {
    /// Directories of templates, the first one wins; they replace built-in templates of the same name.
    pub template_dirs: Vec<PathBuf>,
    /// The shipped templates, usually [`crate::builtin()`].
    pub builtin: &'static [BuiltinFile],
    /// The launcher's data directory; `calls/`, `calls.open` and `builtin/` below it are ours.
    pub data_dir: PathBuf,
    /// Names the data directory, the same after a restart; the first half of every mark.
    pub instance: String,
    /// What the Lua modules of the templates come from.
    pub backends: Vec<Arc<dyn Backend>>,
    /// The launcher's own `PATH`.
    pub path: String,
    /// `HOME` of the hooks.
    pub home: String,
    /// `USER` of the hooks.
    pub user: String,
    /// `logs.roots`: where a `logs` hook may point to, beside the session's own directory.
    pub logs_roots: Vec<PathBuf>,
    /// Hooks at once, in all; 0 means 64.
    pub max_hooks: usize,
}

/// Why the runtime cannot start.
#[derive(Debug, thiserror::Error)]
pub enum HooksError {
    /// A directory or a file of ours cannot be made.
    #[error("{path}: {source}")]
    Unusable {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// All templates and what runs their hooks; cheap to clone.
#[derive(Debug, Clone)]
pub struct Hooks {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Arc<Settings>,
    journal: Arc<Journal>,
    shelf: Shelf,
    pool: Pool,
    backends: Vec<Arc<dyn Backend>>,
    lua: lua::Engine,
}

impl Hooks {
    /// Reads all templates and makes the runtime.
    ///
    /// # Errors
    /// A directory below the data directory cannot be made.
    pub fn new(config: HooksConfig) -> Result<Self, HooksError> {
        let settings = Settings {
            data_dir: config.data_dir,
            instance: config.instance,
            path: config.path,
            home: config.home,
            user: config.user,
            logs_roots: config.logs_roots,
        };
        for path in [settings.calls(), settings.copies()] {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|source| HooksError::Unusable { path, source })?;
        }
        let path = settings.journal();
        let journal = Journal::new(&path).map_err(|source| HooksError::Unusable { path, source })?;
        let most = if config.max_hooks == 0 { 64 } else { config.max_hooks };
        Ok(Self {
            inner: Arc::new(Inner {
                settings: Arc::new(settings),
                journal: Arc::new(journal),
                shelf: Shelf::new(config.template_dirs, config.builtin),
                pool: Pool::new(most),
                backends: config.backends,
                lua: lua::Engine::new(),
            }),
        })
    }

    /// Everything that is wrong with the template in a directory, and everything that looks wrong.
    pub fn check(&self, dir: &Path) -> Vec<Finding> {
        let name = dir.canonicalize().ok().and_then(|dir| Some(dir.file_name()?.to_str()?.to_owned()));
        match self.inner.shelf.try_directory(dir, &name.unwrap_or_default()) {
            Ok(version) => version.findings,
            Err(findings) => findings,
        }
    }

    fn module(&self, version: &Version, request: &Value) -> Option<Arc<dyn HostModule>> {
        let template = &version.template;
        let node = request.get("node").and_then(Value::as_str);
        let wanted = node.into_iter().chain(template.instances.iter().map(String::as_str));
        let names = wanted.map(|instance| format!("{}/{instance}", template.backend));
        let prefix = format!("{}/", template.backend);
        let by_name = |name: &str| self.inner.backends.iter().find(|backend| backend.name() == name);
        names
            .filter_map(|name| by_name(&name))
            .next()
            .or_else(|| by_name(&template.backend))
            .or_else(|| self.inner.backends.iter().find(|backend| backend.name().starts_with(&prefix)))
            .and_then(|backend| backend.module())
    }

    async fn run(&self, call: HookCall, cancel: CancellationToken) -> HookRun {
        let started = (SystemClock.now(), Instant::now());
        let inner = &self.inner;
        let about = About::of(&call, started);
        let refused = |kind, message: String| about.run(Err(HookError::new(kind, message)), None);

        let shelf = &inner.shelf;
        if !shelf.was_looked_at(&call.template)
            && (!shelf.is_near(&call.template) || shelf.has_changed(&call.template))
        {
            // A network may take long, and so may reading: not on a thread that serves others.
            let (hooks, name) = (self.clone(), call.template.clone());
            let read = tokio::task::spawn_blocking(move || hooks.inner.shelf.refresh(&name));
            let _ = tokio::time::timeout(call.deadline / 4, read).await;
        }
        let Some(version) = inner.shelf.version(&call.template) else {
            let why = inner.shelf.entry(&call.template).and_then(|entry| entry.message);
            let why = why.unwrap_or_else(|| "there is no such template".to_owned());
            return refused(
                HookErrorKind::Misconfigured,
                format!("template {} cannot be used: {why}", call.template),
            );
        };
        self.run_version(version, call, cancel, None).await
    }

    /// Tries a call out on a version that need not serve, with a stage between it and the world.
    pub(crate) async fn rehearse(
        &self,
        version: Arc<Version>,
        call: HookCall,
        stage: Arc<dyn Stage>,
    ) -> HookRun {
        let cancel = call.cancel.child_token();
        self.run_version(version, call, cancel, Some(stage)).await
    }

    /// The module of a version's backend, for the bench.
    pub(crate) fn module_of(&self, version: &Version) -> Option<Arc<dyn HostModule>> {
        self.module(version, &Value::Null)
    }

    /// The templates, for the bench.
    pub(crate) fn shelf(&self) -> &Shelf {
        &self.inner.shelf
    }

    async fn run_version(
        &self,
        version: Arc<Version>,
        call: HookCall,
        cancel: CancellationToken,
        stage: Option<Arc<dyn Stage>>,
    ) -> HookRun {
        let started = (SystemClock.now(), Instant::now());
        let deadline = started.1 + call.deadline;
        let inner = &self.inner;
        let about = About::of(&call, started);
        let refused = |kind, message: String| about.run(Err(HookError::new(kind, message)), None);
        let Some(level) = version.hooks.get(&call.hook).copied() else {
            if call.hook == Hook::Logs {
                return about.run(Ok(HookAnswer::Logs(Logs::Text(String::new()))), None);
            }
            let message = format!("template {} has no `{}` hook", call.template, call.hook.as_str());
            return refused(HookErrorKind::Unsupported, message);
        };
        let place = tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            place = inner.pool.place(&call.template, call.hook) => place,
            () = tokio::time::sleep(call.deadline / 2) => None,
        };
        let Some(place) = place else {
            return refused(HookErrorKind::Unavailable, "too many hooks are running: try again".to_owned());
        };
        let keep = version.run.keep_leftovers;
        let journal = Arc::clone(&inner.journal);
        let traces = CallTraces::new(journal, &inner.settings.calls(), call.trace.as_str(), keep);
        let context = Arc::new(self.context(call, Arc::clone(&version), traces, (deadline, cancel), stage));
        let (context, request) = (context.0.clone(), context.1.clone());
        let outcome = self.answer(&context, level, &request, place).await;
        self.end_leftovers_of(&context, &outcome).await;
        if context.traces.end() {
            let ended = Arc::clone(&context);
            let removal = tokio::task::spawn_blocking(move || ended.traces.remove());
            // Nobody has to wait for that, but for the bench, whose calls all have one name.
            if context.stage.is_some() {
                let _ = removal.await;
            }
        }
        about.run(outcome, Some(&context))
    }

    fn context(
        &self,
        mut call: HookCall,
        version: Arc<Version>,
        traces: CallTraces,
        (deadline, cancel): (Instant, CancellationToken),
        stage: Option<Arc<dyn Stage>>,
    ) -> (Arc<Context>, Value) {
        let dry_run = call.request.get("dry_run").and_then(Value::as_bool).unwrap_or(false);
        // A rehearsal has to say the same each time.
        let left = stage
            .as_ref()
            .map_or_else(|| deadline.saturating_duration_since(Instant::now()), |_| call.deadline);
        if let Value::Object(members) = &mut call.request {
            let mut config = version.template.config.clone();
            // A rehearsal tries what a site may set; nobody else brings a configuration of his own.
            if stage.is_some()
                && let (Value::Object(known), Some(Value::Object(tried))) =
                    (&mut config, members.remove("config"))
            {
                known.extend(tried);
            }
            let mut add = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
            add("config", config);
            add("trace_id", Value::String(call.trace.to_string()));
            add("deadline_ms", u64::try_from(left.as_millis()).unwrap_or(u64::MAX).into());
            add("dry_run", dry_run.into());
        }
        let mut blot = Blot::default();
        let params = call.request.get("session").and_then(|session| session.get("params"));
        for params in params.into_iter().chain(call.request.get("params")) {
            for name in &call.secret_params {
                match params.get(name) {
                    Some(Value::String(secret)) => blot.add(secret),
                    Some(secret) => blot.add(&secret.to_string()),
                    None => {}
                }
            }
        }
        if let Some(secret) = call.request.pointer("/monitor/stdin").and_then(Value::as_str) {
            blot.add(secret);
        }
        let settings = Arc::clone(&self.inner.settings);
        let monitor = call.request.pointer("/monitor/argv/0").and_then(Value::as_str).map(str::to_owned);
        let context = Context {
            mark: format!("{}:{}", settings.instance, call.trace),
            module: self.module(&version, &call.request),
            settings,
            version,
            hook: call.hook,
            session: call.session,
            trace: call.trace,
            deadline,
            allowed: call.deadline,
            cancel,
            dry_run,
            progress: call.progress,
            traces,
            secret_params: call.secret_params,
            monitor,
            stage,
            blot: Mutex::new(blot),
            record: Mutex::default(),
        };
        (Arc::new(context), call.request)
    }

    async fn answer(
        &self,
        context: &Arc<Context>,
        level: usize,
        request: &Value,
        place_in_pool: crate::pool::Place,
    ) -> Result<HookAnswer, HookError> {
        let hook = context.hook;
        let internal = |message: String| HookError::new(HookErrorKind::Internal, message);
        let here = context.version.levels.get(level).ok_or_else(|| internal("no such level".to_owned()))?;
        let executable = here.executables.get(&hook);
        let value = match executable {
            Some(file) => {
                let path = place(here, file, &context.settings.copies())
                    .map_err(|error| internal(format!("{file} cannot be executed: {error}")))?;
                let value = exec::run(context, &path, hook, request).await;
                drop(place_in_pool);
                value?
            }
            None => {
                let given_up = context.deadline + LATE;
                let ran = self.inner.lua.run(Arc::clone(context), level, request.clone(), place_in_pool);
                match tokio::time::timeout_at(given_up, ran).await {
                    Ok(value) => value?,
                    Err(_) => return Err(exec::stopped(exec::child::Stopped::Deadline, context.allowed)),
                }
            }
        };
        if let Some(stage) = &context.stage {
            stage.answered(&value);
        }
        let mut log_roots = context.settings.logs_roots.clone();
        if let Some(session) = &context.session {
            log_roots.push(context.settings.data_dir.join("sessions").join(session.as_str()));
        }
        let rules = Rules {
            job_id: &context.version.run.job_id,
            log_roots,
            empty_is_both: executable.is_none(),
            request,
        };
        answer::validate(hook, value, &rules, &mut |note| context.log(&format!("{note}\n")))
    }

    async fn end_leftovers_of(&self, context: &Context, outcome: &Result<HookAnswer, HookError>) {
        let target = context.leftovers();
        if target.is_surely_gone() {
            return;
        }
        let late = context.left().is_zero() || context.cancel.is_cancelled();
        let timeout = matches!(outcome, Err(error) if error.kind == HookErrorKind::Timeout);
        let grace = if late || timeout { Duration::ZERO } else { LEFTOVER_GRACE };
        let ended = tokio::task::spawn_blocking(move || marks::end(&target, grace)).await.unwrap_or(0);
        if ended > 0 {
            context.log(&format!("[{ended} processes that the hook left behind were ended]\n"));
        }
    }
}

/// What a trace says whatever happens.
struct About {
    trace: TraceId,
    session: Option<SessionId>,
    template: String,
    hook: Hook,
    started: (Time, Instant),
}

impl About {
    fn of(call: &HookCall, started: (Time, Instant)) -> Self {
        Self {
            trace: call.trace.clone(),
            session: call.session.clone(),
            template: call.template.clone(),
            hook: call.hook,
            started,
        }
    }

    fn run(&self, outcome: Result<HookAnswer, HookError>, context: Option<&Context>) -> HookRun {
        let out = |text: &str| context.map_or_else(|| text.to_owned(), |context| context.blotted(text));
        let mut outcome = outcome;
        if let Err(error) = &mut outcome {
            error.message = out(&answer::shorten(std::mem::take(&mut error.message)));
            error.hint = error.hint.take().map(|hint| out(&hint));
        }
        let mut detail = match &outcome {
            Ok(answer) => format!("{answer:?}"),
            Err(error) => error.message.clone(),
        };
        let end =
            (0..=DETAIL_MAX.min(detail.len())).rev().find(|at| detail.is_char_boundary(*at)).unwrap_or(0);
        detail.truncate(end);
        let (mut log, mut commands) = (String::new(), Vec::new());
        if let Some(context) = context {
            (log, commands) = context.take_record();
        }
        for command in &mut commands {
            for word in &mut command.argv {
                *word = out(word);
            }
            command.stdout = out(&command.stdout);
            command.stderr = out(&command.stderr);
        }
        let kind = outcome.as_ref().map_or_else(|error| error.kind.as_str(), |_| "ok");
        HookRun {
            trace: Trace {
                id: self.trace.to_string(),
                session_id: self.session.clone(),
                template: self.template.clone(),
                hook: self.hook.as_str().to_owned(),
                started_at: self.started.0,
                duration_ms: u64::try_from(self.started.1.elapsed().as_millis()).unwrap_or(u64::MAX),
                outcome: kind.to_owned(),
                detail: out(&detail),
                log: out(&log),
                commands,
            },
            outcome,
        }
    }
}

#[async_trait]
impl HookRuntime for Hooks {
    async fn call(&self, call: HookCall) -> HookRun {
        let cancel = call.cancel.child_token();
        let _dropped_means_cancelled = cancel.clone().drop_guard();
        let about = About::of(&call, (SystemClock.now(), Instant::now()));
        let hooks = self.clone();
        match tokio::spawn(async move { hooks.run(call, cancel).await }).await {
            Ok(run) => run,
            Err(error) => {
                let error = HookError::new(HookErrorKind::Internal, format!("the call broke off: {error}"));
                about.run(Err(error), None)
            }
        }
    }

    async fn end_leftovers(&self) -> usize {
        let inner = Arc::clone(&self.inner);
        let ended = tokio::task::spawn_blocking(move || {
            marks::end_leftovers(&inner.journal, &inner.settings.calls(), &inner.settings.instance)
        });
        ended.await.unwrap_or(0)
    }
}

impl Catalog for Hooks {
    fn list(&self) -> Vec<Entry> {
        self.inner.shelf.entries()
    }

    fn get(&self, name: &str) -> Option<Entry> {
        self.inner.shelf.entry(name)
    }

    fn reload(&self) {
        self.inner.shelf.reload();
    }

    fn is_current(&self, name: &str) -> bool {
        self.inner.shelf.is_current(name)
    }
}
