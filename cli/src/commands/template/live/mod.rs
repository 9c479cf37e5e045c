//! `template test --live`: a conformance run on the real scheduler, with a launcher of its own.
//!
//! ```text
//! temporary data directory ─ launcher in this process ─ steps: through its API, and hooks asked directly ─ report
//!                                                          └ at the end nothing may be left of any session
//! ```
//!
//! Every session is real, and every one is ended before the program ends, whatever failed. The user's own launcher and
//! its data are not touched.

mod look;
mod steps;

use std::os::unix::fs::DirBuilderExt as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use wharf_core::clock::{Clock as _, SystemClock};
use wharf_hooks::bench::Bench;
use wharf_protocol::Session;
use wharf_protocol::api::TerminateRequest;

use super::Context;
use super::test::{indented, mark, replace};
use crate::args::Format;
use crate::args::admin::TemplateTest;
use crate::assemble::{AssembleError, Assembled, Plan, assemble};
use crate::client::Client;
use crate::client::address::Address;
use crate::client::calls::Query;
use crate::config::{self, Log};
use crate::failure::{Failure, Outcome};
use crate::output::{Output, escape};
use crate::{paths, serve, user};

/// How long hooks under way may take at the end.
const FINISH: Duration = Duration::from_secs(2);

/// How one step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Went {
    Well,
    Badly,
    /// The template has nothing for it, or an earlier step failed.
    NotTried,
}

impl Went {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Well => "passed",
            Self::Badly => "failed",
            Self::NotTried => "skipped",
        }
    }
}

/// The steps so far.
struct Report {
    output: Output,
    steps: Vec<Value>,
    failed: usize,
}

impl Report {
    fn step(&mut self, name: &str, went: Went, detail: &str, began: Instant) -> Outcome<()> {
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.failed += usize::from(went == Went::Badly);
        let step = json!({ "step": name, "result": went.as_str(), "detail": detail, "ms": ms });
        match self.output.format {
            Format::Table => {
                let word = match went {
                    Went::Well => mark(&self.output, true),
                    Went::Badly => mark(&self.output, false),
                    Went::NotTried => "skip".to_owned(),
                };
                let mut lines = detail.lines();
                let first = lines.next().unwrap_or_default();
                self.output.line(&format!("{word}  {name:<22} {} ({ms} ms)", escape::line(first)))?;
                let rest = lines.collect::<Vec<_>>().join("\n");
                if !rest.is_empty() {
                    self.output.line(&indented(&escape::lines(&rest)))?;
                }
            }
            Format::Jsonl => self.output.line(&crate::output::json::compact(&step))?,
            Format::Json | Format::Id => {}
        }
        self.steps.push(step);
        Ok(())
    }
}

pub(super) async fn run(context: &Context, bench: &Bench, args: &TemplateTest) -> Outcome {
    let _level = serve::log_to_stderr(&Log { level: "error".to_owned(), ..Log::default() });
    let (mut config, _) = config::load(&context.global)?;
    // On a cluster the directory has to be one that the nodes see as well: --data-dir names where to make it.
    let mut builder = tempfile::Builder::new();
    builder.prefix("wharf-live-");
    let made = match &context.global.data_dir {
        Some(below) => std::fs::create_dir_all(below).and_then(|()| builder.tempdir_in(below)),
        None => builder.tempdir(),
    };
    let dir = made.map_err(|error| Failure::local("the run's directory cannot be made", &error))?;
    if let Some(real) = bench.dir() {
        let templates = dir.path().join("templates");
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&templates)
            .and_then(|()| std::os::unix::fs::symlink(real, templates.join(bench.name())))
            .map_err(|error| Failure::local("the template cannot be taken", &error))?;
        config.templates.dirs.insert(0, templates);
    }
    let data_dir = dir.path().join("data");
    let plan = Plan::configured(config, data_dir.clone());
    let Assembled { launcher, server, ownership, node, .. } =
        assemble(plan, user::current()).await.map_err(AssembleError::into_problem)?;
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.run(launcher.clone(), stop.clone()));
    let client = Client::at(Address::Unix(paths::socket(&data_dir)));
    let mut report = Report { output: context.output, steps: Vec::new(), failed: 0 };
    let began = SystemClock.now();
    let interrupted = tokio::select! {
        stepped = steps::all(&mut report, bench, &client, args) => stepped.map(|()| false),
        _ = tokio::signal::ctrl_c() => Ok(true),
    };
    end_all(&client).await;
    stop.cancel();
    launcher.shut_down(FINISH).await;
    let _ = tokio::time::timeout(FINISH, serving).await;
    drop(ownership);
    if let Err(error) = dir.close() {
        context.output.note(&format!("the run's directory cannot be removed: {error}"));
    }
    if interrupted? {
        return Ok(130);
    }
    let document = document(bench, &report, &node, &began.to_string());
    if let Some(file) = &args.report {
        replace(file, &format!("{}\n", crate::output::json::pretty(&document)))?;
    }
    if context.output.format == Format::Json {
        context.output.object(&document, String::new)?;
    }
    if context.output.format == Format::Table {
        let steps = report.steps.len();
        context.output.note(&format!("{}: {} of {steps} steps failed", bench.name(), report.failed));
    }
    Ok(if report.failed > 0 { super::FAILED } else { 0 })
}

fn document(bench: &Bench, report: &Report, node: &str, began: &str) -> Value {
    let template = bench.template().ok();
    json!({
        "template": bench.name(),
        "version": template.map(|template| &template.version),
        "backend": template.map(|template| &template.backend),
        "scheduler": template.map(|template| &template.scheduler),
        "wharf": env!("CARGO_PKG_VERSION"),
        "node": node,
        "began_at": began,
        "ended_at": SystemClock.now(),
        "passed": report.failed == 0,
        "steps": report.steps,
    })
}

/// Whatever still runs is ended with the launcher that knows of it.
async fn end_all(client: &Client) {
    let Ok(live) = client.all::<Session>("/sessions", Query::default(), None).await else { return };
    let request = TerminateRequest { grace: Some(wharf_protocol::Dur::secs(2)) };
    let each = live
        .iter()
        .filter(|session| session.value.state != wharf_protocol::State::Ended)
        .map(|session| client.terminate(&session.value.id, &request, Duration::from_secs(20)));
    futures_util::future::join_all(each).await;
}
