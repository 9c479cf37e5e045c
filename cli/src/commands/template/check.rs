//! `template check`: all findings at once.

use serde_json::Value;
use wharf_protocol::template::{Finding, Severity};

use super::{Context, FAILED};
use crate::args::Format;
use crate::args::admin::TemplateCheck;
use crate::failure::Outcome;
use crate::output::{Output, escape};

pub(super) fn run(context: &Context, args: &TemplateCheck) -> Outcome {
    let bench = super::bench(context, &args.template)?;
    let findings = bench.check();
    let errors = print(&context.output, &findings)?;
    if context.output.format == Format::Table {
        let warnings = findings.len() - errors;
        let word = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        context.output.note(&match (errors, warnings) {
            (0, 0) => format!("{}: nothing is wrong", bench.name()),
            (errors, warnings) => {
                format!("{}: {}, {}", bench.name(), word(errors, "error"), word(warnings, "warning"))
            }
        });
    }
    Ok(if errors > 0 { FAILED } else { 0 })
}

/// Prints findings; how many errors there are.
pub(super) fn print(output: &Output, findings: &[Finding]) -> Outcome<usize> {
    if output.format == Format::Table {
        for finding in findings {
            output.line(&line(output, finding))?;
        }
    } else {
        let all: Vec<Value> =
            findings.iter().map(|finding| serde_json::to_value(finding).unwrap_or_default()).collect();
        output.list(&all, String::new)?;
    }
    Ok(findings.iter().filter(|finding| finding.severity == Severity::Error).count())
}

fn line(output: &Output, finding: &Finding) -> String {
    let place = match finding.line {
        Some(line) => format!("{}:{line}", finding.file),
        None => finding.file.clone(),
    };
    let (word, colour) = match finding.severity {
        Severity::Error => ("error", "31"),
        Severity::Warning => ("warning", "33"),
    };
    let word = if output.colour() { format!("\u{1b}[{colour}m{word}\u{1b}[0m") } else { word.to_owned() };
    format!("{}: {word}: {} [{}]", escape::line(&place), escape::line(&finding.message), finding.code)
}
