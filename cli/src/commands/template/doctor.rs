//! `template doctor`: whether a template can work on this host.

use serde_json::{Value, json};
use wharf_hooks::bench::Health;

use super::{Context, FAILED};
use crate::args::Format;
use crate::args::admin::TemplateCheck;
use crate::failure::Outcome;
use crate::output::escape;

pub(super) fn run(context: &Context, args: &TemplateCheck) -> Outcome {
    let bench = super::bench(context, &args.template)?;
    let all = bench.doctor().map_err(super::failure)?;
    let output = &context.output;
    if output.format == Format::Table {
        for Health { what, good, detail, hint } in &all {
            let word = super::test::mark(output, *good);
            output.line(&format!("{word}  {:<24} {}", escape::line(what), escape::line(detail)))?;
            if let Some(hint) = hint {
                output.line(&super::test::indented(&escape::lines(hint)))?;
            }
        }
    } else {
        let all: Vec<Value> = all
            .iter()
            .map(|found| {
                let level = if found.good { "ok" } else { "fail" };
                json!({ "id": found.what, "level": level, "detail": found.detail, "hint": found.hint })
            })
            .collect();
        output.list(&all, String::new)?;
    }
    Ok(if all.iter().all(|found| found.good) { 0 } else { FAILED })
}
