//! A byte stream to an endpoint inside the session, with half-close both ways.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;
use wharf_link::{Frame, LinkStream};
use wharf_protocol::monitor::StreamReply;
use wharf_protocol::stream::{Channel, ClientControl, ServerControl};
use wharf_protocol::{ErrorCode, Problem};

use crate::monitor::Monitor;

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// How often an application that has said its last is looked at: it may have closed, or may only have no more to say.
const LOOK: Duration = Duration::from_millis(250);
/// What an application still says to a client that is gone is waited for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells whether an application has closed its socket; the stream itself says the same for a half-close.
enum Peer {
    /// Its port and ours.
    Tcp(u16, u16),
    /// Our end.
    Unix(OwnedFd),
}

impl Peer {
    fn tcp(socket: &TcpStream) -> std::io::Result<Self> {
        Ok(Self::Tcp(socket.peer_addr()?.port(), socket.local_addr()?.port()))
    }

    fn is_closed(&self) -> bool {
        match self {
            // The kernel keeps such a socket for a while, but no process holds it: it has no inode.
            Self::Tcp(theirs, ours) => !["/proc/self/net/tcp", "/proc/self/net/tcp6"].iter().any(|table| {
                let table = std::fs::read_to_string(table).unwrap_or_default();
                table.lines().any(|line| {
                    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
                    matches!(fields[..], [_, local, remote, _, _, _, _, _, _, inode, ..]
                        if inode != "0"
                            && local.ends_with(&format!(":{theirs:04X}"))
                            && remote.ends_with(&format!(":{ours:04X}")))
                })
            }),
            Self::Unix(socket) => {
                let mut looked = [PollFd::new(socket, PollFlags::empty())];
                let now = rustix::event::Timespec::default();
                poll(&mut looked, Some(&now)).is_err()
                    || looked[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
            }
        }
    }
}

/// A socket, how to look at its other end, and the port there.
type Connected = (Box<dyn Socket>, Peer, Option<u16>);

/// Connects to an endpoint; the second value is what the launcher is told of it.
async fn connect(monitor: &Monitor, name: &str) -> Result<(Box<dyn Socket>, Peer, Value), Problem> {
    let endpoint =
        monitor.endpoints().into_iter().find(|endpoint| endpoint.name == name).ok_or_else(|| {
            Problem::new(ErrorCode::UnknownEndpoint, format!("the session has no endpoint {name:?}"))
        })?;
    let socket = match (&endpoint.socket, endpoint.port) {
        (Some(path), _) => unix(path).await,
        (None, Some(port)) => tcp(port).await,
        (None, None) => Err(std::io::ErrorKind::AddrNotAvailable.into()),
    };
    let told = |port| json!({ "port": port, "prefix": endpoint.prefix });
    socket.map(|(socket, peer, port)| (socket, peer, told(port))).map_err(|error| {
        Problem::new(ErrorCode::EndpointFailed, format!("nobody answers on the endpoint {name}: {error}"))
            .hint("the application may still be starting; see `wharf logs`")
    })
}

async fn unix(path: &str) -> std::io::Result<Connected> {
    let socket = UnixStream::connect(path).await?;
    let peer = Peer::Unix(socket.as_fd().try_clone_to_owned()?);
    Ok((Box::new(socket), peer, None))
}

async fn tcp(port: u16) -> std::io::Result<Connected> {
    let socket = match TcpStream::connect(("127.0.0.1", port)).await {
        Ok(socket) => socket,
        Err(first) => TcpStream::connect(("::1", port)).await.map_err(|_| first)?,
    };
    let _ = socket.set_nodelay(true);
    let peer = Peer::tcp(&socket)?;
    Ok((Box::new(socket), peer, Some(port)))
}

/// Serves one tunnel.
pub(crate) async fn tunnel(monitor: &Monitor, stream: LinkStream, name: &str) {
    let (mut reader, mut writer) = stream.split();
    let (socket, peer, told) = match connect(monitor, name).await {
        Ok(connected) => connected,
        Err(problem) => {
            let _ = writer.send_json(&StreamReply::Refused(problem)).await;
            return writer.close().await;
        }
    };
    if writer.send_json(&StreamReply::Ok(told)).await.is_err() {
        return;
    }
    let (mut from, mut to) = tokio::io::split(socket);
    let outward = async {
        let mut buffer = vec![0; 32 * 1024];
        let last = loop {
            match from.read(&mut buffer).await {
                Ok(0) => break ServerControl::Eof(true),
                Ok(length) => {
                    let data = Bytes::copy_from_slice(&buffer[..length]);
                    if writer.send(Frame::Data(Channel::Stdin, data)).await.is_err() {
                        return;
                    }
                }
                // Not an end: what broke off must not pass for whole.
                Err(error) => {
                    let detail = format!("the application at {name} broke its connection off: {error}");
                    break ServerControl::Error(Problem::new(ErrorCode::EndpointFailed, detail));
                }
            }
        };
        let _ = writer.send_json(&last).await;
    };
    let enough = CancellationToken::new();
    let inward = async {
        while let Ok(Some(frame)) = reader.recv().await {
            match frame {
                Frame::Data(Channel::Stdin, data) if !enough.is_cancelled() => {
                    if to.write_all(&data).await.is_err() {
                        enough.cancel();
                    }
                }
                Frame::Control(text) if !enough.is_cancelled() => {
                    if let Ok(ClientControl::Eof(_)) = serde_json::from_slice(&text) {
                        let _ = to.shutdown().await;
                        enough.cancel();
                    }
                }
                Frame::Data(..) | Frame::Control(_) => {}
            }
        }
        if !enough.is_cancelled() {
            let _ = to.shutdown().await;
        }
    };
    {
        tokio::pin!(outward, inward);
        tokio::select! {
            // A half-close goes on the other way; only a closed application is the end.
            () = &mut outward => tokio::select! {
                () = &mut inward => {}
                () = enough.cancelled() => {}
                () = closed(&peer) => {}
            },
            () = &mut inward => drop(tokio::time::timeout(PATIENCE, outward).await),
        }
    }
    writer.close().await;
}

/// Until the application has closed its socket.
async fn closed(peer: &Peer) {
    while !peer.is_closed() {
        tokio::time::sleep(LOOK).await;
    }
}
