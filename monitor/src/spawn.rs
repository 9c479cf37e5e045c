//! Starting programs in the session: the command, its stop command, execs.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::process::Pid;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use crate::pty::Pty;
use crate::reaper::{Ended, Reaper};

/// The variables that a program starts with, whole.
pub(crate) type Environment = BTreeMap<std::ffi::OsString, std::ffi::OsString>;

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Running {
    /// Its process, which leads its own group.
    pub(crate) pid: Pid,
    /// Its end.
    pub(crate) end: oneshot::Receiver<Ended>,
    /// Its streams.
    pub(crate) streams: Streams,
}

/// A program's streams.
#[derive(Debug)]
pub(crate) enum Streams {
    /// A terminal.
    Terminal(Pty),
    /// Pipes; no standard input when there was none to give.
    Pipes {
        /// To it.
        stdin: Option<pipe::Sender>,
        /// From it.
        stdout: pipe::Receiver,
        /// From it.
        stderr: pipe::Receiver,
    },
}

/// What a program gets to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Nothing.
    Null,
    /// What is sent.
    Pipe,
    /// A terminal of that size (rows, columns), both ways.
    Terminal(u16, u16),
}

/// Starts a program in a group of its own.
pub(crate) fn start(
    reaper: &Reaper,
    argv: &[String],
    env: &Environment,
    cwd: Option<&str>,
    input: Input,
) -> io::Result<Running> {
    let (name, arguments) = argv.split_first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut program = Command::new(name);
    program.args(arguments).env_clear().envs(env);
    if let Some(cwd) = cwd {
        // Asked first: the failed spawn does not tell which of the two is missing.
        if let Err(error) = std::fs::read_dir(cwd).map(drop)
            && error.kind() != io::ErrorKind::PermissionDenied
        {
            return Err(io::Error::other(format!("working directory {}: {error}", cwd.escape_debug())));
        }
        program.current_dir(cwd);
    }
    if let Input::Terminal(rows, columns) = input {
        let (pty, peer) = Pty::open(rows, columns)?;
        program.stdin(peer.try_clone()?).stdout(peer.try_clone()?).stderr(peer);
        crate::pty::controlling(&mut program);
        let (_, pid, end) = reaper.spawn(&mut program)?;
        return Ok(Running { pid, end, streams: Streams::Terminal(pty) });
    }
    let (out_read, out_write) = io::pipe()?;
    let (err_read, err_write) = io::pipe()?;
    program.process_group(0).stdout(out_write).stderr(err_write);
    program.stdin(if input == Input::Pipe { Stdio::piped() } else { Stdio::null() });
    let (mut child, pid, end) = reaper.spawn(&mut program)?;
    // Our own copies of the writing ends go with `program`: else its output would never end.
    drop(program);
    let stdin = child.stdin.take().map(|stdin| pipe::Sender::from_owned_fd(stdin.into())).transpose()?;
    Ok(Running {
        pid,
        end,
        streams: Streams::Pipes {
            stdin,
            stdout: pipe::Receiver::from_owned_fd(OwnedFd::from(out_read))?,
            stderr: pipe::Receiver::from_owned_fd(OwnedFd::from(err_read))?,
        },
    })
}

/// The code of a program that cannot be executed, and the system's words.
pub(crate) fn failure(argv: &[String], error: &io::Error) -> (i32, String) {
    let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    let name = argv.first().map_or("", String::as_str);
    (code, format!("{}: {error}", name.escape_debug()))
}
