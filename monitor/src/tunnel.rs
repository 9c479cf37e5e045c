//! A byte stream to an endpoint inside the session, with half-close both ways.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use wharf_link::{Frame, LinkStream};
use wharf_protocol::monitor::StreamReply;
use wharf_protocol::stream::{Channel, ClientControl, ServerControl};
use wharf_protocol::{ErrorCode, Problem};

use crate::monitor::Monitor;

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

async fn connect(monitor: &Monitor, name: &str) -> Result<Box<dyn Socket>, Problem> {
    let endpoint =
        monitor.endpoints().into_iter().find(|endpoint| endpoint.name == name).ok_or_else(|| {
            Problem::new(ErrorCode::UnknownEndpoint, format!("the session has no endpoint {name:?}"))
        })?;
    let socket: std::io::Result<Box<dyn Socket>> = match (&endpoint.socket, endpoint.port) {
        (Some(path), _) => UnixStream::connect(path).await.map(|socket| Box::new(socket) as Box<dyn Socket>),
        (None, Some(port)) => match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(socket) => Ok(Box::new(socket)),
            Err(first) => match TcpStream::connect(("::1", port)).await {
                Ok(socket) => Ok(Box::new(socket)),
                Err(_) => Err(first),
            },
        },
        (None, None) => Err(std::io::ErrorKind::AddrNotAvailable.into()),
    };
    socket.map_err(|error| {
        Problem::new(ErrorCode::EndpointFailed, format!("nobody answers on the endpoint {name}: {error}"))
            .hint("the application may still be starting; see `wharf logs`")
    })
}

/// Serves one tunnel.
pub(crate) async fn tunnel(monitor: &Monitor, stream: LinkStream, name: &str) {
    let (mut reader, mut writer) = stream.split();
    let socket = match connect(monitor, name).await {
        Ok(socket) => socket,
        Err(problem) => {
            let _ = writer.send_json(&StreamReply::Refused(problem)).await;
            return writer.close().await;
        }
    };
    if writer.send_json(&StreamReply::Ok(serde_json::Value::Null)).await.is_err() {
        return;
    }
    let (mut from, mut to) = tokio::io::split(socket);
    let outward = async {
        let mut buffer = vec![0; 32 * 1024];
        loop {
            match from.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(length) => {
                    let data = Bytes::copy_from_slice(&buffer[..length]);
                    if writer.send(Frame::Data(Channel::Stdin, data)).await.is_err() {
                        return false;
                    }
                }
            }
        }
        let _ = writer.send_json(&ServerControl::Eof(true)).await;
        writer.close().await;
        true
    };
    let inward = async {
        let mut open = true;
        while let Ok(Some(frame)) = reader.recv().await {
            match frame {
                Frame::Data(Channel::Stdin, data) if open => {
                    if to.write_all(&data).await.is_err() {
                        open = false;
                    }
                }
                Frame::Control(text) if open => {
                    if let Ok(ClientControl::Eof(_)) = serde_json::from_slice(&text) {
                        let _ = to.shutdown().await;
                        open = false;
                    }
                }
                Frame::Data(..) | Frame::Control(_) => {}
            }
        }
        if open {
            let _ = to.shutdown().await;
        }
    };
    tokio::pin!(outward, inward);
    // The application's end is the end; a client's half-close is not.
    tokio::select! {
        _ = &mut outward => {}
        () = &mut inward => drop(tokio::time::timeout(std::time::Duration::from_secs(60), outward).await),
    }
}
