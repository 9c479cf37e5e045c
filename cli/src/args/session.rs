//! Commands about sessions.

use clap::{Args, ValueEnum};
use wharf_protocol::Dur;

use super::{Pair, parse_duration};

const START_EXAMPLES: &str = "\
Examples:
  wharf start shell                               the template's own command
  wharf start shell --tty -- bash -l              a login shell in a terminal
  wharf start slurm -p partition=gpu --wait=10m   give up waiting after ten minutes; the session stays
  id=$(wharf start shell -- make -j8)             prints nothing but the id";

/// `start`.
#[derive(Debug, Args)]
#[command(after_help = START_EXAMPLES)]
pub(crate) struct Start {
    /// The template, see `wharf template list`
    pub(crate) template: String,
    /// A parameter of the template
    #[arg(short = 'p', long = "param", value_name = "K=V", value_parser = Pair::parse)]
    pub(crate) params: Vec<Pair>,
    /// A name for the session
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A tag to find it by
    #[arg(long = "tag", value_name = "K=V", value_parser = Pair::parse)]
    pub(crate) tags: Vec<Pair>,
    /// A variable for the command; without a value the one that is set here
    #[arg(long = "env", value_name = "K[=V]", value_parser = Pair::parse_env)]
    pub(crate) env: Vec<Pair>,
    /// An idempotency key: the same key starts one session however often it is asked
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Wait until it runs, at most so long
    #[arg(long, value_name = "DUR", num_args = 0..=1, require_equals = true, value_parser = parse_duration)]
    pub(crate) wait: Option<Option<Dur>>,
    /// Enter its terminal as soon as it runs
    #[arg(long, conflicts_with = "no_tty")]
    pub(crate) attach: bool,
    /// Give the command a terminal
    #[arg(long, overrides_with = "no_tty")]
    pub(crate) tty: bool,
    /// Give the command no terminal
    #[arg(long, overrides_with = "tty")]
    pub(crate) no_tty: bool,
    /// What to run instead of the template's default
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

const LIST_EXAMPLES: &str = "\
Examples:
  wharf list                           all live sessions
  wharf list --all                     those that have ended too
  wharf list --tag project=fluid --output id";

/// `list`.
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(crate) struct List {
    /// Ended sessions too
    #[arg(long, conflicts_with = "state")]
    pub(crate) all: bool,
    /// Only sessions in this state
    #[arg(long, value_enum)]
    pub(crate) state: Vec<StateArg>,
    /// Only of this template
    #[arg(long)]
    pub(crate) template: Option<String>,
    /// Only of this owner
    #[arg(long)]
    pub(crate) owner: Option<String>,
    /// Only of this name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Only with this tag; several must all be there
    #[arg(long = "tag", value_name = "K=V", value_parser = Pair::parse)]
    pub(crate) tags: Vec<Pair>,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
}

/// A session's state, as `--state` takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateArg {
    Pending,
    Running,
    Ended,
}

impl StateArg {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Ended => "ended",
        }
    }
}

/// Commands that take a session and nothing else.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// The session: its id, a prefix of at least four characters, or its name
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

/// `wait`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 there, or beyond it · 6 it ended otherwise · 7 not in time")]
pub(crate) struct Wait {
    /// The session
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// What to wait for
    #[arg(long = "for", value_name = "STATE", value_enum)]
    pub(crate) state: Goal,
    /// Give up after this
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub(crate) timeout: Option<Dur>,
}

/// What `wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Goal {
    /// The scheduler has it
    Submitted,
    /// It runs
    Running,
    /// It is over
    Ended,
}

impl Goal {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Running => "running",
            Self::Ended => "ended",
        }
    }
}

/// View or control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    /// See only
    View,
    /// See, type and use
    Control,
}

/// `connect`.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// The session
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Only this way in
    pub(crate) endpoint: Option<String>,
    /// At most this role
    #[arg(long, value_enum)]
    pub(crate) role: Option<RoleArg>,
    /// Open the application in a browser ($BROWSER, else the desktop's own)
    #[arg(long)]
    pub(crate) open: bool,
    /// Wait until it runs, at most so long
    #[arg(long, value_name = "DUR", num_args = 0..=1, require_equals = true, value_parser = parse_duration)]
    pub(crate) wait: Option<Option<Dur>>,
}

const FORWARD_EXAMPLES: &str = "\
Examples:
  wharf forward fluid db                 prints the address that it listens on
  wharf forward fluid db 5432            on that port of this host
  ssh -o ProxyCommand='wharf forward fluid ssh --stdio' fluid
  rsync -e \"ssh -o ProxyCommand='wharf forward fluid ssh --stdio'\" -a data/ fluid:data/";

/// `forward`.
#[derive(Debug, Args)]
#[command(after_help = FORWARD_EXAMPLES)]
pub(crate) struct Forward {
    /// The session
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// The endpoint in it
    pub(crate) endpoint: String,
    /// Where to listen; on loopback and any free port if not said
    #[arg(value_name = "[HOST:]PORT", conflicts_with = "stdio", value_parser = parse_local)]
    pub(crate) local: Option<(String, u16)>,
    /// One connection by standard input and output
    #[arg(long)]
    pub(crate) stdio: bool,
}

fn parse_local(text: &str) -> Result<(String, u16), String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("127.0.0.1", text));
    let port = port.parse().map_err(|_| "write it as PORT or HOST:PORT".to_owned())?;
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

/// `attach`.
#[derive(Debug, Args)]
#[command(
    after_help = "Ctrl-] leaves the terminal and the session running. While the launcher is away the terminal \
    waits, and goes on where it was.\n\
    Without a terminal on standard input, its end leaves a second later.\n\
    The exit code is the session's own when it ends meanwhile."
)]
pub(crate) struct Attach {
    /// The session
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// See only, or type as well
    #[arg(long, value_enum, default_value = "control")]
    pub(crate) role: RoleArg,
    #[command(flatten)]
    pub(crate) detach: DetachKey,
}

/// The key that leaves a terminal.
#[derive(Debug, Clone, Args)]
pub(crate) struct DetachKey {
    /// The key that leaves: `ctrl-` and a letter or one of @ [ \ ] ^ _, or `none`
    #[arg(long, visible_alias = "detach-keys", value_name = "KEY", default_value = "ctrl-]", value_parser = parse_key)]
    pub(crate) detach_key: KeyArg,
}

/// The byte that a detach key sends; `None`: there is no such key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyArg(pub(crate) Option<u8>);

pub(crate) fn parse_key(text: &str) -> Result<KeyArg, String> {
    let lower = text.to_ascii_lowercase();
    if lower == "none" {
        return Ok(KeyArg(None));
    }
    let letter = lower.strip_prefix("ctrl-").or_else(|| lower.strip_prefix('^'));
    match letter.map(str::as_bytes) {
        Some([letter @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]) => {
            Ok(KeyArg(Some(letter & 0x1f)))
        }
        _ => Err("write it as ctrl-] or none".to_owned()),
    }
}

/// `disconnect`.
#[derive(Debug, Args)]
pub(crate) struct Disconnect {
    /// The session
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Only this user's streams
    #[arg(long)]
    pub(crate) user: Option<String>,
}

/// `extend`.
#[derive(Debug, Args)]
pub(crate) struct Extend {
    /// The session
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// How much more time its job gets, such as 2h
    #[arg(long, value_name = "DUR")]
    pub(crate) by: wharf_protocol::Dur,
}

const SHARE_EXAMPLES: &str = "\
Examples:
  wharf share fluid --with user:bob                         bob may look
  wharf share fluid --with group:physics --role control     physicists may type
  wharf share fluid --with link --expires 1h                prints an address, once
  wharf share fluid --list";

/// `share`.
#[derive(Debug, Args)]
#[command(after_help = SHARE_EXAMPLES)]
pub(crate) struct Share {
    /// The session
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// With whom: user:NAME, group:NAME or link
    #[arg(long, value_name = "WHOM", required_unless_present_any = ["list", "link"], value_parser = parse_grantee)]
    pub(crate) with: Option<String>,
    /// With whoever has the secret address that is printed; short for --with link
    #[arg(long, conflicts_with_all = ["with", "list"])]
    pub(crate) link: bool,
    /// What they may do
    #[arg(long, value_enum, default_value = "view", conflicts_with = "list")]
    pub(crate) role: RoleArg,
    /// They may also run commands inside
    #[arg(long, conflicts_with = "list")]
    pub(crate) exec: bool,
    /// For so long
    #[arg(long, value_name = "DUR", value_parser = parse_duration, conflicts_with = "list")]
    pub(crate) expires: Option<Dur>,
    /// List the session's shares
    #[arg(long, conflicts_with = "with")]
    pub(crate) list: bool,
}

fn parse_grantee(text: &str) -> Result<String, String> {
    let named = |prefix| text.strip_prefix(prefix).is_some_and(|name: &str| !name.is_empty());
    if text == "link" || named("user:") || named("group:") {
        Ok(text.to_owned())
    } else {
        Err("write it as user:NAME, group:NAME or link".to_owned())
    }
}

/// `unshare`.
#[derive(Debug, Args)]
pub(crate) struct Unshare {
    /// The session
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// The share's id, see `wharf share ID --list`
    pub(crate) share: String,
}

const EXEC_EXAMPLES: &str = "\
Examples:
  wharf exec fluid -- nvidia-smi
  wharf exec -it fluid -- bash           a shell beside the session's command
  tar c . | wharf exec -i fluid -- tar x

The exit code is the command's own (128 + signal), and 125 when Wharf itself fails.";

/// `exec`.
#[derive(Debug, Args)]
#[command(after_help = EXEC_EXAMPLES)]
pub(crate) struct Exec {
    /// The session
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Pass standard input on
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// A variable for the command; without a value the one that is set here
    #[arg(long = "env", value_name = "K[=V]", value_parser = Pair::parse_env)]
    pub(crate) env: Vec<Pair>,
    /// The working directory
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<String>,
    #[command(flatten)]
    pub(crate) detach: DetachKey,
    /// What to run
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

const PARAMS_EXAMPLES: &str = "\
Examples:
  wharf params fluid                     show them
  wharf params fluid note='look here'    set one
  wharf params fluid note-               remove it";

/// `params`.
#[derive(Debug, Args)]
#[command(after_help = PARAMS_EXAMPLES)]
pub(crate) struct Params {
    /// The session
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// K=V sets, K- removes
    #[arg(value_name = "K=V|K-", value_parser = Change::parse)]
    pub(crate) changes: Vec<Change>,
    /// Only when nobody has changed them since this params_rev
    #[arg(long, value_name = "REV", requires = "changes")]
    pub(crate) if_rev: Option<u64>,
}

/// One change of a parameter; without a value it is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: String,
    pub(crate) value: Option<String>,
}

impl Change {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(Pair { key, value }) = Pair::parse(text) {
            return Ok(Self { key, value: Some(value) });
        }
        match text.strip_suffix('-') {
            Some(key) if !key.is_empty() && !key.contains('=') => {
                Ok(Self { key: key.to_owned(), value: None })
            }
            _ => Err("write it as KEY=VALUE to set it, or KEY- to remove it".to_owned()),
        }
    }
}

/// `logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The session
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Go on until the session ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last N lines
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<u64>,
    /// Which stream
    #[arg(long, value_enum, default_value = "all")]
    pub(crate) stream: StreamArg,
}

/// Which log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StreamArg {
    /// Both of the command's streams in their order
    All,
    /// The command's standard output
    Stdout,
    /// The command's standard error
    Stderr,
    /// What the template's logs hook says
    Hook,
}

impl StreamArg {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Hook => "hook",
        }
    }
}

/// `purge`.
#[derive(Debug, Args)]
#[command(after_help = "A session that still answers is not purged (exit 4): terminate it instead. \
    A purged one whose job turns up comes back by itself.")]
pub(crate) struct Purge {
    /// The sessions
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
}

/// `terminate`.
#[derive(Debug, Args)]
#[command(after_help = "Waits for the end, unless --no-wait is given.")]
pub(crate) struct Terminate {
    /// The sessions
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    /// How long the command may take to end by itself
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub(crate) grace: Option<Dur>,
    /// Do not wait for the end
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// `events`.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Go on after this event id
    #[arg(long, value_name = "EVENT")]
    pub(crate) after: Option<String>,
}
