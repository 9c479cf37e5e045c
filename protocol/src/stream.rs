//! Client streams: exec, attach and tunnel (CONTRACT sections 3 and 9).
//!
//! On a WebSocket, text frames are the JSON control messages below and binary frames are one byte
//! of [`Channel`] and data. On a monitor's link the same messages travel in the link's own frames, so
//! that a launcher relays without understanding more than the beginning and the end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Problem;

/// Largest message of a client stream, in bytes.
pub const MAX_MESSAGE: usize = 1 << 20;

/// Which stream of the program data belongs to; tunnels use `Stdin` both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Channel {
    /// Towards the program.
    Stdin = 0,
    /// From the program; on a terminal everything.
    Stdout = 1,
    /// From the program.
    Stderr = 2,
}

impl Channel {
    /// The channel of that number.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Stdin),
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// What a client says, one JSON object with one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientControl {
    /// First message of an exec.
    Start(ExecStart),
    /// The client's terminal has a new size.
    Resize(Size),
    /// Send a signal, by name without `SIG`: `INT`, `TERM`, `HUP`, `QUIT`, `KILL`, `USR1`, `USR2`…
    Signal(String),
    /// No more input (half-close); the value is always `true`.
    Eof(bool),
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecStart {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// In a terminal.
    #[serde(default)]
    pub tty: bool,
    /// Rows, 1–1000.
    #[serde(default)]
    pub rows: Option<u16>,
    /// Columns, 1–1000.
    #[serde(default)]
    pub cols: Option<u16>,
    /// Variables beside the session's own.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Working directory.
    #[serde(default)]
    pub cwd: Option<String>,
}

/// A terminal's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Rows, 1–1000.
    pub rows: u16,
    /// Columns, 1–1000.
    pub cols: u16,
}

impl Size {
    /// Whether both are in 1–1000.
    pub fn is_valid(self) -> bool {
        (1..=1000).contains(&self.rows) && (1..=1000).contains(&self.cols)
    }
}

/// What the server says, one JSON object with one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerControl {
    /// The program ended; last message.
    Exit(Exit),
    /// It did not work; last message.
    Error(Problem),
    /// No more data from the other side (tunnels); everything was said (logs).
    Eof(bool),
    /// On a terminal, for who asked: the next data begins at this byte of all that the program has written. What came
    /// before the first of these is a screen.
    Offset(u64),
    /// A word of the launcher to whoever is in the session; the stream goes on.
    Notice(Notice),
}

/// Something to know while one is in a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// A stable word: `time_limit`.
    pub code: String,
    /// A sentence.
    pub message: String,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it, as a number.
    pub signal: Option<i32>,
}
