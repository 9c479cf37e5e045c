//! `template new` and `template types`.

use serde_json::json;
use wharf_hooks::bench::{self, NewError};
use wharf_protocol::{ErrorCode, Problem};

use super::Context;
use crate::args::admin::{TemplateNew, TemplateTypes};
use crate::failure::{Failure, Outcome};

pub(super) fn new(context: &Context, args: &TemplateNew) -> Outcome {
    let made = bench::new_template(&args.name, args.from.as_deref(), &args.dir, wharf_hooks::builtin());
    let place = made.map_err(|error| {
        let detail = error.to_string();
        match error {
            NewError::Exists(_) => Problem::new(ErrorCode::AlreadyExists, detail)
                .hint("nothing was changed: choose another name, or another directory"),
            NewError::Name(_) => Problem::new(ErrorCode::Usage, detail),
            NewError::Unknown { .. } => Problem::new(ErrorCode::NotFound, detail),
            NewError::Io { .. } => Problem::new(ErrorCode::Internal, detail),
        }
    })?;
    let shown = place.display().to_string();
    context.output.object(&json!({ "id": args.name, "name": args.name, "path": place }), || shown.clone())?;
    context.output.tip(&format!(
        "next: edit {shown}/template.toml and its hooks, then\n  wharf template check {shown}\n  wharf template test {shown}"
    ));
    Ok(0)
}

pub(super) fn types(context: &Context, args: &TemplateTypes) -> Outcome {
    match &args.schema {
        None => context.output.bytes(bench::lua_types().as_bytes())?,
        Some(name) => {
            let schema = bench::schema(name).ok_or_else(|| {
                let all = bench::schema_names().join(", ");
                Failure::from(
                    Problem::new(ErrorCode::Usage, format!("there is no schema {name}"))
                        .hint(format!("there are: {all}")),
                )
            })?;
            context.output.line(&crate::output::json::pretty(&schema))?;
        }
    }
    Ok(0)
}
