//! What a monitor is given, and what it and a launcher say to each other on the link.
//!
//! ```text
//! monitor ── GET /monitor/v1/link, Authorization: Bearer CREDENTIAL, Wharf-Link: LinkClaim ──▶ launcher
//!         ◀─ 101, or 401 (never again) / 410 (end yourself) / 503 + Retry-After ──
//!   the WebSocket's binary messages carry yamux; only the launcher opens streams
//!         ◀─ stream 1: control ──  MonitorSays::Hello ▶ , ◀ LauncherSays::Welcome or Refused, then both talk
//!         ◀─ any number of streams, each opened with one StreamOpen, answered with one StreamReply ──
//! ```
//!
//! All frames of a stream are `length (u32, big endian) | kind (u8) | payload`, see `wharf-link`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::{EndpointKind, LogStream, Role};
use crate::error::Problem;
use crate::id::{SessionId, ShareId};
use crate::session::{Params, StoppedBy, Tags};
use crate::signed::KeyPin;
use crate::stream::{ExecStart, Size};
use crate::time::{Dur, Time};

/// Version of the words in this module.
pub const PROTOCOL: u32 = 1;
/// The route that monitors dial, below a listener's address.
pub const LINK_PATH: &str = "/monitor/v1/link";
/// The request header that carries a [`LinkClaim`] as base64url JSON.
pub const LINK_HEADER: &str = "wharf-link";
/// The response header of a 410 that carries the signed nonce of the claim ([`crate::signed::Purpose::Over`]).
pub const OVER_HEADER: &str = "wharf-over";

/// What a launcher signs so that a monitor may link ([`crate::signed::Purpose::Credential`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The session.
    pub id: SessionId,
    /// Its owner.
    pub owner: String,
    /// Its template.
    pub template: String,
    /// The submit attempt, from 1.
    pub attempt: u32,
    /// Until when it is good without a live record.
    pub not_after: Time,
}

/// What a purged session comes back with ([`crate::signed::Purpose::Snapshot`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The record's revision; the newest wins.
    pub rev: u64,
    /// The instance of the backend that was chosen for it.
    #[serde(default)]
    pub placed: Option<String>,
    /// The session.
    pub id: SessionId,
    /// Its owner.
    pub owner: String,
    /// Its name.
    pub name: String,
    /// Its template.
    pub template: String,
    /// The template's backend.
    pub backend: String,
    /// The template's scheduler.
    pub scheduler: String,
    /// What runs in it.
    pub command: Vec<String>,
    /// Whether that has a terminal.
    pub tty: bool,
    /// Its parameters, without secret ones.
    pub params: Params,
    /// Raised by each change of the parameters.
    pub params_rev: u64,
    /// Its tags.
    pub tags: Tags,
    /// Its shares.
    pub shares: Vec<SnapshotShare>,
    /// How it is ended.
    pub limits: Limits,
    /// The backend's job id, once known.
    pub job: Option<String>,
    /// The template's handle of the job.
    pub handle: Option<Value>,
    /// The submit attempt.
    pub attempt: u32,
    /// When it was recorded.
    pub created_at: Time,
    /// When its monitor first registered.
    pub started_at: Option<Time>,
}

/// A share as a snapshot keeps it: a link's secret only as a hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotShare {
    /// The share's id.
    pub id: ShareId,
    /// `user:NAME`, `group:NAME` or `link`.
    pub grantee: String,
    /// View or control.
    pub role: Role,
    /// Also exec.
    pub exec: bool,
    /// Until when.
    pub expires_at: Option<Time>,
    /// SHA-256 of a link share's secret, base64url.
    pub secret_hash: Option<String>,
}

/// How a session is ended, from its template's `[session]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// From the clean attempts to the kill.
    pub grace: Dur,
    /// What happens when no launcher is there.
    pub on_orphan: OnOrphan,
}

/// What a monitor does when no launcher answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnOrphan {
    /// Goes on for ever.
    Run,
    /// Ends the session after that long without a launcher.
    End(Dur),
}

/// The bootstrap file: all that a monitor needs to run its session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// [`PROTOCOL`].
    pub version: u32,
    /// The file with a launcher's addresses, one a line (`unix:/PATH`, `http://…`, `https://…`), read again
    /// before each dial. Relative to the bootstrap file's own directory.
    pub addresses: PathBuf,
    /// The session.
    pub session: SessionId,
    /// The signed [`Credential`].
    pub credential: String,
    /// The signed [`Snapshot`].
    pub snapshot: String,
    /// The launcher's public keys: whoever cannot prove to hold one is not obeyed.
    pub keys: Vec<KeyPin>,
    /// What to run.
    pub command: Vec<String>,
    /// The template's clean-stop command.
    #[serde(default)]
    pub stop: Option<Vec<String>>,
    /// In a terminal.
    pub tty: bool,
    /// The command's variables beside the job's own: `[job] env`, the user's, `WHARF_*`, in that order.
    pub env: BTreeMap<String, String>,
    /// Working directory; else the home, in a container the image's.
    #[serde(default)]
    pub cwd: Option<String>,
    /// How it is ended.
    pub limits: Limits,
    /// Declared endpoints.
    #[serde(default)]
    pub endpoints: Vec<EndpointDeclared>,
    /// Where a private copy of the monitor's own files may live (the `endpoint` socket); the bootstrap
    /// file's directory when absent.
    #[serde(default)]
    pub run_dir: Option<PathBuf>,
}

/// What a job's script says to `wharf-monitor run --enrol`, one line of base64url of this JSON: for nodes that have no file
/// system in common with the launcher. The secret is good for one monitor, the first that shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// [`PROTOCOL`].
    pub version: u32,
    /// Addresses of the launcher.
    pub addresses: Vec<String>,
    /// The session.
    pub session: SessionId,
    /// The submit attempt.
    pub attempt: u32,
    /// Goes into the header `authorization: Enrol SECRET`.
    pub secret: String,
    /// The launcher's public keys.
    pub keys: Vec<KeyPin>,
}

/// What a monitor gets for its secret, on the control stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Enrolled {
    /// As the file would be.
    pub bootstrap: Bootstrap,
    /// The launcher's addresses now.
    pub addresses: Vec<String>,
    /// As [`Welcome::proof`], for the claim's nonce.
    pub proof: String,
}

/// An endpoint as its template declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointDeclared {
    /// Its name.
    pub name: String,
    /// What is spoken on it.
    pub kind: EndpointKind,
    /// A port on loopback inside the session; 0: the monitor picks one and sets `WHARF_PORT_NAME`.
    #[serde(default)]
    pub port: Option<u16>,
    /// A Unix socket inside the session instead; a plain name: the monitor makes a directory for it and sets
    /// `WHARF_SOCKET_NAME`.
    #[serde(default)]
    pub socket: Option<String>,
    /// The application's own paths begin with `WHARF_PREFIX_NAME`, which the monitor sets: none is taken off them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prefix: bool,
}

impl EndpointDeclared {
    /// Longest name: with the session's id it has to fit into one label of a host's name.
    pub const MAX_NAME: usize = 31;

    /// Whether the name may stand in an address: `[a-z][a-z0-9-]*` without `--`, and not read as an encoded one.
    pub fn is_named_well(&self) -> bool {
        Self::is_good_name(&self.name)
    }

    /// As [`Self::is_named_well`], of a name alone.
    pub fn is_good_name(name: &str) -> bool {
        name.len() <= Self::MAX_NAME
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !name.contains("--")
            && !name.ends_with('-')
            && name != "xn"
    }
}

/// Who is dialling; sent as a header, so that a launcher can refuse before it upgrades.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkClaim {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The session.
    pub session: SessionId,
    /// The submit attempt.
    pub attempt: u32,
    /// How often the scheduler restarted the job.
    #[serde(default)]
    pub restarts: u32,
    /// The number that the launcher gave at first contact.
    #[serde(default)]
    pub number: Option<u64>,
    /// The signed [`Incarnation`] that the launcher gave with it; held in memory only.
    #[serde(default)]
    pub resume: Option<String>,
    /// Random, the same for one monitor's life; the launcher's proof signs it.
    pub nonce: String,
    /// The job id that the job sees.
    #[serde(default)]
    pub job_id: Option<String>,
}

/// One life of a monitor inside one session. Orders by its fields, the newest is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation {
    /// The submit attempt.
    pub attempt: u32,
    /// The scheduler's restart count.
    pub restarts: u32,
    /// Given by the launcher at first contact, rising.
    pub number: u64,
}

/// What a resume token says ([`crate::signed::Purpose::Resume`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The session.
    pub id: SessionId,
    /// The monitor's own incarnation.
    pub incarnation: Incarnation,
    /// The monitor's nonce.
    pub nonce: String,
}

/// What a monitor says on its control stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "say")]
pub enum MonitorSays {
    /// First of all.
    Hello(Box<Hello>),
    /// The answer to [`LauncherSays::Ping`].
    Pong {
        /// The ping's number.
        nonce: u64,
    },
    /// The order to end was understood and is being carried out.
    Ending,
    /// The command is over; said again until [`LauncherSays::ExitKept`].
    Exited(ExitReport),
    /// The endpoints have changed.
    Endpoints {
        /// All of them.
        endpoints: Vec<EndpointDeclared>,
    },
    /// A word of a later release: ignored.
    #[serde(other)]
    Other,
}

/// A monitor introduces itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Who is dialling.
    pub claim: LinkClaim,
    /// The monitor's release.
    pub version: String,
    /// The newest signed snapshot it has.
    pub snapshot: String,
    /// Its host's name.
    pub host: String,
    /// The command's process id.
    pub pid: Option<u32>,
    /// Its endpoints.
    #[serde(default)]
    pub endpoints: Vec<EndpointDeclared>,
    /// The command is over already.
    #[serde(default)]
    pub exited: Option<ExitReport>,
}

/// How the command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitReport {
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// SIGTERM or SIGKILL without the launcher's order: the scheduler decides whether it is over.
    pub interrupted: bool,
    /// With the launcher's order: which attempt worked.
    pub stopped_by: Option<StoppedBy>,
    /// The system's words, when the program could not be executed, or the kernel's on memory.
    pub message: Option<String>,
    /// The cgroup says that it was killed for memory.
    #[serde(default)]
    pub out_of_memory: bool,
    /// The monitor ended it because no launcher was there for `on_orphan`.
    #[serde(default)]
    pub orphaned: bool,
    /// When, by the monitor's clock.
    pub at: Time,
}

/// What a launcher says on a monitor's control stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "say")]
pub enum LauncherSays {
    /// The monitor is registered.
    Welcome(Box<Welcome>),
    /// It is not.
    Refused {
        /// Why, for the monitor's log.
        message: String,
        /// End the session: it is over, or a newer incarnation is there.
        end: bool,
        /// Goes with `end` before a welcome: the nonce of the claim, signed ([`crate::signed::Purpose::Over`]). Whoever
        /// has taken the launcher's address cannot end its sessions.
        over: Option<String>,
        /// Otherwise: dial again after that long.
        retry_after: Option<Dur>,
    },
    /// Answer at once.
    Ping {
        /// Repeated in the answer.
        nonce: u64,
    },
    /// End the session.
    End {
        /// From the clean attempts to the kill.
        grace: Dur,
    },
    /// A newer signed [`Snapshot`].
    Snapshot {
        /// The signed text.
        snapshot: String,
    },
    /// A newer signed [`Credential`] and the keys that are good now.
    Credential {
        /// The signed text.
        credential: String,
        /// The launcher's public keys.
        keys: Vec<KeyPin>,
    },
    /// The answer to an enrolment, and the last word of that link.
    Enrolled(Box<Enrolled>),
    /// The exit report is durable: the monitor may go.
    ExitKept,
    /// A word of a later release: ignored.
    #[serde(other)]
    Other,
}

/// A launcher takes a monitor in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The monitor's number from now on.
    pub number: u64,
    /// The signed [`Resume`]: keep it in memory only.
    pub resume: String,
    /// The newest signed snapshot.
    pub snapshot: String,
    /// The renewed credential.
    pub credential: String,
    /// The launcher's public keys.
    pub keys: Vec<KeyPin>,
    /// A signed text ([`crate::signed::Purpose::Proof`]) whose payload is the JSON string of the claim's nonce: without a
    /// valid one of a pinned key the monitor hangs up.
    pub proof: String,
    /// The session is to end at once, with that grace.
    pub end: Option<Dur>,
    /// The launcher's node name, for the monitor's log.
    pub node: String,
}

/// First frame of every stream but the control stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "open")]
pub enum StreamOpen {
    /// Control stream.
    Control,
    /// What are your endpoints? The reply's value is `[EndpointDeclared]`, the terminal included as `terminal`.
    Connect,
    /// Run a program.
    Exec(ExecStart),
    /// Enter the terminal.
    Attach {
        /// View: input and resizes are ignored.
        role: Role,
        /// The client's terminal.
        size: Option<Size>,
        /// Tell where in the output the stream is ([`crate::stream::ServerControl::Offset`]), and go on from this byte when it is
        /// still there; else the present screen comes first, as it does without.
        #[serde(default)]
        offset: Option<u64>,
        /// That many lines that have scrolled off come before the screen.
        #[serde(default)]
        scrollback: u32,
    },
    /// A byte stream to an endpoint.
    Tunnel {
        /// Its name.
        endpoint: String,
    },
    /// The command's output.
    Logs {
        /// Which.
        stream: LogStream,
        /// Only that many lines of the end.
        tail: Option<u64>,
        /// Go on until the command ends.
        follow: bool,
    },
}

/// First frame of a monitor's answer on a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamReply {
    /// Granted; data follows as the kind of stream says.
    Ok(Value),
    /// Refused; the stream ends.
    Refused(Problem),
}

/// What `wharf-monitor endpoint add` says on the monitor's own socket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask")]
pub enum LocalAsk {
    /// Declare an endpoint.
    EndpointAdd {
        /// It.
        endpoint: EndpointDeclared,
    },
}
