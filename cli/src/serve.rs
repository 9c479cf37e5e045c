//! `wharf serve`: one launcher, from its ready line to its last word.

use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use wharf_protocol::Problem;

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
    log_to_stderr(&config.log);
    if let Some(file) = file {
        tracing::info!(file = %file.display(), "read the configuration");
    }
    let plan = plan(config, data_dir, args)?;
    serve(plan, user::current()).await?;
    Ok(0)
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
pub(crate) fn log_to_stderr(log: &Log) {
    // The level was checked when the configuration was read.
    let targets: Targets = log.level.parse().unwrap_or_default();
    let registry = tracing_subscriber::registry().with(targets);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // Somebody else's subscriber can only be there in a test.
    let _ = match log.format {
        LogFormat::Text => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry.with(layer.with_ansi(colour)).try_init()
        }
        LogFormat::Json => registry.with(layer.json()).try_init(),
    };
}

/// Serves until told to stop.
///
/// # Errors
/// Only before the ready line.
async fn serve(plan: Plan, owner: wharf_core::hook::User) -> Result<(), Problem> {
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
            _ = reload.recv() => {
                tracing::info!("reading keys and templates again");
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
    let line = serde_json::json!({ "ready": true, "listen": listen, "node": node });
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
