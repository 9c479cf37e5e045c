//! `terminate`: ends sessions, all at once, and waits for their ends.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use wharf_protocol::api::TerminateRequest;
use wharf_protocol::{Session, SessionId};

use super::{Context, wait};
use crate::args::Format;
use crate::args::session::{Goal, Terminate};
use crate::client::{Client, Reply};
use crate::failure::{Failure, Outcome, worst};
use crate::find;
use crate::output::progress::{Progress, describe};
use crate::output::table;

/// How long one request waits: longer than a grace and the hooks after it.
const WAIT: Duration = Duration::from_secs(600);

pub(super) async fn run(context: &Context, args: Terminate) -> Outcome {
    let client = context.client()?;
    let request = TerminateRequest { grace: args.grace };
    let progress =
        (!args.no_wait).then(|| Progress::new(&context.output, &format!("ending {}", args.ids.join(" "))));
    let (client, request, several) = (&client, &request, args.ids.len() > 1);
    let each = args.ids.iter().map(|text| async move {
        let outcome = one(context, client, text, request, args.no_wait).await;
        if several { outcome.map_err(|failure| named(failure, text)) } else { outcome }
    });
    let outcomes = join_all(each).await;
    drop(progress);
    let mut codes = Vec::new();
    let mut ended = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(reply) => ended.push(reply),
            Err(failure) => {
                context.output.failure(&failure);
                codes.push(failure.exit_code());
            }
        }
    }
    print(context, &ended, several)?;
    Ok(worst(codes))
}

async fn one(
    context: &Context,
    client: &Client,
    text: &str,
    request: &TerminateRequest,
    no_wait: bool,
) -> Outcome<Reply<Session>> {
    let id: SessionId = find::session(client, text).await?;
    let wait = if no_wait { Duration::ZERO } else { WAIT };
    let (over, reply) = client.terminate(&id, request, wait).await?;
    if over || no_wait {
        return Ok(reply);
    }
    wait::until(context, client, &id, Goal::Ended, None).await
}

/// Says which of several sessions a failure is about.
pub(super) fn named(failure: Failure, text: &str) -> Failure {
    match failure {
        Failure::Problem(mut problem) => {
            if !problem.detail.contains(text) {
                problem.detail = format!("{text}: {}", problem.detail);
            }
            Failure::Problem(problem)
        }
        other @ (Failure::Coded(..) | Failure::Unread) => other,
    }
}

fn print(context: &Context, ended: &[Reply<Session>], several: bool) -> Outcome<()> {
    match (context.output.format, ended) {
        // Done is done: scripts and people need no word of it.
        (Format::Table, _) => {
            for reply in ended {
                context.output.tip(&describe(&reply.value));
            }
            Ok(())
        }
        (Format::Json, [one]) if !several => {
            context.output.object(&one.raw, || table::session(&context.output, &one.value, &[]))
        }
        (Format::Json, []) if !several => Ok(()),
        (Format::Json | Format::Jsonl | Format::Id, _) => {
            let documents: Vec<Value> = ended.iter().map(|reply| reply.raw.clone()).collect();
            context.output.list(&documents, String::new)
        }
    }
}
