//! Running a program in the session for somebody.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use wharf_link::{Frame, LinkReader, LinkStream};
use wharf_protocol::monitor::StreamReply;
use wharf_protocol::stream::{Channel, ClientControl, ExecStart, Exit, ServerControl};
use wharf_protocol::{ErrorCode, Problem};

use crate::backlog::{Backlog, LOOK};
use crate::monitor::Monitor;
use crate::pty::Pty;
use crate::reaper::Ended;
use crate::spawn::{self, Input, Running, Streams};
use crate::terminal::{COLUMNS, ROWS};
use crate::tree;

/// What is still in the pipes when the program has ended is waited for so long: a child that keeps one open
/// delays nothing.
const DRAIN: Duration = Duration::from_millis(200);

/// From the hang-up to SIGKILL, when the client is gone.
const LAST: Duration = Duration::from_secs(5);
/// From the hang-up to SIGTERM.
const HANG_UP: Duration = Duration::from_millis(500);

/// Signals that a client may send.
fn signal(name: &str) -> Option<Signal> {
    Some(match name.strip_prefix("SIG").unwrap_or(name) {
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "KILL" => Signal::KILL,
        "TERM" => Signal::TERM,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "STOP" => Signal::STOP,
        "CONT" => Signal::CONT,
        "TSTP" => Signal::TSTP,
        "WINCH" => Signal::WINCH,
        _ => return None,
    })
}

/// Serves one exec.
pub(crate) async fn exec(monitor: &Monitor, stream: LinkStream, start: ExecStart) {
    let (reader, mut writer) = stream.split();
    let over = || Problem::new(ErrorCode::SessionEnded, "the session's command is over");
    if monitor.closing.load(Ordering::Relaxed) {
        let _ = writer.send_json(&StreamReply::Refused(over())).await;
        return writer.close().await;
    }
    if writer.send_json(&StreamReply::Ok(serde_json::Value::Null)).await.is_err() {
        return;
    }
    let mut env = monitor.env.clone();
    env.extend(start.env.iter().map(|(name, value)| (name.into(), value.into())));
    let input = if start.tty {
        Input::Terminal(start.rows.unwrap_or(ROWS), start.cols.unwrap_or(COLUMNS))
    } else {
        Input::Pipe
    };
    let cwd = start.cwd.as_deref().or(monitor.cwd.as_deref());
    // Asked once more with nothing awaited in between: what starts after the end would stay behind.
    if monitor.closing.load(Ordering::Relaxed) {
        let _ = writer.send_json(&ServerControl::Error(over())).await;
        return writer.close().await;
    }
    let running = match spawn::start(&monitor.reaper, &start.argv, &env, cwd, input) {
        Ok(running) => running,
        Err(error) => {
            let (code, words) = spawn::failure(&start.argv, &error);
            let line = Frame::Data(Channel::Stderr, Bytes::from(format!("{words}\n")));
            let _ = writer.send(line).await;
            let _ = writer.send_json(&ServerControl::Exit(Exit { code: Some(code), signal: None })).await;
            return writer.close().await;
        }
    };
    let Running { pid, mut end, streams } = running;
    let (frames, mut output) = mpsc::channel::<Frame>(4);
    let mut inputs = Inputs { pid, pty: None, pipe: None, waiting: Backlog::default(), ends: false };
    let copying = match streams {
        Streams::Terminal(pty) => {
            inputs.pty = Some(pty.clone());
            vec![tokio::spawn(copy_terminal(pty, frames))]
        }
        Streams::Pipes { stdin, stdout, stderr } => {
            inputs.pipe = stdin;
            vec![
                tokio::spawn(copy(stdout, Channel::Stdout, frames.clone())),
                tokio::spawn(copy(stderr, Channel::Stderr, frames)),
            ]
        }
    };
    let reading = tokio::spawn(inputs.run(reader));
    let mut ended = None;
    let deadline = tokio::time::sleep(Duration::MAX);
    tokio::pin!(deadline);
    let reading_gone = reading.abort_handle();
    let mut client = reading;
    let outcome = loop {
        tokio::select! {
            frame = output.recv() => match frame {
                Some(frame) => {
                    if writer.send(frame).await.is_err() {
                        break None;
                    }
                }
                None => match ended {
                    Some(ended) => break Some(ended),
                    // Its streams are closed, it lives on; its client may still go away.
                    None => tokio::select! {
                        how = &mut end => break how.ok(),
                        _ = &mut client => break None,
                    },
                },
            },
            how = &mut end, if ended.is_none() => {
                ended = Some(how.unwrap_or(Ended::Code(0)));
                deadline.as_mut().reset(Instant::now() + DRAIN);
            }
            () = &mut deadline, if ended.is_some() => break ended,
            _ = &mut client => break None,
        }
    };
    reading_gone.abort();
    if outcome.is_none() {
        // Whatever it still prints is taken and dropped: a closed pipe would kill it in the middle of its last words.
        tokio::select! {
            () = abandon(pid) => {}
            () = async {
                while output.recv().await.is_some() {}
                std::future::pending::<()>().await;
            } => {}
        }
    }
    for copying in copying {
        copying.abort();
    }
    if let Some(ended) = outcome {
        let exit = match ended {
            Ended::Code(code) => Exit { code: Some(code), signal: None },
            Ended::Signal(signal) => Exit { code: None, signal: Some(signal) },
        };
        let _ = writer.send_json(&ServerControl::Exit(exit)).await;
        writer.close().await;
    }
}

/// The client is gone: so is what it had started, which hears of it first.
async fn abandon(group: Pid) {
    let until = Instant::now() + LAST;
    let _ = kill_process_group(group, Signal::HUP);
    let _ = kill_process_group(group, Signal::CONT);
    // A moment for those that catch the hang-up: the next signal is the end of those that catch only that.
    if !left(group, Instant::now() + HANG_UP).await {
        return;
    }
    for pid in tree::group(group) {
        let _ = kill_process(pid, Signal::TERM);
    }
    if left(group, until).await {
        for pid in tree::group(group) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Whether some of the group are still there at that time.
async fn left(group: Pid, until: Instant) -> bool {
    loop {
        if tree::group(group).is_empty() {
            return false;
        }
        if Instant::now() >= until {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn copy(mut from: pipe::Receiver, channel: Channel, to: mpsc::Sender<Frame>) {
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if to.send(Frame::Data(channel, Bytes::copy_from_slice(&buffer[..length]))).await.is_err() {
            return;
        }
    }
}

async fn copy_terminal(from: Pty, to: mpsc::Sender<Frame>) {
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if to.send(Frame::Data(Channel::Stdout, Bytes::copy_from_slice(&buffer[..length]))).await.is_err() {
            return;
        }
    }
}

/// Where a client's words go.
struct Inputs {
    pid: Pid,
    pty: Option<Pty>,
    pipe: Option<pipe::Sender>,
    waiting: Backlog,
    /// No more comes after what waits.
    ends: bool,
}

impl Inputs {
    /// Until the client is gone; its half-close only closes standard input.
    ///
    /// What the program does not take waits here, so that a signal behind it is heard, and that its client has gone.
    async fn run(mut self, mut reader: LinkReader) {
        let mut look = tokio::time::interval(LOOK);
        // Looks that were not needed are not made up for.
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let first = self.waiting.first();
            let is_blocked = first.is_some();
            tokio::select! {
                frame = reader.recv(), if self.waiting.has_room() => match frame {
                    Ok(Some(frame)) => self.take(frame),
                    Ok(None) | Err(_) => return,
                },
                taken = feed(&self.pty, &mut self.pipe, first) => match taken {
                    Ok(count) => self.waiting.took(count),
                    Err(_) => {
                        // It reads no more; it may still have something to say.
                        (self.pty, self.pipe, self.waiting, self.ends) = (None, None, Backlog::default(), false);
                    }
                },
                _ = look.tick(), if is_blocked => if reader.is_over() {
                    return;
                },
            }
            if self.ends && self.waiting.is_empty() {
                self.pipe = None;
            }
        }
    }

    fn take(&mut self, frame: Frame) {
        match frame {
            Frame::Data(Channel::Stdin, data) => {
                if self.pty.is_some() || self.pipe.is_some() {
                    self.waiting.push(data);
                }
            }
            Frame::Data(..) => {}
            Frame::Control(text) => match serde_json::from_slice(&text) {
                Ok(ClientControl::Resize(size)) if size.is_valid() => {
                    if let Some(pty) = &self.pty {
                        let _ = pty.resize(size.rows, size.cols);
                    }
                }
                Ok(ClientControl::Signal(name)) => {
                    if let Some(signal) = signal(&name) {
                        let _ = kill_process_group(self.pid, signal);
                    }
                }
                Ok(ClientControl::Eof(_)) => {
                    if self.pty.is_some() {
                        self.waiting.push(Bytes::from_static(&[4]));
                    } else {
                        self.ends = true;
                    }
                }
                Ok(ClientControl::Resize(_) | ClientControl::Start(_)) | Err(_) => {}
            },
        }
    }
}

/// Hands on some of what waits, once the program takes it; how much that was.
async fn feed(pty: &Option<Pty>, pipe: &mut Option<pipe::Sender>, first: Option<Bytes>) -> io::Result<usize> {
    match (first, pty, pipe) {
        (Some(first), Some(pty), _) => pty.write(&first).await,
        (Some(first), None, Some(pipe)) => pipe.write(&first).await,
        (Some(first), None, None) => Ok(first.len()),
        (None, ..) => std::future::pending().await,
    }
}
