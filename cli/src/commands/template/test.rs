//! `template test`: golden cases, and the doors to `--inject` and `--live`.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};
use wharf_hooks::bench::{Bench, BenchError, Case, CaseReport};
use wharf_protocol::{ErrorCode, Problem};

use super::{Context, FAILED, check, failure, inject, live, run};
use crate::args::Format;
use crate::args::admin::TemplateTest;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, escape};

pub(super) async fn test(context: &Context, args: TemplateTest) -> Outcome {
    let bench = super::bench(context, &args.template)?;
    bench.template().map_err(failure)?;
    if args.live {
        return live::run(context, &bench, &args).await;
    }
    if args.inject {
        return inject::run(context, &bench).await;
    }
    match &args.record {
        Some(hook) => record(context, &bench, hook, args.request.as_deref()).await,
        None => golden(context, &bench, &args).await,
    }
}

/// Runs a hook for real and writes what happened as a new case.
async fn record(context: &Context, bench: &Bench, hook: &str, file: Option<&Path>) -> Outcome {
    let Some(dir) = bench.dir() else {
        return Err(failure(BenchError::Shipped(bench.name().to_owned())));
    };
    let hook = run::hook(hook)?;
    let request = file.map(run::request).transpose()?.unwrap_or_else(|| json!({}));
    let case = bench.record(hook, &request).await.map_err(failure)?;
    replace(&dir.join(&case.file), &case.to_toml())?;
    context.output.object(&json!({ "id": case.file, "file": case.file }), || case.file.clone())?;
    context.output.tip("look at it before you keep it: it holds what your scheduler said");
    Ok(0)
}

async fn golden(context: &Context, bench: &Bench, args: &TemplateTest) -> Outcome {
    let output = &context.output;
    let (mut cases, findings) = bench.cases();
    if !findings.is_empty() {
        check::print(output, &findings)?;
        return Ok(FAILED);
    }
    if let Some(only) = &args.only {
        cases.retain(|case| case.file.contains(only.as_str()));
    }
    if cases.is_empty() {
        let which = args.only.as_ref().map_or_else(String::new, |only| format!(" of that name: {only}"));
        return Err(Problem::new(ErrorCode::Usage, format!("{} has no golden case{which}", bench.name()))
            .hint("write tests/NAME.toml, or record one: wharf template test DIR --record HOOK")
            .into());
    }
    let mut failed = 0;
    let mut reports = Vec::new();
    for case in &cases {
        if args.update {
            update(output, bench, case).await?;
            continue;
        }
        let report = bench.test(case).await.map_err(failure)?;
        failed += usize::from(!report.passed());
        print(output, &report)?;
        reports.push(document(&report));
    }
    if args.update {
        return Ok(0);
    }
    if output.format == Format::Json {
        output.list(&reports, String::new)?;
    }
    if output.format == Format::Table {
        let passed = cases.len() - failed;
        output.note(&format!("{}: {passed} of {} cases passed", bench.name(), cases.len()));
    }
    Ok(if failed > 0 { FAILED } else { 0 })
}

async fn update(output: &Output, bench: &Bench, case: &Case) -> Outcome<()> {
    let Some(dir) = bench.dir() else {
        return Err(failure(BenchError::Shipped(bench.name().to_owned())));
    };
    let renewed = bench.renewed(case).await.map_err(failure)?;
    let changed = renewed != *case;
    if changed {
        replace(&dir.join(&case.file), &renewed.to_toml())?;
    }
    match output.format {
        Format::Table => {
            output.line(&format!("{} {}", if changed { "updated  " } else { "unchanged" }, case.file))
        }
        Format::Json | Format::Jsonl | Format::Id => {
            output.object(&json!({ "file": case.file, "updated": changed }), String::new)
        }
    }
}

/// Written whole, then renamed.
pub(super) fn replace(path: &Path, text: &str) -> Outcome<()> {
    let write = || -> io::Result<()> {
        let dir = path.parent().unwrap_or(path);
        fs::create_dir_all(dir)?;
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|error| Failure::local(&path.display().to_string(), &error))
}

fn document(report: &CaseReport) -> Value {
    json!({
        "file": report.file,
        "hook": report.hook,
        "passed": report.passed(),
        "differences": report.differences,
        "log": report.log,
        "ms": u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
    })
}

fn print(output: &Output, report: &CaseReport) -> Outcome<()> {
    match output.format {
        Format::Json => return Ok(()),
        Format::Jsonl | Format::Id => return output.line(&crate::output::json::compact(&document(report))),
        Format::Table => {}
    }
    output.line(&format!(
        "{}  {:<14} {} ({} ms)",
        mark(output, report.passed()),
        report.hook.as_str(),
        escape::line(&report.file),
        report.took.as_millis()
    ))?;
    for difference in &report.differences {
        output.line(&indented(&escape::lines(difference)))?;
    }
    if !report.passed() && !report.log.trim().is_empty() {
        output.line(&indented(&format!("its log:\n{}", escape::lines(report.log.trim_end()))))?;
    }
    Ok(())
}

pub(super) fn mark(output: &Output, good: bool) -> String {
    match (good, output.colour()) {
        (true, true) => "\u{1b}[32mok  \u{1b}[0m".to_owned(),
        (false, true) => "\u{1b}[31mFAIL\u{1b}[0m".to_owned(),
        (true, false) => "ok  ".to_owned(),
        (false, false) => "FAIL".to_owned(),
    }
}

pub(super) fn indented(text: &str) -> String {
    text.lines().map(|line| format!("      {line}")).collect::<Vec<_>>().join("\n")
}
