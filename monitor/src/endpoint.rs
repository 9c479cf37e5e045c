//! Endpoints that the session declares while it runs: `wharf-monitor endpoint add`, and the socket it speaks to.

use std::io::{self, BufRead as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use wharf_protocol::api::EndpointKind;
use wharf_protocol::monitor::{EndpointDeclared, LocalAsk};

use crate::monitor::Monitor;

/// Where the command finds the monitor's socket.
pub(crate) const SOCKET: &str = "WHARF_MONITOR_SOCKET";

/// The session's own terminal goes by that name.
const TERMINAL: &str = "terminal";

/// Whether it may be declared: well named, and not as the terminal is.
fn is_good(endpoint: &EndpointDeclared) -> bool {
    endpoint.name != TERMINAL && endpoint.is_named_well()
}

/// Declares an endpoint, from inside the session.
pub(crate) fn add(name: String, kind: &str, place: &str, prefix: bool) -> io::Result<()> {
    let kind = match kind {
        "http" => EndpointKind::Http,
        "tcp" => EndpointKind::Tcp,
        "vnc" => EndpointKind::Vnc,
        _ => return Err(io::Error::other("the kind is http, tcp or vnc")),
    };
    let port = place.parse::<u16>().ok().filter(|port| *port > 0);
    let socket = (port.is_none()).then(|| place.to_owned());
    if socket.as_deref().is_some_and(|path| !path.starts_with('/')) {
        return Err(io::Error::other("give a port, or the absolute path of a Unix socket"));
    }
    let path = std::env::var_os(SOCKET)
        .ok_or_else(|| io::Error::other(format!("{SOCKET} is not set: this works only inside a session")))?;
    let mut stream = std::os::unix::net::UnixStream::connect(path)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    if prefix && kind != EndpointKind::Http {
        return Err(io::Error::other("only http has a prefix"));
    }
    let endpoint = EndpointDeclared { name, kind, port, socket, prefix };
    if !is_good(&endpoint) {
        return Err(io::Error::other(
            "an endpoint's name is a-z, then a-z, 0-9 and single -, at most 31 in all, and not terminal",
        ));
    }
    let ask = LocalAsk::EndpointAdd { endpoint };
    let mut line = serde_json::to_vec(&ask)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    io::BufReader::new(stream).read_line(&mut answer)?;
    match answer.trim() {
        "ok" => Ok(()),
        "" => Err(io::Error::other("the monitor did not answer")),
        other => Err(io::Error::other(other.to_owned())),
    }
}

/// Serves the monitor's socket.
pub(crate) fn serve(monitor: Arc<Monitor>, path: &Path) -> io::Result<()> {
    let _ = std::fs::remove_file(path);
    let listener = tokio::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let monitor = Arc::clone(&monitor);
            tokio::spawn(async move {
                let served = tokio::time::timeout(Duration::from_secs(10), answer(&monitor, stream)).await;
                let _ = served;
            });
        }
    });
    Ok(())
}

async fn answer(monitor: &Monitor, stream: tokio::net::UnixStream) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    tokio::io::BufReader::new(read.take(64 * 1024)).read_line(&mut line).await?;
    let answer = match serde_json::from_str(&line) {
        Ok(LocalAsk::EndpointAdd { endpoint }) if is_good(&endpoint) => {
            if monitor.declare(endpoint) {
                "ok"
            } else {
                "too many endpoints"
            }
        }
        Ok(LocalAsk::EndpointAdd { .. }) => "not a name",
        Err(_) => "not understood",
    };
    write.write_all(answer.as_bytes()).await?;
    write.write_all(b"\n").await
}
