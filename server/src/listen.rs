//! Listeners: Unix sockets known by the peer's uid, TCP, TLS; and one socket for monitors only.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::patience::{Busy, IDLE, Patient};

/// Longest path that a socket's address holds.
const MAX_PATH: usize = 107;

/// An address to listen on: `unix:PATH`, `http://HOST:PORT` or `https://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddr {
    /// A Unix socket.
    Unix(PathBuf),
    /// Plain HTTP.
    Http(String),
    /// HTTP over TLS.
    Https(String),
}

impl FromStr for ListenAddr {
    type Err = BindError;

    fn from_str(text: &str) -> Result<Self, BindError> {
        let bad = || BindError::Address(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(bad()) } else { Ok(Self::Unix(path.into())) };
        }
        let (secure, place) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(place), _) => (false, place),
            (None, Some(place)) => (true, place),
            (None, None) => return Err(bad()),
        };
        let place = place.trim_end_matches('/').to_owned();
        let Some((host, port)) = place.rsplit_once(':') else { return Err(bad()) };
        let stray = |letter: char| matches!(letter, '/' | '@' | '?' | '#') || letter.is_whitespace();
        if host.is_empty() || host.contains(stray) || port.parse::<u16>().is_err() {
            return Err(bad());
        }
        Ok(if secure { Self::Https(place) } else { Self::Http(place) })
    }
}

impl ListenAddr {
    /// Whether it could be listened on, whoever may have it at the moment.
    ///
    /// # Errors
    /// Plain HTTP for other hosts that is not meant to be, TLS without what it takes, a name without an address.
    pub async fn check(&self, insecure: bool, tls: Option<&Tls>) -> Result<(), BindError> {
        match self {
            Self::Unix(_) => Ok(()),
            Self::Http(place) => check_plain(place, insecure).await,
            Self::Https(place) => tls_config(tls, &format!("https://{place}")).map(drop),
        }
    }
}

/// A certificate and its key, PEM files.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why a listener cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Not an address.
    #[error("{0:?} is not an address to listen on: write unix:PATH, http://HOST:PORT or https://HOST:PORT")]
    Address(String),
    /// Somebody else has it.
    #[error("{address} is in use by another program")]
    Taken {
        /// The address.
        address: String,
    },
    /// Plain HTTP for everybody.
    #[error(
        "{address} would serve plain HTTP to other hosts: use https, or --insecure-http if the network is trusted"
    )]
    Insecure {
        /// The address.
        address: String,
    },
    /// TLS without a certificate, or with one that cannot be used.
    #[error("{address}: {detail}")]
    Tls {
        /// The address.
        address: String,
        /// What is missing.
        detail: String,
    },
    /// The system's no.
    #[error("cannot listen on {address}: {source}")]
    Io {
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
}

impl BindError {
    /// Whether the request itself was at fault, not the moment.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Address(_) | Self::Insecure { .. } | Self::Tls { .. })
    }
}

/// What comes in by a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// The API, by peer uid.
    Local,
    /// The API, by token.
    Tcp,
    /// Monitors' links only.
    Monitors,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A local process of that uid.
    Uid(u32),
    /// Somebody on the network.
    Network(SocketAddr),
}

#[derive(Debug)]
enum Socket {
    Unix(UnixListener),
    Tcp(TcpListener, Option<Arc<rustls::ServerConfig>>),
}

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) address: String,
    pub(crate) door: Door,
    /// The port, when one was picked.
    pub(crate) port: Option<u16>,
    socket: Socket,
}

/// Binds one.
pub(crate) async fn bind(
    address: &ListenAddr,
    insecure: bool,
    tls: Option<&Tls>,
) -> Result<Bound, BindError> {
    match address {
        ListenAddr::Unix(path) => {
            let address = format!("unix:{}", path.display());
            let socket = Socket::Unix(unix(path, 0o600).await?);
            Ok(Bound { address, door: Door::Local, port: None, socket })
        }
        ListenAddr::Http(place) => {
            let shown = format!("http://{place}");
            check_plain(place, insecure).await?;
            let listener = tcp(place, &shown).await?;
            let local =
                listener.local_addr().map_err(|source| BindError::Io { address: shown.clone(), source })?;
            let port = place.ends_with(":0").then_some(local.port());
            Ok(Bound {
                address: format!("http://{local}"),
                door: Door::Tcp,
                port,
                socket: Socket::Tcp(listener, None),
            })
        }
        ListenAddr::Https(place) => {
            let shown = format!("https://{place}");
            let config = tls_config(tls, &shown)?;
            let listener = tcp(place, &shown).await?;
            let local =
                listener.local_addr().map_err(|source| BindError::Io { address: shown.clone(), source })?;
            let port = place.ends_with(":0").then_some(local.port());
            let socket = Socket::Tcp(listener, Some(Arc::new(config)));
            Ok(Bound { address: format!("https://{local}"), door: Door::Tcp, port, socket })
        }
    }
}

/// The socket that local monitors link by: any uid may connect, the credential decides.
pub(crate) async fn bind_monitors(path: &Path) -> Result<Bound, BindError> {
    let address = format!("unix:{}", path.display());
    let io = |source| BindError::Io { address: address.clone(), source };
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(io)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).map_err(io)?;
    }
    let socket = Socket::Unix(unix(path, 0o666).await?);
    Ok(Bound { address, door: Door::Monitors, port: None, socket })
}

/// Plain HTTP is for names that mean this host only, whichever of their addresses is taken.
async fn check_plain(place: &str, insecure: bool) -> Result<(), BindError> {
    if insecure {
        return Ok(());
    }
    let address = format!("http://{place}");
    let mut found = match tokio::net::lookup_host(place).await {
        Ok(found) => found,
        Err(source) => return Err(BindError::Io { address, source }),
    };
    if found.all(|found| found.ip().is_loopback()) { Ok(()) } else { Err(BindError::Insecure { address }) }
}

async fn tcp(place: &str, shown: &str) -> Result<TcpListener, BindError> {
    TcpListener::bind(place).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken { address: shown.to_owned() },
        _ => BindError::Io { address: shown.to_owned(), source },
    })
}

/// Binds a Unix socket. What a dead launcher left there is taken away, a living one's is not.
async fn unix(path: &Path, mode: u32) -> Result<UnixListener, BindError> {
    let address = format!("unix:{}", path.display());
    let io = |source| BindError::Io { address: address.clone(), source };
    let (dir, short) = if path.as_os_str().len() > MAX_PATH {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io(io::ErrorKind::InvalidInput.into()));
        };
        let dir = fs::File::open(parent).map_err(io)?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name);
        (Some(dir), short)
    } else {
        (None, path.to_owned())
    };
    if fs::symlink_metadata(path)
        .is_ok_and(|found| std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()))
    {
        match tokio::net::UnixStream::connect(&short).await {
            // Nobody is there any more; any other answer, a full backlog too, is somebody's.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(io)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) | Ok(_) => return Err(BindError::Taken { address }),
        }
    }
    let listener = UnixListener::bind(&short).map_err(io)?;
    drop(dir);
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io)?;
    Ok(listener)
}

fn tls_config(tls: Option<&Tls>, address: &str) -> Result<rustls::ServerConfig, BindError> {
    let refused = |detail: String| BindError::Tls { address: address.to_owned(), detail };
    let tls =
        tls.ok_or_else(|| refused("https needs [tls] certificate and key in the configuration".to_owned()))?;
    let chain = rustls::pki_types::CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refused(format!("{}: {error}", tls.certificate.display())))?;
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|error| refused(format!("{}: {error}", tls.key.display())))?;
    rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| refused(error.to_string()))
}

/// Accepts until told to stop; then waits for the connections that are under way.
pub(crate) async fn serve(bound: Bound, router: Router, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&bound.socket) => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(connection(stream, peer, router.clone(), stop.clone()));
            }
            Err(error) => {
                // Out of descriptors, most likely: waiting is all that helps.
                tracing::warn!(%error, listener = bound.address, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(bound);
    while connections.join_next().await.is_some() {}
}

enum Accepted {
    Plain(Box<dyn Stream>),
    Tls(Box<TlsAcceptor>, tokio::net::TcpStream),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn accept(socket: &Socket) -> io::Result<(Accepted, Peer)> {
    match socket {
        Socket::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            let uid = stream.peer_cred()?.uid();
            Ok((Accepted::Plain(Box::new(stream)), Peer::Uid(uid)))
        }
        Socket::Tcp(listener, tls) => {
            let (stream, from) = listener.accept().await?;
            let _ = stream.set_nodelay(true);
            let accepted = match tls {
                Some(config) => Accepted::Tls(Box::new(TlsAcceptor::from(Arc::clone(config))), stream),
                None => Accepted::Plain(Box::new(stream)),
            };
            Ok((accepted, Peer::Network(from)))
        }
    }
}

async fn connection(accepted: Accepted, peer: Peer, router: Router, stop: CancellationToken) {
    let stream: Box<dyn Stream> = match accepted {
        Accepted::Plain(stream) => stream,
        Accepted::Tls(acceptor, stream) => {
            match tokio::time::timeout(Duration::from_secs(10), acceptor.accept(stream)).await {
                Ok(Ok(stream)) => Box::new(stream),
                Ok(Err(_)) | Err(_) => return,
            }
        }
    };
    let busy = Busy::default();
    let stream = Patient::new(stream, busy.clone());
    let service = tower::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer);
        let (router, busy) = (router.clone(), busy.clone());
        busy.begin();
        async move {
            let response = router.oneshot(request).await;
            // Of an upgraded connection there is no next head.
            if response
                .as_ref()
                .is_ok_and(|response| response.status() != http::StatusCode::SWITCHING_PROTOCOLS)
            {
                busy.end();
            }
            response
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(64 * 1024).max_headers(100);
    let serving =
        http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).with_upgrades();
    tokio::pin!(serving);
    tokio::select! {
        _ = &mut serving => return,
        () = stop.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}
