//! `attach`: a session's terminal on the user's own. It stays while the launcher is away, and goes on when that is back.

use std::time::Duration;

use tokio::time::Instant;
use wharf_protocol::stream::Exit;
use wharf_protocol::{EndCause, ErrorCode, SessionId, State};

use super::Context;
use crate::args::session::{Attach, DetachKey, Goal, RoleArg};
use crate::client::Client;
use crate::client::calls::Query;
use crate::client::stream::{Receiver, Sender};
use crate::failure::{Failure, Outcome};
use crate::find;
use crate::output::escape;
use crate::relay::{self, Ended, Plan, Position, Relay, Served};

/// Between two tries, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));
/// How long a session whose command was interrupted is waited for to be over.
const SETTLES: Duration = Duration::from_secs(4);
/// How long a launcher may be away.
const AWAY: Duration = Duration::from_secs(600);

pub(super) async fn run(context: &Context, args: Attach) -> Outcome {
    let client = context.client()?;
    let id = find::session(&client, &args.id).await?;
    let role = match args.role {
        RoleArg::View => "view",
        RoleArg::Control => "control",
    };
    enter(context, &client, &id, role, &args.detach).await
}

async fn open(
    client: &Client,
    id: &SessionId,
    role: &str,
    position: Position,
) -> Outcome<(Sender, Receiver)> {
    let query = Query::default().with("role", role).with("offset", position.query());
    client.stream(&format!("/sessions/{id}/attach{query}")).await
}

pub(super) async fn enter(
    context: &Context,
    client: &Client,
    id: &SessionId,
    role: &str,
    detach: &DetachKey,
) -> Outcome {
    let mut position = Position::default();
    let (mut sender, mut receiver) = open(client, id, role, position).await?;
    if let Some(key) = detach.detach_key.0 {
        context.output.tip(&format!("attached to {id}; Ctrl-{} leaves it running", char::from(key | 0x40)));
    }
    let plan =
        Plan { input: true, tty: true, detach: detach.detach_key.0, tell_end: false, leave_at_end: true };
    let mut relay = Relay::begin(plan).await?;
    let ended = loop {
        match relay.serve(sender, receiver, &mut position).await? {
            Served::Ended(ended) => break ended,
            Served::Lost(failure) => {
                match again(context, &mut relay, client, id, role, position, failure).await? {
                    Again::Open(streams) => (sender, receiver) = *streams,
                    Again::Over(ended) => break ended,
                }
            }
        }
    };
    // The terminal is given back before anything is said on it.
    drop(relay);
    Ok(match ended {
        Ended::Exit(exit) => {
            context.output.tip(&outcome(client, id).await);
            relay::code(exit)
        }
        Ended::Detached => {
            context.output.tip(&format!("left {id}; it goes on. Come back with: wharf attach {id}"));
            0
        }
        Ended::Told(code) => code,
    })
}

/// What became of a session whose command is over: not always its end, where a scheduler may start its job again.
async fn outcome(client: &Client, id: &SessionId) -> String {
    let Ok(reply) = client.wait(id, Goal::Ended.as_str(), SETTLES).await else {
        return format!("the command of {id} is over");
    };
    match reply.value.end {
        None => format!("{id} was interrupted, and may go on: see wharf show {id}"),
        Some(end) if matches!(end.cause, EndCause::Exited | EndCause::Terminated) => {
            format!("the session {id} has ended")
        }
        Some(end) => format!("the session {id} has ended: {}", escape::line(&end.message)),
    }
}

/// What became of a stream that broke off.
enum Again {
    Open(Box<(Sender, Receiver)>),
    Over(Ended),
}

/// Whether it may be otherwise in a moment.
fn passes(failure: &Failure) -> bool {
    let (Failure::Problem(problem) | Failure::Coded(problem, _)) = failure else { return false };
    matches!(
        problem.code,
        ErrorCode::NoLauncher
            | ErrorCode::Unreachable
            | ErrorCode::Unavailable
            | ErrorCode::RateLimited
            | ErrorCode::Deadline
    )
}

async fn again(
    context: &Context,
    relay: &mut Relay,
    client: &Client,
    id: &SessionId,
    role: &str,
    position: Position,
    mut failure: Failure,
) -> Outcome<Again> {
    let until = Instant::now() + AWAY;
    let (mut wait, most) = AGAIN;
    let mut said = false;
    while passes(&failure) && Instant::now() < until {
        if let Some(ended) = relay.pause(wait).await {
            return Ok(Again::Over(ended));
        }
        failure = match open(client, id, role, position).await {
            Ok(streams) => return Ok(Again::Open(Box::new(streams))),
            Err(failure) => failure,
        };
        if !said && wait > AGAIN.0 {
            said = true;
            // A line of its own on a terminal that passes everything on.
            let end = if relay.is_terminal() { "\r" } else { "" };
            context
                .output
                .tip(&format!("the launcher is out of reach; the session goes on, trying again{end}"));
        }
        wait = (wait * 2).min(most);
    }
    // It may have ended meanwhile.
    match client.session(id).await {
        Ok(reply) if reply.value.state == State::Ended => {
            let end = reply.value.end;
            let exit = end.map_or_else(Exit::default, |end| Exit { code: end.exit_code, signal: end.signal });
            Ok(Again::Over(Ended::Exit(exit)))
        }
        Ok(_) | Err(_) => Err(failure),
    }
}
