//! Commands about the launcher, its templates and its keys.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use wharf_protocol::Dur;

use super::parse_duration;

/// `template`.
#[derive(Debug, Subcommand)]
pub(crate) enum TemplateCommand {
    /// List templates and whether they can be used
    #[command(visible_alias = "ls")]
    List,
    /// Show a template's parameters and findings
    Show {
        /// Its name
        name: String,
    },
}

/// `backend`.
#[derive(Debug, Subcommand)]
pub(crate) enum BackendCommand {
    /// List backends and their health
    #[command(visible_alias = "ls")]
    List,
}

/// `trace`.
#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// The trace's id, as an error or `wharf history` names it
    #[arg(value_name = "TRACE_ID")]
    pub(crate) id: String,
}

/// `token`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token; it is printed once
    Create(TokenCreate),
    /// List tokens, without their secrets
    #[command(visible_alias = "ls")]
    List,
    /// Revoke a token and cut what it has open
    Revoke {
        /// The token's id
        id: String,
    },
}

/// `token create`.
#[derive(Debug, Args)]
pub(crate) struct TokenCreate {
    /// A label
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The user it acts as; needed for the scope `guest`
    #[arg(long, required_if_eq("scope", "guest"))]
    pub(crate) user: Option<String>,
    /// What it may do
    #[arg(long, value_enum, default_value = "full")]
    pub(crate) scope: ScopeArg,
    /// For so long
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub(crate) expires: Option<Dur>,
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeArg {
    /// Everything the owner may
    Full,
    /// See what the owner sees
    Read,
    /// Act as its user on what is shared with that user
    Guest,
}

/// `key`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a new signing key; the one before stays good
    Rotate,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  wharf serve                                       your own launcher, no configuration needed
  wharf serve --templates ./templates               with the site's templates before the shipped ones
  wharf serve --listen https://0.0.0.0:8443         for other hosts ([tls] in wharf.toml)

When it accepts requests it prints one line of JSON on standard output. SIGTERM stops it and touches
no session; SIGHUP reads configuration and templates again.";

/// `serve`.
#[derive(Debug, Default, Args)]
#[command(after_help = SERVE_EXAMPLES)]
pub(crate) struct Serve {
    /// A directory of templates, before the configured and the shipped ones
    #[arg(long, value_name = "DIR")]
    pub(crate) templates: Vec<PathBuf>,
    /// Listen only here: unix:PATH, http://HOST:PORT or https://HOST:PORT
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<String>,
    /// Allow plain http beyond loopback
    #[arg(long)]
    pub(crate) insecure_http: bool,
}

/// `demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Exit after the last step
    #[arg(long)]
    pub(crate) once: bool,
}

/// `config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration file
    Check,
    /// Print the configuration in force
    Show {
        /// Every key with its default and what it means
        #[arg(long)]
        default: bool,
    },
}

/// `backup`.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The new file; must not exist
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// `doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {}

/// `completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// `man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write one page for each command into this directory instead
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
