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
    /// Make a template to start from
    New(TemplateNew),
    /// Look for everything that is wrong with a template
    Check(TemplateCheck),
    /// Try a template: golden cases, hostile values, the real scheduler
    Test(TemplateTest),
    /// Run one hook, and print its result
    Run(TemplateRun),
    /// Print the types of hooks for editors
    Types(TemplateTypes),
    /// Look whether a template can work on this host
    Doctor(TemplateCheck),
}

/// `template new`.
#[derive(Debug, Args)]
pub(crate) struct TemplateNew {
    /// The new template's name
    pub(crate) name: String,
    /// The shipped template to copy
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) from: Option<String>,
    /// Where to write it
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
}

/// `template check` and `template doctor`.
#[derive(Debug, Args)]
pub(crate) struct TemplateCheck {
    /// A template's directory, or the name of one
    #[arg(value_name = "DIR|NAME")]
    pub(crate) template: String,
}

const TEST_EXAMPLES: &str = "\
Examples:
  wharf template test ./mybatch                     run tests/*.toml; commands are mocked, nothing runs
  wharf template test ./mybatch --update            write the expectations anew, then look at the difference
  wharf template test ./mybatch --record find       run the hook for real, and keep it as a new case
  wharf template test ./mybatch --inject            hostile values have to arrive as data
  wharf template test ./mybatch --live              a conformance run on the real scheduler";

/// `template test`.
#[derive(Debug, Args)]
#[command(after_help = TEST_EXAMPLES)]
pub(crate) struct TemplateTest {
    /// A template's directory, or the name of one
    #[arg(value_name = "DIR|NAME")]
    pub(crate) template: String,
    /// Only cases whose file holds this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// Write the cases' expectations anew
    #[arg(long, conflicts_with_all = ["record", "inject", "live"])]
    pub(crate) update: bool,
    /// Run this hook for real and write what happened as a new case
    #[arg(long, value_name = "HOOK", conflicts_with_all = ["inject", "live", "only"])]
    pub(crate) record: Option<String>,
    /// The request of --record: JSON, laid over the usual one
    #[arg(long, value_name = "FILE", requires = "record")]
    pub(crate) request: Option<PathBuf>,
    /// Feed hostile values to every parameter, name, tag and command
    #[arg(long, conflicts_with = "live")]
    pub(crate) inject: bool,
    /// Start, find, ask, enter and end real sessions, with a launcher of its own
    #[arg(long)]
    pub(crate) live: bool,
    /// Parameters of the sessions of --live
    #[arg(short = 'p', long = "param", value_name = "K=V", value_parser = super::Pair::parse, requires = "live")]
    pub(crate) params: Vec<super::Pair>,
    /// Keep the report of --live in this file, as JSON
    #[arg(long, value_name = "FILE", requires = "live")]
    pub(crate) report: Option<PathBuf>,
}

/// `template run`.
#[derive(Debug, Args)]
pub(crate) struct TemplateRun {
    /// A template's directory, or the name of one
    #[arg(value_name = "DIR|NAME")]
    pub(crate) template: String,
    /// The hook
    pub(crate) hook: String,
    /// The request: JSON, laid over the usual one; - for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) request: Option<PathBuf>,
    /// A parameter of the session
    #[arg(short = 'p', long = "param", value_name = "K=V", value_parser = super::Pair::parse)]
    pub(crate) params: Vec<super::Pair>,
    /// Show every command and document that would go; nothing runs
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `template types`.
#[derive(Debug, Args)]
pub(crate) struct TemplateTypes {
    /// A JSON Schema instead of the Lua types: `template`, or a hook's `NAME.request` or `NAME.result`
    #[arg(long, value_name = "NAME")]
    pub(crate) schema: Option<String>,
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
