//! Users' streams: a client's WebSocket on one side, a stream of the monitor's link on the other.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use wharf_core::Entry;
use wharf_link::{Frame, LinkReader, LinkStream, LinkWriter};
use wharf_protocol::api::Role;
use wharf_protocol::monitor::StreamOpen;
use wharf_protocol::stream::{Channel, ClientControl, ExecStart, ServerControl};
use wharf_protocol::{ErrorCode, Notice, Problem};

use crate::links::Link;

/// Until an exec's client has to have said what to run.
const START: Duration = Duration::from_secs(10);
/// Most bytes of a program and its arguments.
const MOST_WORDS: usize = 128 << 10;
/// Between two pings of a client.
const PING: Duration = Duration::from_secs(20);
/// The same while nothing is read of it: that it is gone shows by nothing else.
const UNREAD_PING: Duration = Duration::from_secs(2);
/// A client that is silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// A viewer of a terminal that takes nothing for so long is dropped: the screen is there when it comes back.
const STALLED: Duration = Duration::from_secs(5);

/// What a stream is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Exec,
    Attach {
        offset: Option<u64>,
        scrollback: u32,
    },
    Tunnel {
        endpoint: String,
        /// Messages are the bytes themselves, without a channel: what desktops' viewers speak.
        plain: bool,
    },
}

impl Kind {
    fn is_attach(&self) -> bool {
        matches!(self, Self::Attach { .. })
    }

    fn is_tunnel(&self) -> bool {
        matches!(self, Self::Tunnel { .. })
    }

    fn is_plain(&self) -> bool {
        matches!(self, Self::Tunnel { plain: true, .. })
    }
}

type Sink = SplitSink<WebSocket, Message>;
type Source = SplitStream<WebSocket>;

async fn send(sink: &mut Sink, message: Message, within: Duration) -> bool {
    matches!(tokio::time::timeout(within, sink.send(message)).await, Ok(Ok(())))
}

/// How long last words may take. Who is told that it is too far behind has first to take what is on its way; that holds up
/// nobody but a connection which nothing else waits for any more.
fn patience(code: u16) -> Duration {
    if code == 1013 { SILENCE } else { Duration::from_secs(2) }
}

async fn close(sink: &mut Sink, code: u16) {
    let frame = CloseFrame { code, reason: "".into() };
    let _ = tokio::time::timeout(patience(code), sink.send(Message::Close(Some(frame)))).await;
}

/// Says goodbye, and waits a moment for the other side's: a connection that is dropped with something unread in it
/// may lose what was said last.
async fn part(sink: &mut Sink, source: &mut Source, code: u16) {
    close(sink, code).await;
    let rest = async { while let Some(Ok(_)) = source.next().await {} };
    let _ = tokio::time::timeout(Duration::from_secs(1), rest).await;
}

async fn refuse(sink: &mut Sink, source: &mut Source, problem: Problem, code: u16) {
    let text =
        serde_json::to_string(&ServerControl::Error(crate::problem::complete(problem))).unwrap_or_default();
    let _ = tokio::time::timeout(patience(code), sink.send(Message::Text(text.into()))).await;
    part(sink, source, code).await;
}

fn bad_message(detail: &str) -> Problem {
    Problem::new(ErrorCode::BadMessage, detail)
}

/// Checks what is to be run.
pub(crate) fn check(start: &ExecStart) -> Result<(), Problem> {
    if start.argv.first().is_none_or(String::is_empty) {
        return Err(Problem::field("argv", "has to have at least one word"));
    }
    if start.argv.iter().any(|word| word.contains('\0')) {
        return Err(Problem::field("argv", "has a NUL character"));
    }
    if start.argv.iter().map(String::len).sum::<usize>() > MOST_WORDS {
        return Err(Problem::field("argv", "is longer than 128 KiB in all"));
    }
    for (name, value) in &start.env {
        let begins = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
        if !begins || !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
            let field = format!("env.{}", name.escape_default());
            return Err(Problem::field(field, "a variable's name has to be letters, digits and _"));
        }
        if name.starts_with("WHARF_") {
            let own = "names that begin with WHARF_ are Wharf's own";
            return Err(Problem::field(format!("env.{name}"), own));
        }
        if value.contains('\0') {
            return Err(Problem::field(format!("env.{name}"), "has a NUL character"));
        }
    }
    if start.cwd.as_ref().is_some_and(|dir| dir.is_empty() || dir.contains('\0')) {
        return Err(Problem::field("cwd", "is not a directory's name"));
    }
    if [start.rows, start.cols].into_iter().flatten().any(|size| !(1..=1000).contains(&size)) {
        return Err(Problem::field("rows", "rows and cols have to be between 1 and 1000"));
    }
    Ok(())
}

/// Opens the monitor's side, where that can be done before the client is let in: what is refused is an answer then.
pub(crate) async fn open(link: &Link, kind: &Kind, role: Role) -> Result<Option<LinkStream>, Problem> {
    let what = match kind {
        Kind::Exec => return Ok(None),
        Kind::Attach { offset, scrollback } => {
            StreamOpen::Attach { role, size: None, offset: *offset, scrollback: *scrollback }
        }
        Kind::Tunnel { endpoint, .. } => StreamOpen::Tunnel { endpoint: endpoint.clone() },
    };
    link.open(&what).await.map(|(stream, _)| Some(stream))
}

/// Serves one client to the end of its stream.
pub(crate) async fn serve(
    socket: WebSocket,
    entry: Entry,
    link: std::sync::Arc<Link>,
    opened: Option<LinkStream>,
    kind: Kind,
) {
    let (mut sink, mut source) = socket.split();
    let over = tokio::select! {
        over = run(&mut sink, &mut source, &entry, &link, opened, &kind) => over,
        problem = entry.cut() => Over::Refuse(Box::new(problem), 1008),
    };
    // It is over for the session, whatever the client does with the last words.
    drop(entry);
    match over {
        Over::Gone => {
            // Answers the client's own close frame, if there was one.
            let _ = tokio::time::timeout(Duration::from_secs(2), sink.close()).await;
        }
        Over::Close(code) => part(&mut sink, &mut source, code).await,
        Over::Refuse(problem, code) => refuse(&mut sink, &mut source, *problem, code).await,
    }
}

async fn run(
    sink: &mut Sink,
    source: &mut Source,
    entry: &Entry,
    link: &Link,
    opened: Option<LinkStream>,
    kind: &Kind,
) -> Over {
    let refused = |problem| Over::Refuse(Box::new(problem), 1008);
    let stream = match opened {
        Some(stream) => stream,
        None => {
            let late = || Err(refused(bad_message("the first message has to be start, within 10 s")));
            let start = match tokio::time::timeout(START, started(source)).await.unwrap_or_else(|_| late()) {
                Ok(start) => start,
                Err(over) => return over,
            };
            match link.open(&StreamOpen::Exec(start)).await {
                Ok((stream, _)) => stream,
                Err(problem) => return refused(problem),
            }
        }
    };
    let (reader, writer) = stream.split();
    let heard = Heard::new();
    tokio::select! {
        over = outward(sink, reader, kind, &heard, entry.notices()) => over,
        over = inward(source, writer, entry.role, kind, &heard) => over,
    }
}

async fn started(source: &mut Source) -> Result<ExecStart, Over> {
    let bad = |detail: &str| Err(Over::Refuse(Box::new(bad_message(detail)), 1008));
    while let Some(message) = source.next().await {
        match message {
            Ok(Message::Text(text)) => {
                return match serde_json::from_str::<ClientControl>(&text) {
                    Ok(ClientControl::Start(start)) => match check(&start) {
                        Ok(()) => Ok(start),
                        Err(problem) => bad(&problem.detail),
                    },
                    Ok(_) | Err(_) => bad("the first message has to be start"),
                };
            }
            Ok(Message::Binary(_)) => return bad("the first message has to be start"),
            Ok(Message::Close(_)) => break,
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            Err(error) => return Err(broken(&error)),
        }
    }
    Err(Over::Gone)
}

/// How to part from a client whose frames cannot be read.
fn broken(error: &axum::Error) -> Over {
    let text = error.to_string().to_ascii_lowercase();
    Over::Close(if text.contains("too long") || text.contains("too big") || text.contains("size") {
        1009
    } else if text.contains("utf") {
        1007
    } else {
        1002
    })
}

/// When a client was last heard; nothing is heard while its input waits for the session to take more.
struct Heard(std::sync::Mutex<Option<Instant>>);

impl Heard {
    fn new() -> Self {
        Self(std::sync::Mutex::new(Some(Instant::now())))
    }

    fn set(&self, at: Option<Instant>) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = at;
    }

    fn is_unread(&self) -> bool {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_none()
    }

    fn is_silent(&self) -> bool {
        let last = *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() > SILENCE)
    }
}

/// How a relay ended.
enum Over {
    /// Nothing more to say to the client.
    Gone,
    Close(u16),
    Refuse(Box<Problem>, u16),
}

/// From the monitor to the client.
async fn outward(
    sink: &mut Sink,
    mut reader: LinkReader,
    kind: &Kind,
    heard: &Heard,
    mut notices: watch::Receiver<Option<Notice>>,
) -> Over {
    let patience = if kind.is_attach() { STALLED } else { SILENCE };
    let mut tick = tokio::time::interval_at(Instant::now() + UNREAD_PING, UNREAD_PING);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pinged = Instant::now();
    let mut ended = false;
    loop {
        let frame = tokio::select! {
            frame = reader.recv() => frame,
            // A tunnel's bytes are an application's, and so are its words.
            Ok(()) = notices.changed(), if !kind.is_tunnel() => {
                let notice = notices.borrow_and_update().clone();
                let Some(notice) = notice else { continue };
                let text = serde_json::to_string(&ServerControl::Notice(notice)).unwrap_or_default();
                if !send(sink, Message::Text(text.into()), patience).await {
                    return Over::Gone;
                }
                continue;
            }
            _ = tick.tick() => {
                if !heard.is_unread() && pinged.elapsed() < PING {
                    continue;
                }
                pinged = Instant::now();
                if heard.is_silent() || !send(sink, Message::Ping(bytes::Bytes::new()), patience).await {
                    return Over::Gone;
                }
                continue;
            }
        };
        let lost = || Over::Refuse(Box::new(crate::links::unreachable()), 1008);
        match frame {
            Ok(Some(Frame::Data(channel, data))) => {
                let message = if kind.is_plain() { data } else { Frame::binary(channel, &data) };
                if !send(sink, Message::Binary(message), patience).await {
                    return if kind.is_attach() { Over::Close(1013) } else { Over::Gone };
                }
            }
            Ok(Some(Frame::Control(text))) => match serde_json::from_slice(&text) {
                Ok(ServerControl::Exit(exit)) => {
                    let text = serde_json::to_string(&ServerControl::Exit(exit)).unwrap_or_default();
                    if !send(sink, Message::Text(text.into()), patience).await {
                        return Over::Gone;
                    }
                    return Over::Close(1000);
                }
                Ok(ServerControl::Error(problem)) => {
                    let problem = crate::links::confined(problem);
                    let code = if problem.code == ErrorCode::RateLimited { 1013 } else { 1008 };
                    return Over::Refuse(Box::new(problem), code);
                }
                // Bytes alone have no word for it: the close of the whole says so.
                Ok(ServerControl::Eof(_)) if kind.is_plain() => ended = true,
                Ok(said @ (ServerControl::Eof(_) | ServerControl::Offset(_))) => {
                    ended |= matches!(said, ServerControl::Eof(_));
                    let text = serde_json::to_string(&said).unwrap_or_default();
                    if !send(sink, Message::Text(text.into()), patience).await {
                        return Over::Gone;
                    }
                }
                // A monitor has nothing to tell people beside its program's own words.
                Ok(ServerControl::Notice(_)) => {}
                Err(_) => return lost(),
            },
            // What only stops has not ended.
            Ok(None) if kind.is_tunnel() && ended => return Over::Close(1000),
            Ok(None) | Err(_) => return lost(),
        }
    }
}

/// From the client to the monitor.
async fn inward(source: &mut Source, mut writer: LinkWriter, role: Role, kind: &Kind, heard: &Heard) -> Over {
    let bad = |detail: &str| Over::Refuse(Box::new(bad_message(detail)), 1008);
    let mut over = false;
    let watching = kind.is_attach() && role == Role::View;
    while let Some(message) = source.next().await {
        heard.set(Some(Instant::now()));
        let frame = match message {
            Ok(Message::Binary(data)) if kind.is_plain() => Frame::Data(Channel::Stdin, data),
            Ok(Message::Binary(data)) => match Frame::from_binary(data) {
                Some(frame @ Frame::Data(Channel::Stdin, _)) => frame,
                Some(_) | None => return bad("data of a client goes to channel 0"),
            },
            Ok(Message::Text(text)) => match serde_json::from_str::<ClientControl>(&text) {
                Ok(ClientControl::Resize(size)) if !size.is_valid() => {
                    return bad("rows and cols have to be between 1 and 1000");
                }
                Ok(ClientControl::Start(_)) => return bad("started already"),
                Ok(ClientControl::Resize(_) | ClientControl::Signal(_)) if kind.is_tunnel() => {
                    return bad("not a message of a tunnel");
                }
                Ok(ClientControl::Signal(name)) if !is_signal(&name) => return bad("an unknown signal"),
                Ok(control) => match Frame::json(&control) {
                    Ok(frame) => frame,
                    Err(_) => continue,
                },
                Err(_) => return bad("not a message of this stream"),
            },
            Ok(Message::Close(_)) => return Over::Gone,
            Ok(Message::Ping(_) | Message::Pong(_)) => continue,
            Err(error) => return broken(&error),
        };
        if watching || over {
            continue;
        }
        heard.set(None);
        let sent = writer.send(frame).await;
        heard.set(Some(Instant::now()));
        if sent.is_err() {
            // Its other half says why; the client's own words are still listened to, and go nowhere.
            over = true;
        }
    }
    Over::Gone
}

fn is_signal(name: &str) -> bool {
    let name = name.strip_prefix("SIG").unwrap_or(name);
    matches!(
        name,
        "HUP" | "INT" | "QUIT" | "KILL" | "TERM" | "USR1" | "USR2" | "STOP" | "CONT" | "TSTP" | "WINCH"
    )
}
