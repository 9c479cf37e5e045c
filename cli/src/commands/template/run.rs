//! `template run`: one hook, really or dry.

use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};
use wharf_core::hook::Hook;
use wharf_hooks::bench::{Asked, Planned, RunError, RunReport};
use wharf_protocol::{ErrorCode, Problem};

use super::{Context, FAILED, failure};
use crate::args::Format;
use crate::args::admin::TemplateRun;
use crate::failure::{Failure, Outcome};
use crate::output::{escape, json};
use crate::user;

pub(super) async fn run(context: &Context, args: TemplateRun) -> Outcome {
    let bench = super::bench(context, &args.template)?;
    let hook = hook(&args.hook)?;
    let params = args.params.iter().map(|pair| (pair.key.clone(), Value::from(pair.value.clone()))).collect();
    let request = args.request.as_deref().map(request).transpose()?;
    let asked = Asked { request, params, user: (!args.dry_run).then(user::current) };
    let ran = if args.dry_run { bench.dry_run(hook, &asked).await } else { bench.run(hook, &asked).await };
    let report = ran.map_err(|error| match error {
        RunError::Params(_) => Failure::usage(error.to_string()),
        RunError::Bench(error) => failure(error),
    })?;
    let output = &context.output;
    if output.format == Format::Table && !report.log.trim().is_empty() {
        output.note(report.log.trim_end());
    }
    if args.dry_run && output.format == Format::Table {
        output.bytes(dry(&report).as_bytes())?;
    } else {
        let document = document(&report, args.dry_run);
        let text = match output.format {
            Format::Table | Format::Json => json::pretty(&document),
            Format::Jsonl | Format::Id => json::compact(&document),
        };
        output.line(&text)?;
    }
    let failed = matches!(report.outcome, Some(Err(_)));
    Ok(if failed && !args.dry_run { FAILED } else { 0 })
}

/// The hook of that name.
pub(super) fn hook(word: &str) -> Outcome<Hook> {
    Hook::ALL.into_iter().find(|hook| hook.as_str() == word).ok_or_else(|| {
        let all: Vec<_> = Hook::ALL.into_iter().map(Hook::as_str).collect();
        let near = all.iter().map(|known| (strsim::damerau_levenshtein(word, known), *known)).min();
        let hint = match near {
            Some((distance, near)) if distance <= 3 => format!("did you mean {near}?"),
            _ => format!("there are: {}", all.join(", ")),
        };
        Problem::new(ErrorCode::Usage, format!("there is no hook {word}")).hint(hint).into()
    })
}

/// A request out of a file; `-` is standard input.
pub(super) fn request(file: &Path) -> Outcome<Value> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{} is no JSON: {error}", file.display())))?;
    // The whole document that an executable gets is good as well.
    let request = value.get("request").cloned().unwrap_or(value);
    if request.is_object() {
        Ok(request)
    } else {
        Err(Failure::usage(format!("{}: a request is an object", file.display())))
    }
}

fn document(report: &RunReport, dry: bool) -> Value {
    let mut document = match &report.outcome {
        Some(Ok(result)) => json!({ "result": result }),
        Some(Err(error)) => json!({ "error": error }),
        None => json!({}),
    };
    if dry {
        document["commands"] = json!(report.commands);
        document["documents"] = json!(report.documents);
    }
    document
}

fn dry(report: &RunReport) -> String {
    let mut text = String::new();
    let mut line = |words: &str| {
        text.push_str(words);
        text.push('\n');
    };
    for command in &report.commands {
        let Planned { argv, stdin, env, effect } = command;
        let words: Vec<String> = argv.iter().map(|word| super::word(word)).collect();
        line(&format!("would run ({effect}): {}", escape::line(&words.join(" "))));
        for (name, value) in env {
            line(&format!("    with {name}={}", escape::line(&super::word(value))));
        }
        if !stdin.is_empty() {
            line("    standard input:");
            stdin.lines().for_each(|words| line(&format!("      | {}", escape::line(words))));
        }
    }
    if report.commands.is_empty() {
        line("would run nothing");
    }
    for (name, content) in &report.documents {
        line(&format!("document {}:", escape::line(name)));
        content.lines().for_each(|words| line(&format!("      | {}", escape::line(words))));
    }
    line(&match &report.outcome {
        Some(Ok(result)) => {
            format!("result, as every command answered empty: {}", escape::json(&result.to_string()))
        }
        Some(Err(error)) => {
            format!("error, as every command answered empty: {}", escape::json(&error.to_string()))
        }
        None => "an executable is not started in a dry run, unless its template says [hooks] dry_run = true"
            .to_owned(),
    });
    text
}
