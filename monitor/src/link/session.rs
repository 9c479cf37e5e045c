//! One link's life: hello, welcome, then the launcher's words and the users' streams.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;
use wharf_link::{Acceptor, Frame, FrameError, LinkReader, LinkStream, LinkWriter};
use wharf_protocol::api::EndpointKind;
use wharf_protocol::monitor::{
    EndpointDeclared, Hello, LauncherSays, MonitorSays, Snapshot, StreamOpen, StreamReply, Welcome,
};
use wharf_protocol::signed::Purpose;

use super::dial::{self, Link};
use super::proof;
use crate::monitor::{Monitor, Order};
use crate::{exec, logs, say, terminal, tunnel};

/// Until the launcher has to have opened the control stream and answered.
pub(super) const GREETING: Duration = Duration::from_secs(20);
/// The launcher pings every ten seconds; a silence of that length means that it is gone.
const SILENCE: Duration = Duration::from_secs(45);

/// How a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Gone.
    Lost {
        /// It had been a good one.
        welcomed: bool,
    },
    /// Come again after that long.
    Later(Duration),
    /// End the session.
    End,
    /// The report is kept: nothing more to do.
    Released,
}

/// The launcher's streams over a socket.
pub(super) fn acceptor(socket: Link) -> Acceptor {
    let (sink, stream) = socket.split();
    let messages = stream.map(|message| {
        message.map(|message| match message {
            Message::Binary(data) => Some(data),
            Message::Text(_)
            | Message::Ping(_)
            | Message::Pong(_)
            | Message::Close(_)
            | Message::Frame(_) => None,
        })
    });
    let sink = sink.with(|data: Bytes| async move {
        Ok::<_, tokio_tungstenite::tungstenite::Error>(Message::Binary(data))
    });
    wharf_link::mux::monitor(wharf_link::ws::bytes(messages, sink))
}

/// Serves a link until it is over.
pub(super) async fn serve(monitor: &Arc<Monitor>, socket: Link) -> Over {
    let mut acceptor = acceptor(socket);
    let greeted = tokio::time::timeout(GREETING, greet(monitor, &mut acceptor)).await;
    let (welcome, reader, mut writer) = match greeted {
        Ok(Ok(Ok(greeted))) => greeted,
        Ok(Ok(Err(over))) => return over,
        Ok(Err(_)) | Err(_) => return Over::Lost { welcomed: false },
    };
    take_papers(monitor, &welcome);
    if let Some(grace) = welcome.end {
        let _ = monitor.orders.send(Order::Launcher(grace.0));
        let _ = writer.send_json(&MonitorSays::Ending).await;
    }
    monitor.linked.send_replace(true);
    let over = converse(monitor, acceptor, reader, writer).await;
    monitor.linked.send_replace(false);
    over
}

type Greeted = (Welcome, LinkReader, LinkWriter);

/// The control stream, which comes first.
pub(super) async fn control(acceptor: &mut Acceptor) -> Result<(LinkReader, LinkWriter), FrameError> {
    let stream = acceptor.accept().await.ok_or(FrameError::Over)?;
    let (mut reader, writer) = stream.split();
    match reader.recv_json::<StreamOpen>().await? {
        StreamOpen::Control => {}
        StreamOpen::Connect
        | StreamOpen::Exec(_)
        | StreamOpen::Attach { .. }
        | StreamOpen::Tunnel { .. }
        | StreamOpen::Logs { .. } => return Err(FrameError::Bad("not the control stream")),
    }
    Ok((reader, writer))
}

async fn greet(monitor: &Monitor, acceptor: &mut Acceptor) -> Result<Result<Greeted, Over>, FrameError> {
    let (mut reader, mut writer) = control(acceptor).await?;
    let hello = Hello {
        claim: dial::claim(monitor),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        snapshot: monitor.papers().snapshot,
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        pid: monitor.pid.get().copied(),
        endpoints: monitor.endpoints(),
        exited: monitor.exited.borrow().clone(),
    };
    writer.send_json(&MonitorSays::Hello(Box::new(hello))).await?;
    match reader.recv_json::<LauncherSays>().await? {
        LauncherSays::Welcome(welcome) => {
            if !proof::is_proof(&welcome.proof, &monitor.nonce, &monitor.papers().keys) {
                say("who answered does not hold the launcher's key: hung up");
                return Ok(Err(Over::Lost { welcomed: false }));
            }
            Ok(Ok((*welcome, reader, writer)))
        }
        LauncherSays::Refused { end: true, over, .. } => {
            let keys = monitor.papers().keys;
            if over.is_some_and(|over| proof::is_over(&over, &monitor.nonce, &keys)) {
                return Ok(Err(Over::End));
            }
            say("who says that the session is over does not hold the launcher's key: hung up");
            Ok(Err(Over::Lost { welcomed: false }))
        }
        LauncherSays::Refused { retry_after, .. } => {
            Ok(Err(Over::Later(retry_after.map_or(Duration::from_secs(5), |after| after.0))))
        }
        LauncherSays::Ping { .. }
        | LauncherSays::End { .. }
        | LauncherSays::Snapshot { .. }
        | LauncherSays::Credential { .. }
        | LauncherSays::ExitKept
        | LauncherSays::Enrolled(_)
        | LauncherSays::Other => Err(FrameError::Bad("not a greeting")),
    }
}

fn take_papers(monitor: &Monitor, welcome: &Welcome) {
    monitor.keep(|papers| {
        papers.number = Some(welcome.number);
        papers.resume = Some(welcome.resume.clone());
        papers.credential.clone_from(&welcome.credential);
        papers.keys.clone_from(&welcome.keys);
    });
    take_snapshot(monitor, &welcome.snapshot);
}

/// The newest snapshot wins, and only one that the launcher has signed.
fn take_snapshot(monitor: &Monitor, text: &str) {
    let papers = monitor.papers();
    let rev = |text: &str| {
        let payload = proof::verify(Purpose::Snapshot, text, &papers.keys)?;
        serde_json::from_slice::<Snapshot>(&payload).ok().map(|snapshot| snapshot.rev)
    };
    if let Some(new) = rev(text)
        && rev(&papers.snapshot).is_none_or(|known| new >= known)
    {
        monitor.keep(|papers| text.clone_into(&mut papers.snapshot));
    }
}

async fn converse(
    monitor: &Arc<Monitor>,
    mut acceptor: Acceptor,
    mut reader: LinkReader,
    mut writer: LinkWriter,
) -> Over {
    let mut exited = monitor.exited.subscribe();
    let mut endpoints = monitor.endpoints_changed.subscribe();
    let mut reported = false;
    let lost = Over::Lost { welcomed: true };
    loop {
        let report = exited.borrow_and_update().clone();
        if let Some(report) = report.filter(|_| !reported) {
            reported = true;
            if !say_in_time(&mut writer, &MonitorSays::Exited(report)).await {
                return lost;
            }
        }
        tokio::select! {
            word = tokio::time::timeout(SILENCE, reader.recv_json::<LauncherSays>()) => {
                let Ok(Ok(word)) = word else { return lost };
                match word {
                    LauncherSays::Ping { nonce } => {
                        if !say_in_time(&mut writer, &MonitorSays::Pong { nonce }).await {
                            return lost;
                        }
                    }
                    LauncherSays::End { grace } => {
                        let _ = monitor.orders.send(Order::Launcher(grace.0));
                        if !say_in_time(&mut writer, &MonitorSays::Ending).await {
                            return lost;
                        }
                    }
                    LauncherSays::Snapshot { snapshot } => take_snapshot(monitor, &snapshot),
                    LauncherSays::Credential { credential, keys } => monitor.keep(|papers| {
                        papers.credential = credential;
                        papers.keys = keys;
                    }),
                    LauncherSays::ExitKept => {
                        monitor.released.send_replace(true);
                        return Over::Released;
                    }
                    LauncherSays::Refused { end: true, .. } => return Over::End,
                    LauncherSays::Refused { .. } => return lost,
                    LauncherSays::Welcome(_) | LauncherSays::Enrolled(_) | LauncherSays::Other => {}
                }
            }
            stream = acceptor.accept() => match stream {
                Some(stream) => drop(tokio::spawn(streamed(Arc::clone(monitor), stream))),
                None => return lost,
            },
            _ = exited.changed() => {}
            changed = endpoints.changed() => {
                let say = MonitorSays::Endpoints { endpoints: monitor.endpoints() };
                if changed.is_err() || !say_in_time(&mut writer, &say).await {
                    return lost;
                }
            }
        }
    }
}

/// A peer that is dead while much is under way takes no more: that must not be waited for.
async fn say_in_time(writer: &mut LinkWriter, says: &MonitorSays) -> bool {
    matches!(tokio::time::timeout(SILENCE, writer.send_json(says)).await, Ok(Ok(())))
}

/// Serves one stream.
async fn streamed(monitor: Arc<Monitor>, mut stream: LinkStream) {
    let opened = tokio::time::timeout(GREETING, stream.reader.recv_json::<StreamOpen>()).await;
    match opened {
        Ok(Ok(StreamOpen::Connect)) => connect(&monitor, stream).await,
        Ok(Ok(StreamOpen::Exec(start))) => exec::exec(&monitor, stream, start).await,
        Ok(Ok(StreamOpen::Attach { role, size, offset, scrollback })) => {
            let scrollback = usize::try_from(scrollback).unwrap_or(usize::MAX);
            terminal::attach(&monitor, stream, terminal::Wish { role, size, offset, scrollback }).await;
        }
        Ok(Ok(StreamOpen::Tunnel { endpoint })) => tunnel::tunnel(&monitor, stream, &endpoint).await,
        Ok(Ok(StreamOpen::Logs { stream: which, tail, follow })) => {
            logs::logs(&monitor, stream, which, tail, follow).await;
        }
        Ok(Ok(StreamOpen::Control) | Err(_)) | Err(_) => {}
    }
}

async fn connect(monitor: &Monitor, stream: LinkStream) {
    let (_reader, mut writer) = stream.split();
    let mut endpoints = monitor.endpoints();
    if monitor.bootstrap.tty {
        let name = "terminal".to_owned();
        endpoints.insert(
            0,
            EndpointDeclared { name, kind: EndpointKind::Tty, port: None, socket: None, prefix: false },
        );
    }
    let reply = StreamReply::Ok(serde_json::to_value(endpoints).unwrap_or_default());
    if let Ok(frame) = Frame::json(&reply) {
        let _ = writer.send(frame).await;
    }
    writer.close().await;
}
