//! `forward`: an endpoint of a session at a port of this host, or at standard input and output.
//!
//! ```text
//! local connection ─▶ tunnel of its own ─▶ endpoint       each half closes by itself, as the sockets do
//! ```

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::thread;

use bytes::Bytes;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;
use wharf_protocol::api::{ConnectRequest, EndpointKind};
use wharf_protocol::stream::{ClientControl, ServerControl};
use wharf_protocol::{ErrorCode, Problem, SessionId};

use super::Context;
use crate::args::session::Forward;
use crate::client::Client;
use crate::client::stream::Incoming;
use crate::failure::{Failure, Outcome};
use crate::find;

/// Bytes taken from a connection at once.
const CHUNK: usize = 64 << 10;

pub(super) async fn run(context: &Context, args: Forward) -> Outcome {
    let client = context.client()?;
    let id = find::session(&client, &args.id).await?;
    if args.stdio {
        tunnel(&client, &id, &args.endpoint, input()?, output()?).await?;
        return Ok(0);
    }
    // Now, and not with the first connection, is when a wrong name should be told.
    let request = ConnectRequest { endpoint: Some(args.endpoint.clone()), role: None };
    let found = client.connection(&id, &request, None).await?;
    if found.value.endpoints.iter().any(|endpoint| endpoint.kind == EndpointKind::Tty) {
        return Err(Failure::usage(format!("{} is a terminal: enter it with wharf attach", args.endpoint)));
    }
    let (host, port) = args.local.unwrap_or_else(|| ("127.0.0.1".to_owned(), 0));
    let listener = TcpListener::bind((host.as_str(), port)).await.map_err(|error| {
        Failure::from(Problem::new(ErrorCode::Unavailable, format!("{host}:{port} cannot be had: {error}")))
    })?;
    let here = listener.local_addr().map_err(|error| Failure::local("no address", &error))?;
    let raw = json!({ "listen": here.to_string(), "session": id, "endpoint": args.endpoint });
    context.output.object(&raw, || here.to_string())?;
    if !here.ip().is_loopback() {
        context.output.tip("whoever reaches this host reaches the endpoint");
    }
    loop {
        let (socket, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                context.output.tip(&format!("a connection cannot be accepted: {error}"));
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = socket.set_nodelay(true);
        let (client, id, endpoint, output) =
            (client.clone(), id.clone(), args.endpoint.clone(), context.output);
        tokio::spawn(async move {
            let mut socket = socket;
            let (from, to) = socket.split();
            if let Err(failure) = tunnel(&client, &id, &endpoint, from, to).await {
                output.failure(&failure);
                // What broke off there breaks off here: an end would say that this was all.
                let _ = socket.set_zero_linger();
            }
        });
    }
}

/// Relays one connection to its end.
async fn tunnel(
    client: &Client,
    id: &SessionId,
    endpoint: &str,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> Outcome<()> {
    let (mut sender, mut receiver) = client.stream(&format!("/sessions/{id}/tunnel/{endpoint}")).await?;
    let outward = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            match from.read(&mut buffer).await {
                // Why a stream broke shows on the receiving side.
                Ok(length @ 1..) if sender.input(&buffer[..length]).await.is_ok() => {}
                Ok(0) if sender.control(&ClientControl::Eof(true)).await.is_ok() => break,
                // The local side is gone for good: so is the tunnel.
                Err(_) => return sender.close().await,
                Ok(_) => break,
            }
        }
        std::future::pending::<()>().await;
    };
    let inward = async {
        let mut ended = false;
        loop {
            match receiver.next().await? {
                Some(Incoming::Data(_, bytes)) => {
                    if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
                        return Ok(());
                    }
                }
                Some(Incoming::Control(ServerControl::Eof(_))) => {
                    let _ = to.shutdown().await;
                    ended = true;
                }
                Some(Incoming::Control(ServerControl::Error(problem))) => return Err(problem.into()),
                Some(Incoming::Control(
                    ServerControl::Exit(_) | ServerControl::Offset(_) | ServerControl::Notice(_),
                )) => {}
                None if ended => return Ok(()),
                None => {
                    let detail = "the connection broke off before its end";
                    return Err(Problem::new(ErrorCode::Unreachable, detail).into());
                }
            }
        }
    };
    tokio::select! {
        () = outward => Ok(()),
        ended = inward => ended,
    }
}

/// Standard output, written without holding anybody up.
fn output() -> Outcome<impl AsyncWrite + Unpin> {
    let output = io::stdout().as_fd().try_clone_to_owned();
    let output = output.map_err(|error| Failure::local("standard output cannot be used", &error))?;
    Ok(tokio::fs::File::from_std(output.into()))
}

/// Standard input, read by a thread of its own: a read that hangs must not keep us from going.
fn input() -> Outcome<impl AsyncRead + Unpin> {
    let (read, mut pieces) = mpsc::channel::<io::Result<Bytes>>(4);
    thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            let mut stdin = io::stdin().lock();
            let mut buffer = vec![0; CHUNK];
            loop {
                let piece = match stdin.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(length) => Ok(Bytes::copy_from_slice(&buffer[..length])),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                if read.blocking_send(piece).is_err() {
                    return;
                }
            }
        })
        .map_err(|error| Failure::local("standard input cannot be read", &error))?;
    Ok(StreamReader::new(futures_util::stream::poll_fn(move |context| pieces.poll_recv(context))))
}
