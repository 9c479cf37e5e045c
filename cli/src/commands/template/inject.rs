//! `template test --inject`: hostile values have to stay data.

use wharf_hooks::bench::{Bench, InjectReport};

use super::test::{indented, mark};
use super::{Context, FAILED, failure};
use crate::args::Format;
use crate::failure::Outcome;
use crate::output::{Output, escape};

pub(super) async fn run(context: &Context, bench: &Bench) -> Outcome {
    let output = &context.output;
    let mut progress = |words: &str| output.tip(&format!("… {words}"));
    let report = bench.inject(&mut progress).await.map_err(failure)?;
    if output.format == Format::Table {
        print(output, bench, &report)?;
    } else {
        let mut document = serde_json::to_value(&report).unwrap_or_default();
        document["template"] = bench.name().into();
        output.object(&document, String::new)?;
    }
    Ok(if report.failures.is_empty() { 0 } else { FAILED })
}

fn print(output: &Output, bench: &Bench, report: &InjectReport) -> Outcome<()> {
    for (slot, values) in &report.refused {
        output.line(&format!("{}  {slot}: refused by a rule: {}", mark(output, true), values.join(", ")))?;
    }
    output.line(&format!(
        "{}  {} values arrived as data or were not used",
        mark(output, true),
        report.data
    ))?;
    for failure in &report.failures {
        let case = failure.case.as_deref().map_or_else(String::new, |case| format!(" ({case})"));
        output.line(&format!(
            "{}  {}{}: {} in {}",
            mark(output, false),
            failure.hook.as_str(),
            escape::line(&case),
            failure.value,
            escape::line(&failure.slot)
        ))?;
        output.line(&indented(&escape::lines(&failure.detail)))?;
    }
    output.note(&format!(
        "{}: {} runs of hooks, {} failures",
        bench.name(),
        report.runs,
        report.failures.len()
    ));
    Ok(())
}
