//! The command line's grammar (CONTRACT section 4).
//!
//! Shapes and texts only: what a word means is in `commands/`. Sessions' own commands are in [`session`], those of
//! the administrator in [`admin`].

pub(crate) mod admin;
pub(crate) mod session;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use wharf_protocol::Dur;

const EXAMPLES: &str = "\
Examples:
  wharf demo                                  see it work, in a directory that goes away
  wharf serve                                 start your own launcher
  wharf start shell --wait -- bash -l         start a session and wait until it runs
  wharf attach NAME                           enter its terminal; Ctrl-] leaves it running
  wharf list --output json                    for programs

Exit codes:
  0 done · 1 internal · 2 usage · 3 not found · 4 wrong state · 5 not allowed
  6 a hook or backend failed, or a session ended otherwise · 7 unavailable or timed out";

/// Starts sessions through hooks, and gives you a way in
#[derive(Debug, Parser)]
#[command(name = "wharf", version, after_help = EXAMPLES, arg_required_else_help = true, max_term_width = 110)]
#[command(infer_long_args = false, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Where the launcher is: unix:PATH, http://HOST:PORT or https://HOST:PORT
    #[arg(long, global = true, value_name = "ADDR", env = "WHARF_SERVER", hide_env_values = true)]
    pub(crate) server: Option<String>,
    /// A file that holds the API token; WHARF_TOKEN holds it itself
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// How results are printed
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value = "table")]
    pub(crate) output: Format,
    /// The launcher of the whole machine (not there yet)
    #[arg(long, global = true)]
    pub(crate) system: bool,
    /// The configuration file [default: $XDG_CONFIG_HOME/wharf/wharf.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The data directory [default: $XDG_DATA_HOME/wharf]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// The API's object, or an array of them
    Json,
    /// One object a line
    Jsonl,
    /// Ids only, one a line
    Id,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a session of a template
    Start(session::Start),
    /// List sessions, newest first
    #[command(visible_alias = "ls")]
    List(session::List),
    /// Show a session in full
    Show(session::One),
    /// Wait until a session has come so far
    Wait(session::Wait),
    /// Show the ways into a session, as it answers now
    Connect(session::Connect),
    /// Enter a session's terminal
    Attach(session::Attach),
    /// Reach an endpoint of a session by a port of this host
    Forward(session::Forward),
    /// Cut users' streams; the session goes on
    Disconnect(session::Disconnect),
    /// Give a session's job more time
    Extend(session::Extend),
    /// Let others into a session
    Share(session::Share),
    /// Take a share back
    Unshare(session::Unshare),
    /// Run a command inside a session
    Exec(session::Exec),
    /// Show or change a session's parameters
    Params(session::Params),
    /// Print what a session's command wrote
    Logs(session::Logs),
    /// Forget sessions that do not answer
    Purge(session::Purge),
    /// End sessions
    Terminate(session::Terminate),
    /// Tell what happened to a session
    History(session::One),
    /// Follow all changes, one JSON object a line
    Events(session::Events),
    /// Look at templates
    #[command(subcommand)]
    Template(admin::TemplateCommand),
    /// Look at backends
    #[command(subcommand)]
    Backend(admin::BackendCommand),
    /// Show one hook run in full
    Trace(admin::Trace),
    /// Make, list and revoke API tokens
    #[command(subcommand)]
    Token(admin::TokenCommand),
    /// Print an address that signs you in to the web page, once
    Login,
    /// Look after the signing keys
    #[command(subcommand)]
    Key(admin::KeyCommand),
    /// Run a launcher
    Serve(admin::Serve),
    /// See Wharf work, in a directory that goes away
    Demo(admin::Demo),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(admin::ConfigCommand),
    /// Copy the datastore, also while a launcher works on it
    Backup(admin::Backup),
    /// Look for what keeps a launcher from working here
    Doctor(admin::Doctor),
    /// Print the completion script of a shell
    Completions(admin::Completions),
    /// Print the manual page
    Man(admin::Man),
}

/// `K=V`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl Pair {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            _ => Err("write it as KEY=VALUE".to_owned()),
        }
    }

    /// `K=V`, or `K` for the value that our own environment has.
    pub(crate) fn parse_env(text: &str) -> Result<Self, String> {
        if text.contains('=') {
            return Self::parse(text);
        }
        match std::env::var(text) {
            Ok(value) => Ok(Self { key: text.to_owned(), value }),
            Err(std::env::VarError::NotPresent) => {
                Err(format!("{text} is not set here; write it as {text}=VALUE"))
            }
            Err(std::env::VarError::NotUnicode(_)) => Err(format!("the value of {text} is no text")),
        }
    }
}

pub(crate) fn parse_duration(text: &str) -> Result<Dur, String> {
    text.parse::<Dur>().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
