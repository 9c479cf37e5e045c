//! What each command does, one file each.
//!
//! A command asks the launcher ([`crate::client`]), prints through [`crate::output`], and gives its exit code or a
//! [`crate::failure::Failure`].

mod attach;
mod backend;
mod backup;
mod completions;
mod config;
mod connect;
mod disconnect;
mod doctor;
mod events;
mod exec;
mod extend;
mod forward;
mod history;
mod key;
mod list;
mod login;
mod logs;
mod man;
mod params;
mod purge;
mod share;
mod show;
mod start;
mod template;
mod terminate;
mod token;
mod trace;
mod wait;

use serde_json::Value;

use crate::args::{Command, Global};
use crate::client::{Client, Reply};
use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// What every command needs.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) output: Output,
}

impl Context {
    pub(crate) fn client(&self) -> Outcome<Client> {
        Client::new(&self.global)
    }
}

/// Runs a command to its exit code.
pub(crate) async fn run(context: &Context, command: Command) -> Outcome {
    if context.global.system {
        return Err(Failure::usage(
            "the launcher of the whole system (--system) is not there yet: run your own with `wharf serve`",
        ));
    }
    match command {
        Command::Start(args) => start::run(context, args).await,
        Command::List(args) => list::run(context, args).await,
        Command::Show(args) => show::run(context, args).await,
        Command::Wait(args) => wait::run(context, args).await,
        Command::Connect(args) => connect::run(context, args).await,
        Command::Attach(args) => attach::run(context, args).await,
        Command::Forward(args) => forward::run(context, args).await,
        Command::Disconnect(args) => disconnect::run(context, args).await,
        Command::Extend(args) => extend::run(context, args).await,
        Command::Share(args) => share::share(context, args).await,
        Command::Unshare(args) => share::unshare(context, args).await,
        Command::Exec(args) => exec::run(context, args).await,
        Command::Params(args) => params::run(context, args).await,
        Command::Logs(args) => logs::run(context, args).await,
        Command::Purge(args) => purge::run(context, args).await,
        Command::Terminate(args) => terminate::run(context, args).await,
        Command::History(args) => history::run(context, args).await,
        Command::Events(args) => events::run(context, args).await,
        Command::Template(command) => template::run(context, command).await,
        Command::Backend(command) => backend::run(context, command).await,
        Command::Trace(args) => trace::run(context, args).await,
        Command::Token(command) => token::run(context, command).await,
        Command::Login => login::run(context).await,
        Command::Key(command) => key::run(context, &command),
        Command::Serve(args) => crate::serve::run(context, args).await,
        Command::Demo(args) => crate::demo::run(context, args).await,
        Command::Config(command) => config::run(context, &command).await,
        Command::Backup(args) => backup::run(context, &args),
        Command::Doctor(_) => doctor::run(context).await,
        Command::Completions(args) => completions::run(context, &args),
        Command::Man(args) => man::run(context, &args),
    }
}

/// The documents of several replies.
fn documents<T>(replies: &[Reply<T>]) -> Vec<Value> {
    replies.iter().map(|reply| reply.raw.clone()).collect()
}

/// The values of several replies.
fn values<T: Clone>(replies: &[Reply<T>]) -> Vec<T> {
    replies.iter().map(|reply| reply.value.clone()).collect()
}
