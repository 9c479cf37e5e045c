//! `params`: shows or changes a session's parameters.

use serde_json::Value;
use wharf_protocol::session::Params as Values;

use super::Context;
use crate::args::Format;
use crate::args::session::{Change, Params};
use crate::failure::{Failure, Outcome};
use crate::{find, output::table};

pub(super) async fn run(context: &Context, args: Params) -> Outcome {
    let client = context.client()?;
    let id = find::session(&client, &args.id).await?;
    let reply = if args.changes.is_empty() {
        client.params(&id).await?
    } else {
        client.patch_params(&id, &patch(args.changes)?, args.if_rev).await?
    };
    if context.output.format == Format::Id {
        return context.output.line(id.as_str()).map(|()| 0);
    }
    context.output.object(&reply.raw, || table::params(&context.output, &reply.value.params))?;
    Ok(0)
}

/// A merge patch: `null` removes.
fn patch(changes: Vec<Change>) -> Outcome<Values> {
    let mut patch = Values::new();
    for Change { key, value } in changes {
        if patch.insert(key.clone(), value.map_or(Value::Null, Value::from)).is_some() {
            return Err(Failure::usage(format!("{key} is given twice")));
        }
    }
    Ok(patch)
}
