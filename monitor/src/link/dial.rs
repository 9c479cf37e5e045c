//! One dial: the addresses as they are now, one after the other, until one answers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, client::IntoClientRequest as _};
use wharf_protocol::monitor::{LINK_HEADER, LINK_PATH, LinkClaim, OVER_HEADER, PROTOCOL};
use wharf_protocol::signed::KeyPin;

use super::proof;
use crate::monitor::Monitor;

/// For one address.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// 401: not again.
    Never,
    /// 410, signed by the launcher: the session is over.
    Over,
    /// 503 or 429.
    Later(Duration),
    /// Nobody there, in the system's words.
    Unreachable(String),
}

fn nobody(why: impl std::fmt::Display) -> Refused {
    Refused::Unreachable(why.to_string())
}

pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}
/// A WebSocket, whatever is below it.
pub(super) type Link = WebSocketStream<Box<dyn Socket>>;

fn addresses(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// What tells local sockets from their successors.
pub(super) type LocalSockets = Vec<(PathBuf, u64, i64, i64)>;

/// The local sockets that are there.
pub(super) fn local_sockets(file: &Path) -> LocalSockets {
    addresses(file)
        .iter()
        .filter_map(|address| {
            let path = PathBuf::from(address.strip_prefix("unix:")?);
            let found = std::fs::metadata(&path).ok()?;
            Some((path, found.ino(), found.ctime(), found.ctime_nsec()))
        })
        .collect()
}

/// The claim as it is now.
pub(super) fn claim(monitor: &Monitor) -> LinkClaim {
    let papers = monitor.papers();
    LinkClaim {
        protocol: PROTOCOL,
        session: monitor.bootstrap.session.clone(),
        attempt: attempt(&papers.credential),
        restarts: monitor.restarts,
        number: papers.number,
        resume: papers.resume,
        nonce: monitor.nonce.clone(),
        job_id: monitor.job.clone(),
    }
}

/// The attempt that a credential is for; the launcher checks it, we only repeat it.
fn attempt(credential: &str) -> u32 {
    let payload = credential.split('.').next().and_then(wharf_protocol::signed::decode).unwrap_or_default();
    serde_json::from_slice::<wharf_protocol::monitor::Credential>(&payload)
        .map_or(1, |credential| credential.attempt)
}

/// Dials every address until one answers.
pub(super) async fn dial(monitor: &Monitor) -> Result<Link, Refused> {
    let mut refused = None;
    let mut words = Vec::new();
    for address in addresses(&monitor.addresses) {
        let dialled = tokio::time::timeout(PATIENCE, one(monitor, &address)).await;
        match dialled.unwrap_or_else(|_| Err(nobody("no answer in time"))) {
            Ok(link) => return Ok(link),
            Err(Refused::Unreachable(why)) => words.push(format!("{address}: {why}")),
            Err(answer) => refused = Some(answer),
        }
    }
    Err(refused.unwrap_or_else(|| nobody(words.join("; "))))
}

async fn one(monitor: &Monitor, address: &str) -> Result<Link, Refused> {
    let bearer = format!("Bearer {}", monitor.papers().credential);
    show(address, &bearer, &claim(monitor), &monitor.papers().keys).await
}

/// Dials one address with those papers.
pub(super) async fn show(
    address: &str,
    papers: &str,
    claim: &LinkClaim,
    keys: &[KeyPin],
) -> Result<Link, Refused> {
    let (socket, host) = connect(address).await.map_err(nobody)?;
    let header = serde_json::to_vec(claim).map_err(nobody)?;
    let mut request = format!("ws://{host}{LINK_PATH}").into_client_request().map_err(nobody)?;
    let headers = request.headers_mut();
    headers.insert("authorization", papers.parse().map_err(|_| Refused::Never)?);
    headers.insert(LINK_HEADER, wharf_protocol::signed::encode(&header).parse().map_err(nobody)?);
    let config = WebSocketConfig::default().max_message_size(Some(4 << 20)).max_frame_size(Some(4 << 20));
    match tokio_tungstenite::client_async_with_config(request, socket, Some(config)).await {
        Ok((link, _)) => Ok(link),
        Err(Error::Http(response)) => Err(refusal(response.status(), response.headers(), claim, keys)),
        Err(error) => Err(nobody(error)),
    }
}

/// What an answer without an upgrade means.
fn refusal(status: StatusCode, headers: &HeaderMap, claim: &LinkClaim, keys: &[KeyPin]) -> Refused {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match status.as_u16() {
        401 => Refused::Never,
        410 if header(OVER_HEADER).is_some_and(|over| proof::is_over(over, &claim.nonce, keys)) => {
            Refused::Over
        }
        410 => nobody("who says that the session is over does not hold the launcher's key"),
        429 | 503 => {
            let after = header("retry-after").and_then(|after| after.parse().ok());
            Refused::Later(Duration::from_secs(after.unwrap_or(5).clamp(1, 600)))
        }
        status => nobody(format!("status {status}: no launcher")),
    }
}

async fn connect(address: &str) -> io::Result<(Box<dyn Socket>, String)> {
    if let Some(path) = address.strip_prefix("unix:") {
        return Ok((Box::new(unix(Path::new(path)).await?), "localhost".to_owned()));
    }
    let uri: Uri = address.parse().map_err(io::Error::other)?;
    let host = uri.host().ok_or_else(|| io::Error::other("no host"))?.trim_matches(['[', ']']).to_owned();
    let tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let authority = uri.authority().map_or_else(|| host.clone(), ToString::to_string);
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for ip in resolve(&host).await? {
        match TcpStream::connect(SocketAddr::new(ip, port)).await {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                let socket: Box<dyn Socket> =
                    if tls { Box::new(secure(stream, &host).await?) } else { Box::new(stream) };
                return Ok((socket, authority));
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// A path longer than a socket address holds is reached through its opened directory.
async fn unix(path: &Path) -> io::Result<UnixStream> {
    if path.as_os_str().len() <= 107 {
        return UnixStream::connect(path).await;
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let dir = std::fs::File::open(dir)?;
    let short = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&dir));
    UnixStream::connect(Path::new(&short).join(name)).await
}

/// Names without the C library's resolver, which a static program does not have.
async fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(ip) = host.parse() {
        return Ok(vec![ip]);
    }
    if host == "localhost" || host.ends_with(".localhost") {
        return Ok(vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from(std::net::Ipv6Addr::LOCALHOST)]);
    }
    let builder = hickory_resolver::Resolver::builder_tokio().map_err(io::Error::other)?;
    let found = builder.build().lookup_ip(host).await.map_err(io::Error::other)?;
    Ok(found.iter().collect())
}

async fn secure(stream: TcpStream, host: &str) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(file) = std::env::var_os("SSL_CERT_FILE") {
        use rustls::pki_types::{CertificateDer, pem::PemObject as _};
        for certificate in CertificateDer::pem_file_iter(file).map_err(io::Error::other)?.flatten() {
            let _ = roots.add(certificate);
        }
    }
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
}
