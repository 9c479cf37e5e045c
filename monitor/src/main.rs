//! `wharf-monitor`: the small program beside the user's command inside a job.
//!
//! ```text
//! bootstrap file ─▶ monitor ─▶ the command, its terminal, its output (supervise, output, terminal)
//!                      └──── one outbound link to a launcher, dialled for ever (link)
//! ```
//!
//! It needs nothing on its host: static, no user database, no resolver library. It takes orders only from who can prove
//! to hold the launcher's key (a refusal comes before any proof, and is believed), takes the command's descendants
//! down with it, and exits with the command's own code.

mod backlog;
mod bootstrap;
mod cgroup;
mod detach;
mod endpoint;
mod exec;
mod link;
mod logs;
mod monitor;
mod output;
mod picked;
mod pty;
mod reaper;
mod screen;
mod spawn;
mod stop;
mod supervise;
mod terminal;
mod tree;
mod tunnel;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The program beside a session's command.
#[derive(Debug, Parser)]
#[command(name = "wharf-monitor", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a session
    Run {
        /// The bootstrap file
        #[arg(long, required_unless_present = "enrol")]
        bootstrap: Option<PathBuf>,
        /// Get it from a launcher, for the one-use secret on standard input
        #[arg(long, conflicts_with_all = ["bootstrap", "detach"])]
        enrol: bool,
        /// Leave the caller's process group, print the job id, and return
        #[arg(long)]
        detach: bool,
    },
    /// What `run --detach` starts
    #[command(hide = true)]
    Detached {
        #[arg(long)]
        bootstrap: PathBuf,
    },
    /// Tell of endpoints, from inside the session
    Endpoint {
        #[command(subcommand)]
        command: EndpointCommand,
    },
}

#[derive(Debug, Subcommand)]
enum EndpointCommand {
    /// Declare an endpoint
    Add {
        /// Its name
        name: String,
        /// http, tcp or vnc
        kind: String,
        /// A port on loopback, or the path of a Unix socket
        place: String,
        /// Its paths begin with /s/ID/NAME: none of it is taken off them
        #[arg(long)]
        prefix: bool,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run { bootstrap: Some(bootstrap), detach: true, .. } => {
            detach::detach(&bootstrap).map(|()| 0)
        }
        Command::Run { .. } if detach::is_marked() => Err(detach::unmark()),
        Command::Run { bootstrap: Some(bootstrap), .. } => supervise::run(&bootstrap),
        Command::Run { bootstrap: None, .. } => {
            link::enrol::enrol().and_then(|files| supervise::run(&files.bootstrap()))
        }
        Command::Detached { bootstrap } => detach::detached(&bootstrap).and_then(|own| {
            let code = supervise::run(&bootstrap);
            if let Some(own) = own {
                own.leave();
            }
            code
        }),
        Command::Endpoint { command: EndpointCommand::Add { name, kind, place, prefix } } => {
            endpoint::add(name, &kind, &place, prefix).map(|()| 0)
        }
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&error.to_string());
            ExitCode::from(78)
        }
    }
}

/// A line for whoever looks into the job's own log.
pub(crate) fn say(text: &str) {
    use std::io::Write as _;
    let plain: String = text.chars().map(|sign| if sign.is_control() { '\u{fffd}' } else { sign }).collect();
    // In one piece: what keeps logs may take each piece for a line.
    let _ = std::io::stderr().write_all(format!("wharf-monitor: {plain}\n").as_bytes());
}
