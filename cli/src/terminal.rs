//! The user's own terminal while a session's terminal is shown on it.
//!
//! Whatever happens, it is given back as it was: the guard does it when it is dropped, also while a panic unwinds.

use std::io::{self, IsTerminal as _, Write as _};

use rustix::termios::{self, OptionalActions, Termios};
use tokio::signal::unix::{Signal, SignalKind, signal};
use wharf_protocol::process::ProcessId;
use wharf_protocol::stream::Size;

/// What full-screen programs may have left switched on: alternate screen, hidden cursor, mouse, bracketed paste,
/// application keys, colours.
const CALM: &[u8] =
    b"\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1l\x1b>\x1b[0m";

/// The terminal passes every key on while this lives.
pub(crate) struct Raw {
    before: Termios,
}

impl std::fmt::Debug for Raw {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Raw")
    }
}

impl Raw {
    /// Switches over; `None` when standard input is no terminal.
    pub(crate) fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = termios::tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(&stdin, OptionalActions::Drain, &raw)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let mut out = io::stdout();
        if out.is_terminal() {
            let _ = out.write_all(CALM).and_then(|()| out.flush());
        }
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}

/// The terminal's size.
pub(crate) fn size() -> Option<Size> {
    let found = termios::tcgetwinsize(io::stdout()).or_else(|_| termios::tcgetwinsize(io::stdin())).ok()?;
    let size = Size { rows: found.ws_row.min(1000), cols: found.ws_col.min(1000) };
    size.is_valid().then_some(size)
}

/// Tells of a new size.
pub(crate) fn resized() -> io::Result<Signal> {
    signal(SignalKind::window_change())
}

/// Asked to go: the terminal has to be given back first.
#[derive(Debug)]
pub(crate) struct Leave {
    term: Signal,
    hup: Signal,
}

impl Leave {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, hup: signal(SignalKind::hangup())? })
    }

    /// The exit code to leave with.
    pub(crate) async fn asked(&mut self) -> u8 {
        tokio::select! {
            _ = self.term.recv() => 128 + 15,
            _ = self.hup.recv() => 128 + 1,
        }
    }
}

/// Gives up the controlling terminal, so that nothing a launcher starts can read keys or write to the screen by
/// `/dev/tty`. Ctrl-C still ends the launcher: it goes to the process group.
///
/// A launcher that leads its session keeps it: giving it up would hang up on everybody in the session.
#[expect(unsafe_code, reason = "rustix has no function of its own for this request")]
pub(crate) fn give_up_controlling() {
    /// `TIOCNOTTY` where Linux numbers it like this: all but mips, powerpc and sparc.
    const TIOCNOTTY: rustix::ioctl::Opcode = 0x5422;
    let usual = cfg!(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"));
    // Not by getsid: that of a container's first process may be outside, and then has no number here.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let leads = ProcessId::session_of(&stat) == Some(rustix::process::getpid().as_raw_nonzero().get());
    if !usual || leads {
        return;
    }
    // There is none when a service manager started it.
    let Ok(terminal) = std::fs::File::open("/dev/tty") else { return };
    // SAFETY: the request takes no argument and touches no memory of ours.
    let given = unsafe { rustix::ioctl::ioctl(&terminal, rustix::ioctl::NoArg::<TIOCNOTTY>::new()) };
    if let Err(error) = given {
        tracing::warn!(%error, "the controlling terminal stays, and hooks can reach it");
    }
}
