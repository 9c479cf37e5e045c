//! The administrator's bench: everything that tells whether a template is right before a user meets it.
//!
//! ```text
//! a directory or a name ─ Bench ─┬─ check: every finding at once               (check)
//!                                ├─ test: golden cases, mocked commands         (golden, farm)
//!                                ├─ inject: hostile values have to stay data    (inject)
//!                                └─ run: one hook, really or dry                (run)
//! ```
//!
//! A library: what is printed is the command line's business. Nothing here talks to a launcher, and only `run` without
//! a dry run starts what a template names. Read next: [`Case`], then `rehearsal`, which answers instead of the world.

mod api;
pub mod case;
mod check;
mod doctor;
mod editors;
mod farm;
mod fresh;
mod golden;
mod inject;
mod lint;
mod manifest_schema;
mod rehearsal;
mod request;
mod run;
mod shapes;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wharf_core::backend::Backend;
use wharf_core::hook::{Hook, HookCall, HookRun};
use wharf_core::template::Template;
use wharf_protocol::template::Finding;
use wharf_protocol::{SessionId, TraceId};

pub use api::{API, ApiItem};
pub use case::{Case, Expect, Mock};
pub use doctor::Health;
pub use editors::{LUARC, lua_types, reference};
pub use fresh::{NewError, new_template};
pub use golden::CaseReport;
pub use inject::{InjectFailure, InjectReport};
pub use request::SESSION;
pub use run::{Asked, Planned, RunError, RunReport};
pub use shapes::{schema, schema_names};

use crate::load::Version;
use crate::load::files::Files;
use crate::{BuiltinFile, Hooks, HooksConfig, HooksError};
use farm::Farm;
use rehearsal::{Mode, Names, Rehearsal, Seen};

/// What a bench needs to know.
#[derive(Debug)]
pub struct BenchConfig {
    /// Directories of templates, for names and for `extends`.
    pub template_dirs: Vec<PathBuf>,
    /// The shipped templates, usually [`crate::builtin()`].
    pub builtin: &'static [BuiltinFile],
    /// What the Lua modules come from.
    pub backends: Vec<Arc<dyn Backend>>,
    /// The `PATH` on which real commands are found.
    pub path: String,
    /// `HOME` of what really runs.
    pub home: String,
    /// `USER` of what really runs.
    pub user: String,
}

/// Which template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The one in that directory.
    Directory(PathBuf),
    /// The one of that name, as a launcher would take it.
    Name(String),
}

/// Why a bench cannot work.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// There is no such template.
    #[error("there is no template {name}{hint}")]
    NoTemplate {
        /// The name.
        name: String,
        /// The one that was probably meant.
        hint: String,
    },
    /// The template cannot be loaded.
    #[error("the template cannot be used: {}", .0.iter().map(crate::load::catalog::describe).collect::<Vec<_>>().join("; "))]
    Broken(Vec<Finding>),
    /// A shipped template has no files that could be changed.
    #[error("{0} is part of the program: copy it first")]
    Shipped(String),
    /// A file or directory failed.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The runtime cannot start.
    #[error(transparent)]
    Hooks(#[from] HooksError),
}

/// One template on the bench.
#[derive(Debug)]
pub struct Bench {
    hooks: Hooks,
    name: String,
    dir: Option<PathBuf>,
    files: Files,
    built: Result<Arc<Version>, Vec<Finding>>,
    data: tempfile::TempDir,
    path: String,
    farm: OnceLock<Farm>,
}

/// One call on the bench, before it is made.
pub(crate) struct Attempt<'a> {
    pub(crate) hook: Hook,
    pub(crate) request: &'a Value,
    pub(crate) mode: Mode,
    pub(crate) pinned: Option<f64>,
    /// Executables find stand-ins instead of commands.
    pub(crate) hermetic: bool,
}

impl Bench {
    /// Puts a template on the bench, also a broken one.
    ///
    /// # Errors
    /// There is no such template, or no temporary directory.
    pub fn open(config: BenchConfig, target: &Target) -> Result<Self, BenchError> {
        let io = |source| BenchError::Io { path: std::env::temp_dir(), source };
        let data = tempfile::Builder::new().prefix("wharf-bench-").tempdir().map_err(io)?;
        let hooks = Hooks::new(HooksConfig {
            template_dirs: config.template_dirs,
            builtin: config.builtin,
            data_dir: data.path().to_owned(),
            instance: format!("bench-{}", std::process::id()),
            backends: config.backends,
            path: config.path.clone(),
            home: config.home,
            user: config.user,
            logs_roots: Vec::new(),
            max_hooks: 0,
        })?;
        let shelf = hooks.shelf();
        let (name, dir) = match target {
            Target::Directory(dir) => {
                let real =
                    dir.canonicalize().map_err(|source| BenchError::Io { path: dir.clone(), source })?;
                let name = real.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
                (name, Some(real))
            }
            Target::Name(name) => match shelf.entry(name) {
                None => {
                    let known: Vec<String> = shelf.entries().into_iter().map(|entry| entry.name).collect();
                    let near = crate::load::closest(name, known.iter().map(String::as_str));
                    let hint = match near {
                        Some(near) => format!("; did you mean {near}?"),
                        None => format!("; there are {}", known.join(", ")),
                    };
                    return Err(BenchError::NoTemplate { name: name.clone(), hint });
                }
                Some(entry) if entry.origin == "builtin" => (name.clone(), None),
                Some(entry) => (name.clone(), Some(PathBuf::from(entry.origin))),
            },
        };
        let (files, built) = match &dir {
            Some(dir) => match crate::load::read_directory(dir) {
                Ok(files) => (files, shelf.try_directory(dir, &name)),
                Err(findings) => (Files::default(), Err(findings)),
            },
            None => {
                let files = shelf.builtin_files(&name).cloned().unwrap_or_default();
                (files.clone(), shelf.try_files(&name, files))
            }
        };
        let built = built.map(Arc::new);
        Ok(Self { hooks, name, dir, files, built, data, path: config.path, farm: OnceLock::new() })
    }

    /// The template's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it lies; none for a shipped one.
    pub fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// The template, when it can be used.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn template(&self) -> Result<&Template, BenchError> {
        self.version().map(|version| version.template.as_ref())
    }

    /// Whether what its hooks leave running is let alone (`leftovers = "keep"`).
    pub fn keeps_leftovers(&self) -> bool {
        self.built.as_ref().is_ok_and(|version| version.run.keep_leftovers)
    }

    pub(crate) fn version(&self) -> Result<&Arc<Version>, BenchError> {
        self.built.as_ref().map_err(|findings| BenchError::Broken(findings.clone()))
    }

    fn farm(&self) -> Result<&Farm, BenchError> {
        if self.farm.get().is_none() {
            let own = self.version()?.run.path.clone();
            let made = Farm::new(&self.path, &own)
                .map_err(|source| BenchError::Io { path: std::env::temp_dir(), source })?;
            let _ = self.farm.set(made);
        }
        self.farm.get().ok_or_else(|| BenchError::NoTemplate { name: self.name.clone(), hint: String::new() })
    }

    /// Where real commands are found.
    fn real_path(&self) -> String {
        let own = self.built.iter().flat_map(|version| version.run.path.iter().map(String::as_str));
        own.chain([self.path.as_str()]).collect::<Vec<_>>().join(":")
    }

    /// Whether that hook is an executable.
    fn is_executable(version: &Version, hook: Hook) -> bool {
        let level = version.hooks.get(&hook).and_then(|level| version.levels.get(*level));
        level.is_some_and(|level| level.executables.contains_key(&hook))
    }

    /// Makes one call.
    pub(crate) async fn attempt(&self, attempt: Attempt<'_>) -> Result<(HookRun, Seen), BenchError> {
        let version = self.version()?;
        let mut request = attempt.request.clone();
        let mut names = Names::default();
        names.below(&self.data.path().join("calls"), "[0-9a-z]+(/base-[A-Za-z0-9]+)?", "{tmp}");
        names.below(&self.data.path().join("builtin"), "[0-9a-f]{64}", "{template}");
        if let Some(dir) = &self.dir {
            names.plain(dir, "{template}");
        }
        if attempt.mode == Mode::Watch {
            // A case is written with the stand-ins that it will be run with.
            for (name, file) in &version.run.secrets {
                let secret = std::fs::read_to_string(file).unwrap_or_default();
                let secret = secret.trim_end_matches(['\r', '\n']);
                if !secret.is_empty() {
                    names.plain(Path::new(secret), &format!("secret-{name}"));
                }
            }
        }
        let mut path = None;
        let mut farm = None;
        // Stand-ins matter where a process looks for commands itself.
        if attempt.hermetic && version.levels.iter().any(|level| !level.executables.is_empty()) {
            let made = self.farm()?;
            let io = |source| BenchError::Io { path: made.bin(), source };
            let mocked: Vec<&str> = match &attempt.mode {
                Mode::Strict { mocks, .. } | Mode::Lenient(mocks) => {
                    mocks.iter().filter_map(|mock| mock.argv.first()).map(String::as_str).collect()
                }
                Mode::Withhold | Mode::Watch => Vec::new(),
            };
            let listed = version.run.commands.keys().map(String::as_str);
            for name in mocked.into_iter().chain(listed) {
                made.plant(name).map_err(io)?;
            }
            if Self::is_executable(version, attempt.hook) {
                made.rebase(&mut request);
                names.plain(&made.world(), "/wharf");
                made.world_for(&request).map_err(io)?;
            }
            path = Some(made.bin());
            farm = Some(made);
        }
        let dry_run = attempt.mode == Mode::Withhold;
        if dry_run {
            request["dry_run"] = Value::Bool(true);
        }
        let rehearsal = Arc::new(Rehearsal::new(attempt.mode, names, path, attempt.pinned));
        let stage: Arc<dyn crate::stage::Stage> = Arc::<Rehearsal>::clone(&rehearsal);
        let _service = match farm {
            Some(farm) => Some(
                farm.serve(Arc::clone(&stage), self.real_path())
                    .map_err(|source| BenchError::Io { path: farm.bin(), source })?,
            ),
            None => None,
        };
        let session = request
            .get("session")
            .and_then(|session| session.get("id"))
            .and_then(Value::as_str)
            .and_then(|id| id.parse::<SessionId>().ok());
        let secret_params = version
            .template
            .params
            .iter()
            .filter(|(_, spec)| spec.secret)
            .map(|(name, _)| name.clone())
            .collect();
        let call = HookCall {
            template: self.name.clone(),
            hook: attempt.hook,
            session,
            request,
            secret_params,
            deadline: version.template.timeouts.of(attempt.hook),
            trace: TraceId::from_random([7; 20]),
            progress: None,
            cancel: CancellationToken::new(),
        };
        let run = self.hooks.rehearse(Arc::clone(version), call, stage).await;
        Ok((run, rehearsal.seen()))
    }
}
