//! A pseudo terminal: its master side as a stream, its other side for a program.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use tokio::io::unix::AsyncFd;

/// The master side. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Pty(Arc<AsyncFd<OwnedFd>>);

impl Pty {
    /// Opens one of that size; the other side is for the program.
    pub(crate) fn open(rows: u16, columns: u16) -> io::Result<(Self, OwnedFd)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let peer = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        let status = rustix::fs::fcntl_getfl(&master)?;
        rustix::fs::fcntl_setfl(&master, status | OFlags::NONBLOCK)?;
        let pty = Self(Arc::new(register(master)?));
        pty.resize(rows, columns)?;
        Ok((pty, peer))
    }

    /// Gives it a new size.
    pub(crate) fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(rustix::termios::tcsetwinsize(self.0.get_ref(), size)?)
    }

    /// Reads what the program wrote; 0 when no process has it open any more.
    pub(crate) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            match ready.try_io(|master| Ok(rustix::io::read(master.get_ref(), &mut *buffer)?)) {
                // The last process of a terminal is gone.
                Ok(Err(error)) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                    return Ok(0);
                }
                Ok(outcome) => return outcome,
                Err(_) => {}
            }
        }
    }

    /// Writes some of what somebody typed, once there is room for it; how much that was.
    pub(crate) async fn write(&self, data: &[u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.writable().await?;
            if let Ok(outcome) = ready.try_io(|master| Ok(rustix::io::write(master.get_ref(), data)?)) {
                return outcome;
            }
        }
    }
}

#[expect(unsafe_code, reason = "a promise about the descriptor that its owner keeps")]
fn register(master: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by what is registered, and stays open until that is dropped.
    Ok(unsafe { AsyncFd::register(master) }?)
}

/// Makes the program's standard input its controlling terminal, in a session of its own.
#[expect(
    unsafe_code,
    reason = "the one way to run something between fork and exec; only async-signal-safe calls"
)]
pub(crate) fn controlling(program: &mut Command) {
    // SAFETY: setsid and an ioctl are async-signal-safe; nothing is allocated, no lock is taken.
    unsafe {
        program.pre_exec(|| {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
            Ok(())
        });
    }
}
