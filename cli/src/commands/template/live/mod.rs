//! `template test --live`: a conformance run on the real scheduler, with a launcher of its own.
//!
//! ```text
//! temporary data directory ─ launcher in this process ─ steps: through its API, and hooks asked directly ─ report
//!                                                          └ at the end nothing may be left of any session
//! ```
//!
//! Every session is real, and every one is ended before the program ends, whatever failed. The user's own launcher and
//! its data are not touched, but for the report, which is left there for the page.

mod look;
mod steps;

use std::os::unix::fs::DirBuilderExt as _;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wharf_core::clock::{Clock as _, SystemClock};
use wharf_hooks::bench::Bench;
use wharf_protocol::api::TerminateRequest;
use wharf_protocol::template::{LiveReport, LiveStep, StepResult};
use wharf_protocol::{Session, Time};

use super::test::{indented, mark, replace};
use super::{Context, failure};
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

/// The steps so far.
struct Report {
    output: Output,
    steps: Vec<LiveStep>,
    failed: usize,
}

impl Report {
    fn step(&mut self, name: &str, went: StepResult, detail: &str, began: Instant) -> Outcome<()> {
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.failed += usize::from(went == StepResult::Failed);
        let step = LiveStep { step: name.to_owned(), result: went, detail: detail.to_owned(), ms };
        match self.output.format {
            Format::Table => {
                let word = match went {
                    StepResult::Passed => mark(&self.output, true),
                    StepResult::Failed => mark(&self.output, false),
                    StepResult::Skipped => "skip".to_owned(),
                };
                let mut lines = detail.lines();
                let first = lines.next().unwrap_or_default();
                self.output.line(&format!("{word}  {name:<22} {} ({ms} ms)", escape::line(first)))?;
                let rest = lines.collect::<Vec<_>>().join("\n");
                if !rest.is_empty() {
                    self.output.line(&indented(&escape::lines(&rest)))?;
                }
            }
            Format::Jsonl => self.output.line(&crate::output::json::compact(&value(&step)))?,
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
    let report = document(bench, report, &node, began)?;
    let document = value(&report);
    if let Some(file) = &args.report {
        replace(file, &format!("{}\n", crate::output::json::pretty(&document)))?;
    }
    if context.output.format == Format::Json {
        context.output.object(&document, String::new)?;
    }
    if context.output.format == Format::Table {
        let steps = report.steps.len();
        let failed = report.steps.iter().filter(|step| step.result == StepResult::Failed).count();
        context.output.note(&format!("{}: {failed} of {steps} steps failed", bench.name()));
    }
    let code = if report.passed { 0 } else { super::FAILED };
    leave(context, report);
    Ok(code)
}

fn value<T: serde::Serialize>(of: &T) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

fn document(bench: &Bench, report: Report, node: &str, began: Time) -> Outcome<LiveReport> {
    let template = bench.template().map_err(failure)?;
    Ok(LiveReport {
        template: bench.name().to_owned(),
        version: template.version.clone(),
        backend: template.backend.clone(),
        scheduler: template.scheduler.clone(),
        wharf: env!("CARGO_PKG_VERSION").to_owned(),
        node: node.to_owned(),
        began_at: began,
        ended_at: SystemClock.now(),
        passed: report.failed == 0,
        outdated: false,
        steps: report.steps,
    })
}

/// Leaves the report where the user's launcher finds it. The run counts without it.
fn leave(context: &Context, report: LiveReport) {
    let kept = paths::data_dir(&context.global).and_then(|data| {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&data)
            .and_then(|()| wharf_core::reports::keep(&data, report))
            .map_err(|error| Failure::local("the report is not kept for the launcher", &error))
    });
    if let Err(failure) = kept {
        context.output.note(&look::words(failure));
    }
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
