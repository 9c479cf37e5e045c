//! The session's terminal: it outlives every viewer, and each one first gets the screen as it is, or what it has missed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use wharf_link::{Frame, LinkReader, LinkStream};
use wharf_protocol::api::Role;
use wharf_protocol::monitor::StreamReply;
use wharf_protocol::stream::{Channel, ClientControl, Exit, ServerControl, Size};
use wharf_protocol::{ErrorCode, Problem};

use crate::backlog::{Backlog, LOOK};
use crate::monitor::Monitor;
use crate::pty::Pty;
use crate::screen::{SCROLLBACK, Screen};

/// Size until a viewer says another.
pub(crate) const ROWS: u16 = 24;
/// Size until a viewer says another.
pub(crate) const COLUMNS: u16 = 80;
/// A viewer that is so many bytes behind is dropped.
const BEHIND: usize = 1 << 20;

/// A viewer that is so many bytes behind is waited for while it reads.
const FULL: usize = 512 * 1024;
/// What a viewer had typed before it left waits so long for the program to take some of it.
const LAST: Duration = Duration::from_secs(10);
/// One that has not read anything for so long is not.
const STALLED: Duration = Duration::from_millis(500);

struct Viewer {
    to: mpsc::UnboundedSender<Bytes>,
    behind: Arc<AtomicUsize>,
    /// How far behind it was when that last changed.
    seen: (usize, Instant),
}

struct Shown {
    screen: Screen,
    viewers: Vec<Viewer>,
}

/// What a viewer is shown first, and how it goes on.
struct View {
    first: Bytes,
    /// Where in the program's output what comes after `first` begins.
    offset: u64,
    /// `first` is a screen; else it is output itself, from where the viewer was.
    screen: bool,
    next: mpsc::UnboundedReceiver<Bytes>,
    behind: Arc<AtomicUsize>,
}

/// What a viewer asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) role: Role,
    pub(crate) size: Option<Size>,
    /// Told of offsets, and shown what came after this one when that is still there.
    pub(crate) offset: Option<u64>,
    /// Lines above the screen.
    pub(crate) scrollback: usize,
}

/// The terminal.
pub(crate) struct Terminal {
    pty: Pty,
    shown: Mutex<Shown>,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Terminal")
    }
}

impl Terminal {
    pub(crate) fn new(pty: Pty) -> Self {
        let shown = Shown { screen: Screen::new(ROWS, COLUMNS), viewers: Vec::new() };
        Self { pty, shown: Mutex::new(shown) }
    }

    fn shown(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows what the program wrote.
    pub(crate) fn show(&self, data: &Bytes) {
        let mut shown = self.shown();
        shown.screen.process(data);
        shown.viewers.retain(|viewer| {
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
        self.shown().viewers.retain_mut(|viewer| {
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

    /// The screen as it is, or what was missed since that offset, and all that comes after it.
    fn view(&self, offset: Option<u64>, scrollback: usize) -> View {
        let mut shown = self.shown();
        let missed = offset.and_then(|offset| shown.screen.since(offset));
        let screen = missed.is_none();
        let first = missed.unwrap_or_else(|| shown.screen.present(scrollback.min(SCROLLBACK)).into());
        let (to, next) = mpsc::unbounded_channel();
        let behind = Arc::new(AtomicUsize::new(0));
        let seen = (0, Instant::now());
        shown.viewers.push(Viewer { to, behind: Arc::clone(&behind), seen });
        let written = shown.screen.written();
        let offset = if screen { written } else { written - first.len() as u64 };
        View { first, offset, screen, next, behind }
    }

    /// Takes what a viewer types, until that one has gone; with `control`, else nothing of it counts.
    async fn listen(&self, reader: &mut LinkReader, control: bool) {
        let mut waiting = Backlog::default();
        let mut look = tokio::time::interval(LOOK);
        // Looks that were not needed are not made up for.
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let first = waiting.first();
            let typed = async {
                match &first {
                    Some(first) => self.pty.write(first).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                frame = reader.recv(), if waiting.has_room() => match frame {
                    Ok(Some(Frame::Data(Channel::Stdin, data))) if control => waiting.push(data),
                    Ok(Some(Frame::Control(text))) if control => {
                        if let Ok(ClientControl::Resize(size)) = serde_json::from_slice(&text) {
                            self.resize(size);
                        }
                    }
                    Ok(Some(Frame::Data(..) | Frame::Control(_))) => {}
                    Ok(None) => break,
                    Err(_) => return,
                },
                taken = typed => match taken {
                    Ok(count) => waiting.took(count),
                    Err(_) => return,
                },
                _ = look.tick(), if !waiting.has_room() => if reader.is_over() {
                    return;
                },
            }
        }
        // It had all been typed before it left.
        while let Some(first) = waiting.first() {
            match tokio::time::timeout(LAST, self.pty.write(&first)).await {
                Ok(Ok(count)) => waiting.took(count),
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    fn resize(&self, size: Size) {
        if size.is_valid() {
            self.shown().screen.resize(size);
            let _ = self.pty.resize(size.rows, size.cols);
        }
    }
}

/// Serves one viewer.
pub(crate) async fn attach(monitor: &Monitor, stream: LinkStream, wish: Wish) {
    let (mut reader, mut writer) = stream.split();
    let Some(terminal) = monitor.terminal.get() else {
        let problem = Problem::new(ErrorCode::NoTerminal, "the session has no terminal");
        let _ = writer.send_json(&StreamReply::Refused(problem)).await;
        return writer.close().await;
    };
    if writer.send_json(&StreamReply::Ok(serde_json::Value::Null)).await.is_err() {
        return;
    }
    let control = wish.role == Role::Control;
    if let Some(size) = wish.size.filter(|_| control) {
        terminal.resize(size);
    }
    let View { first, offset, screen, next: mut output, behind } =
        terminal.view(wish.offset, wish.scrollback);
    let position = wish.offset.and_then(|_| Frame::json(&ServerControl::Offset(offset)).ok());
    let mut exited = monitor.exited.subscribe();
    let write = async {
        let first = Some(Frame::Data(Channel::Stdout, first));
        // A screen is none of the output that is counted.
        let begin = if screen { [first, position] } else { [position, first] };
        for frame in begin.into_iter().flatten() {
            if writer.send(frame).await.is_err() {
                return;
            }
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
    tokio::select! {
        () = write => {}
        () = terminal.listen(&mut reader, control) => {}
    }
}
