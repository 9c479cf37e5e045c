//! `wait`, and waiting for a session in general.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use wharf_protocol::{ErrorCode, Phase, Problem, Session, SessionId, State};

use super::Context;
use crate::args::session::{Goal, Wait};
use crate::client::{Client, Reply};
use crate::failure::{Failure, Outcome};
use crate::find;
use crate::output::progress::{Progress, describe};
use crate::output::table;

/// How long one request waits.
const ROUND: Duration = Duration::from_secs(20);
/// How long a launcher may be away.
const AWAY: Duration = Duration::from_secs(60);
/// Between two tries to find it back.
const PAUSE: Duration = Duration::from_millis(500);
/// The exit code of what SIGINT ended.
const INTERRUPTED: u8 = 130;
/// Soon enough to have something to show.
const FIRST_ROUND: Duration = Duration::from_millis(300);
/// How long, while somebody looks at the progress line.
const SEEN_ROUND: Duration = Duration::from_secs(2);

pub(super) async fn run(context: &Context, args: Wait) -> Outcome {
    let client = context.client()?;
    let id = find::session(&client, &args.id).await?;
    let reply = until(context, &client, &id, args.state, args.timeout.map(|timeout| timeout.0)).await?;
    if context.output.format == crate::args::Format::Table {
        context.output.tip(&describe(&reply.value));
    } else {
        context.output.object(&reply.raw, || table::session(&context.output, &reply.value, &[]))?;
    }
    Ok(0)
}

/// What has become of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Yes,
    NotYet,
    Never,
}

fn reached(session: &Session, goal: Goal) -> Reached {
    match (goal, session.state) {
        (Goal::Submitted, State::Pending) if session.phase == Some(Phase::Submitted) => Reached::Yes,
        (Goal::Submitted | Goal::Running, State::Running) | (Goal::Ended, State::Ended) => Reached::Yes,
        (Goal::Submitted, State::Ended) if session.submitted_at.is_some() || session.started_at.is_some() => {
            Reached::Yes
        }
        (Goal::Submitted | Goal::Running, State::Ended) => Reached::Never,
        (Goal::Submitted | Goal::Running, State::Pending)
        | (Goal::Ended, State::Pending | State::Running) => Reached::NotYet,
    }
}

/// Waits until a session has come so far; on a terminal with a line that says what it waits for, and when the user gives
/// up waiting, with a word that the session does not.
pub(super) async fn until(
    context: &Context,
    client: &Client,
    id: &SessionId,
    goal: Goal,
    within: Option<Duration>,
) -> Outcome<Reply<Session>> {
    let began = Instant::now();
    let mut interrupts =
        context.output.error_terminal.then(|| signal(SignalKind::interrupt()).ok()).flatten();
    let progress = Progress::new(&context.output, "waiting");
    let mut round = FIRST_ROUND;
    let mut heard: Option<Instant> = None;
    loop {
        let left = within.map(|within| within.saturating_sub(began.elapsed()));
        let answer = tokio::select! {
            answer = client.wait(id, goal.as_str(), left.map_or(round, |left| left.min(round))) => answer,
            () = interrupt(&mut interrupts) => return Err(Failure::Coded(Box::new(given_up(id, goal)), INTERRUPTED)),
        };
        let reply = match answer {
            Ok(reply) => reply,
            // A launcher that was there is restarting: sessions go on meanwhile, and so does waiting for them.
            Err(failure)
                if is_away(&failure)
                    && heard.is_some_and(|at| at.elapsed() < AWAY)
                    && left.is_none_or(|left| !left.is_zero()) =>
            {
                tokio::time::sleep(left.map_or(PAUSE, |left| left.min(PAUSE))).await;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        heard = Some(Instant::now());
        match reached(&reply.value, goal) {
            Reached::Yes => return Ok(reply),
            Reached::Never => return Err(otherwise(&reply.value, goal).into()),
            Reached::NotYet => {}
        }
        if let Some(within) = within.filter(|within| began.elapsed() >= *within) {
            return Err(late(&reply.value, goal, within).into());
        }
        progress.update(&reply.value);
        round = if progress.is_shown() { SEEN_ROUND } else { ROUND };
    }
}

async fn interrupt(interrupts: &mut Option<Signal>) {
    match interrupts {
        Some(interrupts) => drop(interrupts.recv().await),
        None => std::future::pending().await,
    }
}

fn given_up(id: &SessionId, goal: Goal) -> Problem {
    let hint = format!(
        "end it with `wharf terminate {id}`, wait again with `wharf wait {id} --for {}`",
        goal.as_str()
    );
    Problem::new(ErrorCode::Deadline, "no longer waited for: the session goes on").hint(hint)
}

fn is_away(failure: &Failure) -> bool {
    match failure {
        Failure::Problem(problem) => problem.code == ErrorCode::NoLauncher,
        Failure::Coded(..) | Failure::Unread => false,
    }
}

fn late(session: &Session, goal: Goal, within: Duration) -> Problem {
    let within = wharf_protocol::Dur(within);
    Problem::new(
        ErrorCode::Deadline,
        format!("the session is not {} within {within}: {}", goal.as_str(), describe(session)),
    )
    .hint(format!("it goes on; wait again with `wharf wait {} --for {}`", session.id, goal.as_str()))
}

/// It ended, and will never come so far.
pub(super) fn otherwise(session: &Session, goal: Goal) -> Problem {
    let how = session.end.as_ref().map_or_else(
        || "without a word".to_owned(),
        |end| {
            let code = end.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
            let message = if end.message.is_empty() { String::new() } else { format!(": {}", end.message) };
            format!("({}{code}){message}", end.cause.as_str())
        },
    );
    // 502 makes it exit code 6: something else than was asked for came of it.
    Problem::new(ErrorCode::SessionEnded, format!("the session is not {}, it ended {how}", goal.as_str()))
        .status(502)
        .hint(format!("see `wharf history {0}` and `wharf logs {0}`", session.id))
}

#[cfg(test)]
mod tests;
