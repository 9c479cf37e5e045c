//! `purge`: forgets sessions that do not answer.

use super::Context;
use crate::args::Format;
use crate::args::session::Purge;
use crate::client::{CallError, Client};
use crate::failure::{Failure, Outcome, worst};
use crate::find;

pub(super) async fn run(context: &Context, args: Purge) -> Outcome {
    let client = context.client()?;
    let mut codes = Vec::new();
    for text in &args.ids {
        if let Err(failure) = one(context, &client, text).await {
            context.output.failure(&failure);
            codes.push(failure.exit_code());
        }
    }
    Ok(worst(codes))
}

async fn one(context: &Context, client: &Client, text: &str) -> Outcome<()> {
    let id = find::session(client, text).await?;
    client.purge(&id).await.map_err(|error| match error {
        CallError::Refused(mut problem) => {
            if problem.hint.is_none() && problem.code == wharf_protocol::ErrorCode::SessionReachable {
                problem.hint = Some(format!("end it with `wharf terminate {id}`"));
            }
            Failure::Problem(problem)
        }
        other @ (CallError::Absent(_) | CallError::Lost(_)) => other.into(),
    })?;
    match context.output.format {
        Format::Table => Ok(()),
        Format::Id => context.output.line(id.as_str()),
        Format::Json | Format::Jsonl => context.output.object(&serde_json::json!({ "id": id }), String::new),
    }
}
