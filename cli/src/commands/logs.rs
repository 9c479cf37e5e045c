//! `logs`: what a session's command wrote.

use wharf_protocol::{ErrorCode, Problem};

use super::Context;
use crate::args::session::Logs;
use crate::client::calls::Query;
use crate::failure::{Failure, Outcome};
use crate::find;
use crate::output::escape::Tamed;

pub(super) async fn run(context: &Context, args: Logs) -> Outcome {
    let client = context.client()?;
    let id = find::session(&client, &args.id).await?;
    let mut query = Query::default().with("stream", args.stream.as_str()).with_some("tail", args.tail);
    if args.follow {
        query = query.with("follow", true);
    }
    let mut pieces = client.text(&format!("/sessions/{id}/logs{query}")).await?;
    let mut tamed = Tamed::default();
    while let Some(bytes) = pieces.next().await.map_err(|_| broke_off())? {
        // Piped, the bytes are the command's own; on a terminal they must not move anything.
        if context.output.terminal {
            context.output.bytes(tamed.feed(&bytes).as_bytes())?;
        } else {
            context.output.bytes(&bytes)?;
        }
    }
    Ok(0)
}

/// Told from an end: there is more, or there will be.
fn broke_off() -> Failure {
    Problem::new(ErrorCode::Unreachable, "the output broke off: the session's link or the launcher was lost")
        .hint("`wharf show` tells how the session is; ask for the logs again once it is back")
        .into()
}
