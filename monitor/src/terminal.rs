//! The session's terminal: it outlives every viewer, and each one first gets the screen as it is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use wharf_link::{Frame, LinkStream};
use wharf_protocol::api::Role;
use wharf_protocol::monitor::StreamReply;
use wharf_protocol::stream::{Channel, ClientControl, Exit, ServerControl, Size};
use wharf_protocol::{ErrorCode, Problem};

use crate::monitor::Monitor;
use crate::pty::Pty;

/// Size until a viewer says another.
pub(crate) const ROWS: u16 = 24;
/// Size until a viewer says another.
pub(crate) const COLUMNS: u16 = 80;
/// A viewer that is so many bytes behind is dropped.
const BEHIND: usize = 1 << 20;

/// A viewer that is so many bytes behind is waited for while it reads.
const FULL: usize = 512 * 1024;
/// One that has not read anything for so long is not.
const STALLED: Duration = Duration::from_millis(500);

struct Viewer {
    to: mpsc::UnboundedSender<Bytes>,
    behind: Arc<AtomicUsize>,
    /// How far behind it was when that last changed.
    seen: (usize, Instant),
}

struct Screen {
    parser: vt100::Parser,
    viewers: Vec<Viewer>,
}

/// The terminal.
pub(crate) struct Terminal {
    pty: Pty,
    screen: Mutex<Screen>,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Terminal")
    }
}

impl Terminal {
    pub(crate) fn new(pty: Pty) -> Self {
        let screen = Screen { parser: vt100::Parser::new(ROWS, COLUMNS, 0), viewers: Vec::new() };
        Self { pty, screen: Mutex::new(screen) }
    }

    fn screen(&self) -> std::sync::MutexGuard<'_, Screen> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows what the program wrote.
    pub(crate) fn show(&self, data: &Bytes) {
        let mut screen = self.screen();
        screen.parser.process(data);
        screen.viewers.retain(|viewer| {
            let behind = viewer.behind.fetch_add(data.len(), Ordering::Relaxed) + data.len();
            // Dropping its sender is what tells a viewer that it was too slow.
            behind <= BEHIND && viewer.to.send(data.clone()).is_ok()
        });
    }

    /// Lets viewers catch up: the program waits a little for those that read, and not for one that does not.
    pub(crate) async fn breathe(&self) {
        while self.is_full() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Whether somebody who reads is far behind; who does not read is dropped.
    fn is_full(&self) -> bool {
        let mut full = false;
        self.screen().viewers.retain_mut(|viewer| {
            let behind = viewer.behind.load(Ordering::Relaxed);
            if behind != viewer.seen.0 {
                viewer.seen = (behind, Instant::now());
            }
            let stalled = behind > FULL && viewer.seen.1.elapsed() > STALLED;
            full |= behind > FULL && !stalled;
            !stalled
        });
        full
    }

    /// The screen as it is, and all that comes after it.
    fn view(&self) -> (Bytes, mpsc::UnboundedReceiver<Bytes>, Arc<AtomicUsize>) {
        let mut screen = self.screen();
        let now = Bytes::from(screen.parser.screen().state_formatted());
        let (to, from) = mpsc::unbounded_channel();
        let behind = Arc::new(AtomicUsize::new(0));
        let seen = (0, Instant::now());
        screen.viewers.push(Viewer { to, behind: Arc::clone(&behind), seen });
        (now, from, behind)
    }

    /// The screen is drawn anew at the new size: shrinking it in place can leave the parser with half a wide character.
    /// It is never narrower than one of those, whatever the program is told.
    fn resize(&self, size: Size) {
        if !size.is_valid() {
            return;
        }
        let mut screen = self.screen();
        let now = screen.parser.screen().state_formatted();
        screen.parser = vt100::Parser::new(size.rows.max(2), size.cols.max(2), 0);
        screen.parser.process(&now);
        drop(screen);
        let _ = self.pty.resize(size.rows, size.cols);
    }
}

/// Serves one viewer.
pub(crate) async fn attach(monitor: &Monitor, stream: LinkStream, role: Role, size: Option<Size>) {
    let (mut reader, mut writer) = stream.split();
    let Some(terminal) = monitor.terminal.get() else {
        let problem = Problem::new(ErrorCode::NoTerminal, "the session has no terminal");
        let _ = writer.send_json(&StreamReply::Refused(problem)).await;
        return writer.close().await;
    };
    if writer.send_json(&StreamReply::Ok(serde_json::Value::Null)).await.is_err() {
        return;
    }
    let control = role == Role::Control;
    if let Some(size) = size.filter(|_| control) {
        terminal.resize(size);
    }
    let (now, mut output, behind) = terminal.view();
    let mut exited = monitor.exited.subscribe();
    let write = async {
        if writer.send(Frame::Data(Channel::Stdout, now)).await.is_err() {
            return;
        }
        loop {
            tokio::select! {
                biased;
                data = output.recv() => match data {
                    Some(data) => {
                        let length = data.len();
                        if writer.send(Frame::Data(Channel::Stdout, data)).await.is_err() {
                            return;
                        }
                        behind.fetch_sub(length, Ordering::Relaxed);
                    }
                    None => {
                        let problem = Problem::new(ErrorCode::RateLimited, "this viewer was too slow and was dropped")
                            .hint("attach again: the screen is there");
                        let _ = writer.send_json(&ServerControl::Error(problem)).await;
                        break;
                    }
                },
                exit = async {
                    let report = exited.wait_for(Option::is_some).await.ok().and_then(|report| report.clone());
                    report.map_or_else(Exit::default, |report| Exit { code: report.exit_code, signal: report.signal })
                } => {
                    while let Ok(data) = output.try_recv() {
                        if writer.send(Frame::Data(Channel::Stdout, data)).await.is_err() {
                            return;
                        }
                    }
                    let _ = writer.send_json(&ServerControl::Exit(exit)).await;
                    break;
                }
            }
        }
        writer.close().await;
    };
    let read = async {
        while let Ok(Some(frame)) = reader.recv().await {
            match frame {
                Frame::Data(Channel::Stdin, data) if control => {
                    if terminal.pty.write_all(&data).await.is_err() {
                        return;
                    }
                }
                Frame::Control(text) if control => {
                    if let Ok(ClientControl::Resize(size)) = serde_json::from_slice(&text) {
                        terminal.resize(size);
                    }
                }
                Frame::Data(..) | Frame::Control(_) => {}
            }
        }
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wide_character_at_the_edge_survives_any_resize() {
        let (pty, _peer) = Pty::open(ROWS, COLUMNS).unwrap();
        let terminal = Terminal::new(pty);
        for (rows, cols) in [(24, 79), (1, 1), (1, 2), (3, 1), (1000, 1000), (24, 80)] {
            terminal.show(&Bytes::from_static("\x1b[H\x1b[999C中x\r\nab中中中".as_bytes()));
            terminal.resize(Size { rows, cols });
            terminal.show(&Bytes::from_static("\x1b[H\x1b[78Cyz中".as_bytes()));
        }
    }
}
