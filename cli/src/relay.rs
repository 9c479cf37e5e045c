//! Between the user's standard streams and a stream into a session: what `exec` and `attach` share.
//!
//! ```text
//! stdin ─▶ reader ─▶ bounded queue ─▶ writer ─▶ session        session ─▶ relay ─▶ stdout, stderr
//!            └ the detach key ends it      └ resizes, end of input
//! ```
//!
//! Reading and writing are tasks of their own: a session that takes no input must not keep its output back.

use std::io::{self, IsTerminal as _, Read as _};
use std::thread;

use tokio::sync::{mpsc, oneshot};
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

/// Relays until one side ends.
pub(crate) async fn run(mut sender: Sender, mut receiver: Receiver, plan: Plan) -> Outcome<Ended> {
    let raw = if plan.tty && plan.input {
        Raw::enter().map_err(|error| Failure::local("the terminal cannot be switched over", &error))?
    } else {
        None
    };
    let on_signal = |error: io::Error| Failure::local("signals cannot be watched", &error);
    let mut leave = Leave::new().map_err(on_signal)?;
    let mut resized = terminal::resized().map_err(on_signal)?;
    let (queue, mut queued) = mpsc::channel::<Outgoing>(QUEUE);
    let (detached, mut on_detach) = oneshot::channel();
    let writer = tokio::spawn(async move {
        while let Some(message) = queued.recv().await {
            let sent = match message {
                Outgoing::Input(bytes) => sender.input(&bytes).await,
                Outgoing::Control(control) => sender.control(&control).await,
            };
            // Why it broke shows on the receiving side, which may still have something to say.
            if sent.is_err() {
                return;
            }
        }
        sender.close().await;
    });
    // Only a real terminal has a key to leave by: bytes of a file mean themselves.
    let detach = plan.detach.filter(|_| raw.is_some());
    if plan.input {
        let queue = queue.downgrade();
        // A thread of its own: a read that hangs must hold nobody, and ends with the process.
        thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(move || read_input(&queue, detach, plan.tell_end, detached))
            .map_err(|error| Failure::local("standard input cannot be read", &error))?;
    } else if plan.tell_end {
        let _ = queue.send(Outgoing::Control(ClientControl::Eof(true))).await;
    }
    if plan.tty
        && let Some(size) = terminal::size()
    {
        let _ = queue.send(Outgoing::Control(ClientControl::Resize(size))).await;
    }
    let mut may_detach = plan.input;
    let ended = loop {
        tokio::select! {
            incoming = receiver.next() => match incoming? {
                Some(Incoming::Data(Channel::Stderr, bytes)) => write(&mut io::stderr().lock(), &bytes)?,
                Some(Incoming::Data(Channel::Stdin | Channel::Stdout, bytes)) => {
                    write(&mut io::stdout().lock(), &bytes)?;
                }
                Some(Incoming::Control(ServerControl::Exit(exit))) => break Ended::Exit(exit),
                Some(Incoming::Control(ServerControl::Error(problem))) => return Err(problem.into()),
                Some(Incoming::Control(ServerControl::Eof(_))) => {}
                Some(Incoming::Control(ServerControl::Notice(notice))) => {
                    // In the middle of a program's screen, on a line of its own.
                    if plan.tty && io::stderr().is_terminal() {
                        let line = format!("\r\n[wharf: {}]\r\n", escape::line(&notice.message));
                        write(&mut io::stderr().lock(), line.as_bytes())?;
                    }
                }
                None => {
                    return Err(Problem::new(ErrorCode::Unreachable, "the launcher closed the stream").into());
                }
            },
            left = &mut on_detach, if may_detach => match left {
                Ok(()) => break Ended::Detached,
                // Standard input has ended: there is no key any more.
                Err(_) => may_detach = false,
            },
            Some(()) = resized.recv(), if plan.tty => {
                if let Some(size) = terminal::size() {
                    // When the queue is full, a later one will do.
                    let _ = queue.try_send(Outgoing::Control(ClientControl::Resize(size)));
                }
            }
            code = leave.asked() => break Ended::Told(code),
        }
    };
    drop(queue);
    // What was typed before leaving still has to arrive; a dead stream must not hold us.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), writer).await;
    drop(raw);
    Ok(ended)
}

fn read_input(
    queue: &mpsc::WeakSender<Outgoing>,
    detach: Option<u8>,
    tell_end: bool,
    detached: oneshot::Sender<()>,
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
            let _ = detached.send(());
            return;
        }
        if count == 0 {
            if tell_end {
                say(Outgoing::Control(ClientControl::Eof(true)));
            }
            return;
        }
    }
}

fn write(to: &mut impl io::Write, bytes: &[u8]) -> Outcome<()> {
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
