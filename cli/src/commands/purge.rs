//! `purge`: forgets sessions that do not answer.

use serde_json::{Value, json};
use wharf_protocol::SessionId;

use super::Context;
use super::terminate::named;
use crate::args::Format;
use crate::args::session::Purge;
use crate::client::{CallError, Client};
use crate::failure::{Failure, Outcome, worst};
use crate::find;

pub(super) async fn run(context: &Context, args: Purge) -> Outcome {
    let client = context.client()?;
    let (mut codes, mut purged) = (Vec::new(), Vec::new());
    for text in &args.ids {
        match one(&client, text).await {
            Ok(id) => purged.push(id),
            Err(failure) => {
                let failure = if args.ids.len() > 1 { named(failure, text) } else { failure };
                context.output.failure(&failure);
                codes.push(failure.exit_code());
            }
        }
    }
    let documents: Vec<Value> = purged.iter().map(|id| json!({ "id": id })).collect();
    match (context.output.format, &documents[..]) {
        (Format::Table, _) => {}
        (Format::Json, [one]) if args.ids.len() == 1 => context.output.object(one, String::new)?,
        (Format::Json, []) if args.ids.len() == 1 => {}
        _ => context.output.list(&documents, String::new)?,
    }
    Ok(worst(codes))
}

async fn one(client: &Client, text: &str) -> Outcome<SessionId> {
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
    Ok(id)
}
