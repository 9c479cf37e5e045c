//! Between the user's standard streams and a stream into a session: what `exec` and `attach` share.
//!
//! ```text
//! stdin ─▶ reader ─▶ bounded queue ─▶ writer ─▶ session        session ─▶ relay ─▶ stdout, stderr
//!            └ the detach key ends it      └ resizes, end of input
//! ```
//!
//! Reading and writing do not wait for each other: a session that takes no input must not keep its output back.

use std::io::{self, IsTerminal as _, Read as _};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use wharf_protocol::stream::{Channel, ClientControl, Exit, ServerControl};
use wharf_protocol::{ErrorCode, Problem};

use crate::client::stream::{Incoming, Receiver, Sender};
use crate::failure::{Failure, Outcome};
use crate::output::escape;
use crate::terminal::{self, Leave, Raw};

/// Bytes read from standard input at once.
const CHUNK: usize = 16 << 10;
/// Messages on their way to the session.
const QUEUE: usize = 32;
/// How long we still listen after the last input, where that is when we go.
const REST: Duration = Duration::from_secs(1);

/// What to relay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Pass standard input on.
    pub(crate) input: bool,
    /// The other side is a terminal: keys are passed on as they are, and the size.
    pub(crate) tty: bool,
    /// The key that leaves.
    pub(crate) detach: Option<u8>,
    /// The end of standard input is said to the other side.
    pub(crate) tell_end: bool,
    /// We go when standard input has ended.
    pub(crate) leave_at_end: bool,
}

/// How a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The program ended.
    Exit(Exit),
    /// The user left; it goes on.
    Detached,
    /// We were asked to go, with that exit code.
    Told(u8),
}

enum Outgoing {
    Input(Vec<u8>),
    Control(ClientControl),
}

/// Where a stream of a terminal is, so that another one can go on there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Position(Option<u64>);

impl Position {
    fn take(&mut self, incoming: &Incoming) {
        match incoming {
            Incoming::Control(ServerControl::Offset(offset)) => self.0 = Some(*offset),
            Incoming::Data(_, bytes) => self.0 = self.0.map(|at| at + bytes.len() as u64),
            Incoming::Control(_) => {}
        }
    }

    /// As the launcher is asked for it.
    pub(crate) fn query(self) -> String {
        self.0.map_or_else(|| "now".to_owned(), |offset| offset.to_string())
    }
}

/// How the user's own side ended.
enum Left {
    /// By the key.
    Detached,
    /// There is no more input.
    End,
}

/// How a stream was left.
#[derive(Debug)]
pub(crate) enum Served {
    Ended(Ended),
    /// It broke off.
    Lost(Failure),
}

/// The user's side of a stream. It outlives the stream: another one can take its place.
pub(crate) struct Relay {
    plan: Plan,
    raw: Option<Raw>,
    leave: Leave,
    resized: tokio::signal::unix::Signal,
    queue: mpsc::Sender<Outgoing>,
    queued: mpsc::Receiver<Outgoing>,
    left: Option<oneshot::Receiver<Left>>,
    /// Input has ended: when we go.
    over: Option<Instant>,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Relay({:?})", self.plan)
    }
}

impl Relay {
    /// Switches the terminal over and begins to read.
    pub(crate) async fn begin(plan: Plan) -> Outcome<Self> {
        let raw = if plan.tty && plan.input {
            Raw::enter().map_err(|error| Failure::local("the terminal cannot be switched over", &error))?
        } else {
            None
        };
        let on_signal = |error: io::Error| Failure::local("signals cannot be watched", &error);
        let leave = Leave::new().map_err(on_signal)?;
        let resized = terminal::resized().map_err(on_signal)?;
        let (queue, queued) = mpsc::channel::<Outgoing>(QUEUE);
        let (leaving, left) = oneshot::channel();
        // Only a real terminal has a key to leave by: bytes of a file mean themselves.
        let detach = plan.detach.filter(|_| raw.is_some());
        if plan.input {
            let queue = queue.downgrade();
            // A thread of its own: a read that hangs must hold nobody, and ends with the process.
            thread::Builder::new()
                .name("stdin".to_owned())
                .spawn(move || read_input(&queue, detach, plan.tell_end, leaving))
                .map_err(|error| Failure::local("standard input cannot be read", &error))?;
        } else if plan.tell_end {
            let _ = queue.send(Outgoing::Control(ClientControl::Eof(true))).await;
        }
        let left = Some(left).filter(|_| plan.input);
        Ok(Self { plan, raw, leave, resized, queue, queued, left, over: None })
    }

    /// Whether somebody sits at it.
    pub(crate) fn is_terminal(&self) -> bool {
        self.raw.is_some()
    }

    /// Serves a stream until one side ends.
    pub(crate) async fn serve(
        &mut self,
        mut sender: Sender,
        mut receiver: Receiver,
        position: &mut Position,
    ) -> Outcome<Served> {
        // First of all the size: also after a stream that broke off.
        if self.plan.tty
            && let Some(size) = terminal::size()
        {
            // Why it broke shows on the receiving side, which may still have something to say.
            let _ = sender.control(&ClientControl::Resize(size)).await;
        }
        let Self { plan, leave, resized, queue, queued, left, over, .. } = self;
        let mut write = Box::pin(async move {
            while let Some(message) = queued.recv().await {
                let sent = match message {
                    Outgoing::Input(bytes) => sender.input(&bytes).await,
                    Outgoing::Control(control) => sender.control(&control).await,
                };
                if sent.is_err() {
                    return std::future::pending().await;
                }
            }
            sender.close().await;
        });
        let served = loop {
            tokio::select! {
                incoming = receiver.next() => {
                    let incoming = match incoming {
                        Ok(Some(incoming)) => incoming,
                        Ok(None) => break Served::Lost(closed()),
                        Err(problem) => break Served::Lost(problem.into()),
                    };
                    position.take(&incoming);
                    match incoming {
                        Incoming::Data(Channel::Stderr, bytes) => write_to(&mut io::stderr().lock(), &bytes)?,
                        Incoming::Data(Channel::Stdin | Channel::Stdout, bytes) => {
                            write_to(&mut io::stdout().lock(), &bytes)?;
                        }
                        Incoming::Control(ServerControl::Exit(exit)) => break Served::Ended(Ended::Exit(exit)),
                        Incoming::Control(ServerControl::Error(problem)) => match problem.code {
                            // Out of reach, or we were too slow.
                            ErrorCode::Unreachable | ErrorCode::RateLimited => {
                                break Served::Lost(problem.into());
                            }
                            _ => return Err(problem.into()),
                        },
                        Incoming::Control(ServerControl::Eof(_) | ServerControl::Offset(_)) => {}
                        Incoming::Control(ServerControl::Notice(notice)) => {
                            // In the middle of a program's screen, on a line of its own.
                            if plan.tty && io::stderr().is_terminal() {
                                let line = format!("\r\n[wharf: {}]\r\n", escape::line(&notice.message));
                                write_to(&mut io::stderr().lock(), line.as_bytes())?;
                            }
                        }
                    }
                }
                () = &mut write => break Served::Lost(closed()),
                how = gone(left, over) => match how {
                    Some(ended) => break Served::Ended(ended),
                    None if plan.leave_at_end => *over = Some(Instant::now() + REST),
                    None => {}
                },
                Some(()) = resized.recv(), if plan.tty => {
                    if let Some(size) = terminal::size() {
                        // When the queue is full, a later one will do.
                        let _ = queue.try_send(Outgoing::Control(ClientControl::Resize(size)));
                    }
                }
                code = leave.asked() => break Served::Ended(Ended::Told(code)),
            }
        };
        if matches!(served, Served::Ended(_)) {
            // What was typed before leaving still has to arrive; a dead stream must not hold us.
            *queue = mpsc::channel(1).0;
            let _ = tokio::time::timeout(Duration::from_secs(1), write).await;
        }
        Ok(served)
    }

    /// Waits between two streams; how the user left meanwhile, if so.
    pub(crate) async fn pause(&mut self, wait: Duration) -> Option<Ended> {
        let Self { plan, leave, left, over, .. } = self;
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => return None,
                how = gone(left, over) => match how {
                    Some(ended) => return Some(ended),
                    None if plan.leave_at_end => *over = Some(Instant::now() + REST),
                    None => {}
                },
                code = leave.asked() => return Some(Ended::Told(code)),
            }
        }
    }
}

/// Until the user has left by the key, or some time after the input's end; `None` at that end itself.
async fn gone(left: &mut Option<oneshot::Receiver<Left>>, over: &Option<Instant>) -> Option<Ended> {
    if let Some(over) = over {
        tokio::time::sleep_until(*over).await;
        return Some(Ended::Detached);
    }
    let Some(leaving) = left else { return std::future::pending().await };
    let how = leaving.await;
    *left = None;
    match how {
        Ok(Left::Detached) => Some(Ended::Detached),
        Ok(Left::End) | Err(_) => None,
    }
}

fn closed() -> Failure {
    Problem::new(ErrorCode::Unreachable, "the launcher closed the stream").into()
}

/// Relays one stream until one side ends.
pub(crate) async fn run(sender: Sender, receiver: Receiver, plan: Plan) -> Outcome<Ended> {
    let mut relay = Relay::begin(plan).await?;
    match relay.serve(sender, receiver, &mut Position::default()).await? {
        Served::Ended(ended) => Ok(ended),
        Served::Lost(failure) => Err(failure),
    }
}

fn read_input(
    queue: &mpsc::WeakSender<Outgoing>,
    detach: Option<u8>,
    tell_end: bool,
    left: oneshot::Sender<Left>,
) {
    let mut stdin = io::stdin().lock();
    let mut buffer = vec![0; CHUNK];
    // The relay keeps the queue: when it is over there is nobody to read for.
    let say = |message| queue.upgrade().is_some_and(|queue| queue.blocking_send(message).is_ok());
    loop {
        let count = match stdin.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        let bytes = &buffer[..count];
        let leave = detach.and_then(|key| bytes.iter().position(|byte| *byte == key));
        let typed = &bytes[..leave.unwrap_or(count)];
        if !typed.is_empty() && !say(Outgoing::Input(typed.to_vec())) {
            return;
        }
        if leave.is_some() {
            let _ = left.send(Left::Detached);
            return;
        }
        if count == 0 {
            if tell_end {
                say(Outgoing::Control(ClientControl::Eof(true)));
            }
            let _ = left.send(Left::End);
            return;
        }
    }
}

fn write_to(to: &mut impl io::Write, bytes: &[u8]) -> Outcome<()> {
    to.write_all(bytes).and_then(|()| to.flush()).map_err(|error| Failure::writing(&error))
}

/// The exit code of a program that ended so.
pub(crate) fn code(exit: Exit) -> u8 {
    let code = match (exit.code, exit.signal) {
        (_, Some(signal)) => 128 + signal,
        (Some(code), None) => code,
        (None, None) => 1,
    };
    u8::try_from(code & 0xff).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_128_and_its_number() {
        assert_eq!(code(Exit { code: Some(9), signal: None }), 9);
        assert_eq!(code(Exit { code: None, signal: Some(15) }), 143);
    }
}
