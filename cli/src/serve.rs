//! `wharf serve`: one launcher, from its ready line to its last word.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};
use wharf_core::hook::User;
use wharf_core::{Launcher, Settings};
use wharf_protocol::Problem;

use crate::args::Global;
use crate::args::admin::Serve;
use crate::assemble::{AssembleError, Assembled, Plan, assemble};
use crate::commands::Context;
use crate::config::{self, Config, Log, LogFormat};
use crate::failure::{Failure, Outcome};
use crate::{paths, user};

/// How long hooks under way may take at the end; fifteen seconds are all there is.
const FINISH: Duration = Duration::from_secs(5);

/// Runs the command.
pub(crate) async fn run(context: &Context, args: Serve) -> Outcome {
    let (config, file) = config::load(&context.global)?;
    let data_dir = paths::data_dir(&context.global)?;
    let level = log_to_stderr(&config.log);
    crate::terminal::give_up_controlling();
    if let Some(file) = file {
        tracing::info!(file = %file.display(), "read the configuration");
    }
    let plan = plan(config.clone(), data_dir, args)?;
    let site = Site { global: context.global.clone(), config, level };
    serve(plan, user::current(), site).await?;
    Ok(0)
}

/// What stands in the configuration now, and what of it can change while a launcher runs.
#[derive(Debug)]
struct Site {
    global: Global,
    config: Config,
    level: Level,
}

impl Site {
    /// Reads the configuration again; a broken one changes nothing.
    fn reload(&mut self, launcher: &Launcher) {
        let config = match config::load(&self.global) {
            Ok((config, _)) => config,
            Err(Failure::Problem(problem) | Failure::Coded(problem, _)) => {
                tracing::error!(error = %problem, "the configuration cannot be read again; the old one stays");
                return;
            }
            Err(Failure::Unread) => return,
        };
        launcher.set_settings(settings(&config));
        self.level.set(&config.log.level);
        // The rest is asked for once, at the start.
        let mut fixed = self.config.clone();
        fixed.history = config.history.clone();
        fixed.log.level.clone_from(&config.log.level);
        fixed.logs.keep = config.logs.keep;
        fixed.logs.per_session = config.logs.per_session.clone();
        fixed.limits.sessions = config.limits.sessions;
        fixed.limits.starts_per_minute = config.limits.starts_per_minute;
        if fixed != config {
            tracing::warn!("some of what changed in the configuration is good from the next start on");
        }
        // What was once warned of is warned of again as long as it waits for a start.
        self.config = fixed;
    }
}

/// What the core is to keep to.
pub(crate) fn settings(config: &Config) -> Settings {
    let limit = |most: u32| (most > 0).then_some(most);
    Settings {
        history_keep: config.history.keep.0,
        traces_keep: config.logs.keep.0,
        log_bytes: config.logs.per_session.bytes(),
        sessions: limit(config.limits.sessions),
        starts_per_minute: limit(config.limits.starts_per_minute),
    }
}

/// The log's level, which can be changed.
pub(crate) struct Level(Option<reload::Handle<Targets, Registry>>);

impl std::fmt::Debug for Level {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Level")
    }
}

impl Level {
    fn set(&self, level: &str) {
        if let (Some(handle), Ok(targets)) = (&self.0, level.parse::<Targets>()) {
            // It fails only when there is no log any more.
            let _ = handle.reload(targets);
        }
    }
}

/// What the command line says comes before what the configuration says.
fn plan(config: Config, data_dir: PathBuf, args: Serve) -> Outcome<Plan> {
    let listen = if args.listen.is_empty() { &config.listen.addresses } else { &args.listen };
    let listen = listen
        .iter()
        .map(|address| address.parse())
        .collect::<Result<Vec<_>, wharf_server::BindError>>()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let templates = args.templates.into_iter().map(std::path::absolute).collect::<Result<Vec<_>, _>>();
    let templates = templates.map_err(|error| Failure::local("--templates", &error))?;
    if let Some(missing) = templates.iter().find(|dir| !dir.is_dir()) {
        return Err(Failure::usage(format!("--templates {}: there is no such directory", missing.display())));
    }
    Ok(Plan {
        listen,
        insecure_http: args.insecure_http || config.listen.insecure_http,
        template_dirs: templates.into_iter().chain(config.templates.dirs.iter().cloned()).collect(),
        ..Plan::configured(config, data_dir)
    })
}

/// Logs for the administrator; standard output is for the ready line alone.
pub(crate) fn log_to_stderr(log: &Log) -> Level {
    // The level was checked when the configuration was read.
    let targets: Targets = log.level.parse().unwrap_or_default();
    let (targets, handle) = reload::Layer::new(targets);
    let registry = tracing_subscriber::registry().with(targets);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let begun = match log.format {
        LogFormat::Text => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry.with(layer.with_ansi(colour)).try_init()
        }
        LogFormat::Json => registry.with(layer.json()).try_init(),
    };
    // Somebody else's log can only be there in a test.
    Level(begun.ok().map(|()| handle))
}

/// Serves until told to stop.
///
/// # Errors
/// Only before the ready line.
async fn serve(plan: Plan, owner: User, mut site: Site) -> Result<(), Problem> {
    let failed = |source| AssembleError::Io { path: "signals".into(), source }.into_problem();
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut reload = signal(SignalKind::hangup()).map_err(failed)?;
    let Assembled { launcher, server, node, ownership } =
        assemble(plan, owner).await.map_err(AssembleError::into_problem)?;
    ready(&server.addresses(), &node);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.run(launcher.clone(), stop.clone()));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            by = ownership.lost() => {
                // Two launchers on one datastore is the one thing that must not be.
                tracing::error!(host = by.host, pid = by.pid, "another launcher has taken the data directory: stopping");
                break;
            }
            _ = reload.recv() => {
                tracing::info!("reading configuration, templates and keys again");
                site.reload(&launcher);
                launcher.reload();
            }
        }
    }
    tracing::info!("stopping; no session is touched");
    stop.cancel();
    launcher.shut_down(FINISH).await;
    let _ = tokio::time::timeout(Duration::from_secs(9), serving).await;
    drop(ownership);
    Ok(())
}

/// The one line on standard output; whoever does not read it does not need it.
fn ready(listen: &[String], node: &str) {
    use std::io::Write as _;
    // Written out, so that `ready` comes first also for who looks at the text alone.
    let line = format!(r#"{{"ready":true,"listen":{},"node":{}}}"#, json!(listen), json!(node));
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
