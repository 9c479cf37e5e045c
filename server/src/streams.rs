//! Users' streams: a client's WebSocket on one side, a stream of the monitor's link on the other.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::Instant;
use wharf_core::Entry;
use wharf_link::{Frame, LinkReader, LinkStream, LinkWriter};
use wharf_protocol::api::Role;
use wharf_protocol::monitor::StreamOpen;
use wharf_protocol::stream::{Channel, ClientControl, ExecStart, ServerControl};
use wharf_protocol::{ErrorCode, Problem};

use crate::links::Link;

/// Until an exec's client has to have said what to run.
const START: Duration = Duration::from_secs(10);
/// Between two pings of a client.
const PING: Duration = Duration::from_secs(20);
/// A client that is silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// A viewer of a terminal that takes nothing for so long is dropped: the screen is there when it comes back.
const STALLED: Duration = Duration::from_secs(5);

/// What a stream is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Exec,
    Attach,
    Tunnel(String),
}

type Sink = SplitSink<WebSocket, Message>;
type Source = SplitStream<WebSocket>;

async fn send(sink: &mut Sink, message: Message, within: Duration) -> bool {
    matches!(tokio::time::timeout(within, sink.send(message)).await, Ok(Ok(())))
}

async fn close(sink: &mut Sink, code: u16) {
    let frame = CloseFrame { code, reason: "".into() };
    let _ = tokio::time::timeout(Duration::from_secs(2), sink.send(Message::Close(Some(frame)))).await;
}

async fn refuse(sink: &mut Sink, problem: Problem, code: u16) {
    let text = serde_json::to_string(&ServerControl::Error(problem)).unwrap_or_default();
    let _ = tokio::time::timeout(Duration::from_secs(2), sink.send(Message::Text(text.into()))).await;
    close(sink, code).await;
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
    for (name, value) in &start.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(Problem::field("env", "is not a set of variables"));
        }
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
        Kind::Attach => StreamOpen::Attach { role, size: None },
        Kind::Tunnel(endpoint) => StreamOpen::Tunnel { endpoint: endpoint.clone() },
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
    let stream = match opened {
        Some(stream) => stream,
        None => {
            let start = match tokio::time::timeout(START, started(&mut source)).await {
                Ok(Some(Ok(start))) => start,
                Ok(Some(Err(problem))) => return refuse(&mut sink, problem, 1008).await,
                Ok(None) => return,
                Err(_) => {
                    let problem = bad_message("the first message has to be start, within 10 s");
                    return refuse(&mut sink, problem, 1008).await;
                }
            };
            let what = StreamOpen::Exec(start);
            tokio::select! {
                opened = link.open(&what) => match opened {
                    Ok((stream, _)) => stream,
                    Err(problem) => return refuse(&mut sink, problem, 1008).await,
                },
                problem = entry.cut() => return refuse(&mut sink, problem, 1008).await,
            }
        }
    };
    relay(sink, source, stream, &entry, &kind).await;
}

async fn started(source: &mut Source) -> Option<Result<ExecStart, Problem>> {
    loop {
        return match source.next().await?.ok()? {
            Message::Text(text) => Some(match serde_json::from_str::<ClientControl>(&text) {
                Ok(ClientControl::Start(start)) => {
                    check(&start).map(|()| start).map_err(|problem| bad_message(&problem.detail))
                }
                Ok(_) | Err(_) => Err(bad_message("the first message has to be start")),
            }),
            Message::Binary(_) => Some(Err(bad_message("the first message has to be start"))),
            Message::Close(_) => None,
            Message::Ping(_) | Message::Pong(_) => continue,
        };
    }
}

/// How a relay ended.
enum Over {
    /// Nothing more to say to the client.
    Gone,
    Close(u16),
    Refuse(Box<Problem>, u16),
}

async fn relay(mut sink: Sink, source: Source, stream: LinkStream, entry: &Entry, kind: &Kind) {
    let (reader, writer) = stream.split();
    let heard = std::sync::Mutex::new(Instant::now());
    let over = tokio::select! {
        over = outward(&mut sink, reader, kind, &heard) => over,
        over = inward(source, writer, entry.role, kind, &heard) => over,
        problem = entry.cut() => Over::Refuse(Box::new(problem), 1008),
    };
    match over {
        Over::Gone => {}
        Over::Close(code) => close(&mut sink, code).await,
        Over::Refuse(problem, code) => refuse(&mut sink, *problem, code).await,
    }
}

/// From the monitor to the client.
async fn outward(
    sink: &mut Sink,
    mut reader: LinkReader,
    kind: &Kind,
    heard: &std::sync::Mutex<Instant>,
) -> Over {
    let patience = if *kind == Kind::Attach { STALLED } else { SILENCE };
    let mut ping = tokio::time::interval_at(Instant::now() + PING, PING);
    loop {
        let frame = tokio::select! {
            frame = reader.recv() => frame,
            _ = ping.tick() => {
                let last = *heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if last.elapsed() > SILENCE || !send(sink, Message::Ping(bytes::Bytes::new()), patience).await {
                    return Over::Gone;
                }
                continue;
            }
        };
        let lost = || Over::Refuse(Box::new(crate::links::unreachable()), 1008);
        match frame {
            Ok(Some(Frame::Data(channel, data))) => {
                if !send(sink, Message::Binary(Frame::binary(channel, &data)), patience).await {
                    return Over::Gone;
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
                    let code = if problem.code == ErrorCode::RateLimited { 1013 } else { 1008 };
                    return Over::Refuse(Box::new(problem), code);
                }
                Ok(ServerControl::Eof(eof)) => {
                    let text = serde_json::to_string(&ServerControl::Eof(eof)).unwrap_or_default();
                    if !send(sink, Message::Text(text.into()), patience).await {
                        return Over::Gone;
                    }
                }
                Err(_) => return lost(),
            },
            Ok(None) if matches!(kind, Kind::Tunnel(_)) => return Over::Close(1000),
            Ok(None) | Err(_) => return lost(),
        }
    }
}

/// From the client to the monitor.
async fn inward(
    mut source: Source,
    mut writer: LinkWriter,
    role: Role,
    kind: &Kind,
    heard: &std::sync::Mutex<Instant>,
) -> Over {
    let bad = |detail: &str| Over::Refuse(Box::new(bad_message(detail)), 1008);
    let watching = *kind == Kind::Attach && role == Role::View;
    while let Some(message) = source.next().await {
        *heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
        let frame = match message {
            Ok(Message::Binary(data)) => match Frame::from_binary(data) {
                Some(frame @ Frame::Data(Channel::Stdin, _)) => frame,
                Some(_) | None => return bad("data of a client goes to channel 0"),
            },
            Ok(Message::Text(text)) => match serde_json::from_str::<ClientControl>(&text) {
                Ok(ClientControl::Resize(size)) if !size.is_valid() => {
                    return bad("rows and cols have to be between 1 and 1000");
                }
                Ok(ClientControl::Start(_)) => return bad("started already"),
                Ok(ClientControl::Signal(name)) if !is_signal(&name) => return bad("an unknown signal"),
                Ok(control) => match Frame::json(&control) {
                    Ok(frame) => frame,
                    Err(_) => continue,
                },
                Err(_) => return bad("not a message of this stream"),
            },
            Ok(Message::Close(_)) => return Over::Gone,
            Ok(Message::Ping(_) | Message::Pong(_)) => continue,
            Err(error) => {
                let text = error.to_string().to_ascii_lowercase();
                return if text.contains("too long") || text.contains("too big") || text.contains("size") {
                    Over::Close(1009)
                } else if text.contains("utf") {
                    Over::Close(1007)
                } else {
                    Over::Close(1002)
                };
            }
        };
        if watching {
            continue;
        }
        if writer.send(frame).await.is_err() {
            // Its other half says why.
            std::future::pending::<()>().await;
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
