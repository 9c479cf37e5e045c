//! `exec`: a command inside a session, with its streams and its exit code.

use std::io::IsTerminal as _;

use wharf_protocol::stream::{ClientControl, ExecStart};

use super::Context;
use crate::args::session::Exec;
use crate::failure::{Failure, Outcome};
use crate::relay::{self, Ended, Plan};
use crate::{find, terminal};

/// A failure of ours, which must not look like one of the command.
const OWN: u8 = 125;

pub(super) async fn run(context: &Context, args: Exec) -> Outcome {
    exec(context, args).await.map_err(|failure| match failure {
        Failure::Problem(problem) | Failure::Coded(problem, _) => Failure::Coded(problem, OWN),
        Failure::Unread => Failure::Unread,
    })
}

async fn exec(context: &Context, args: Exec) -> Outcome {
    if args.tty && args.interactive && !std::io::stdin().is_terminal() {
        return Err(Failure::usage("-it needs a terminal on standard input; use -i to pass it on as it is"));
    }
    let client = context.client()?;
    let id = find::session(&client, &args.id).await?;
    let size = if args.tty { terminal::size() } else { None };
    let mut env = std::collections::BTreeMap::new();
    if args.tty
        && let Ok(term) = std::env::var("TERM")
    {
        env.insert("TERM".to_owned(), term);
    }
    env.extend(args.env.into_iter().map(|pair| (pair.key, pair.value)));
    let start = ExecStart {
        argv: args.command,
        tty: args.tty,
        rows: size.map(|size| size.rows),
        cols: size.map(|size| size.cols),
        env,
        cwd: args.cwd,
    };
    let (mut sender, receiver) = client.stream(&format!("/sessions/{id}/exec")).await?;
    sender.control(&ClientControl::Start(start)).await?;
    let plan = Plan {
        input: args.interactive,
        tty: args.tty,
        detach: args.detach.detach_key.0.filter(|_| args.tty),
        tell_end: !args.tty || !args.interactive,
        leave_at_end: false,
    };
    Ok(match relay::run(sender, receiver, plan).await? {
        Ended::Exit(exit) => relay::code(exit),
        Ended::Detached => 0,
        Ended::Told(code) => code,
    })
}
