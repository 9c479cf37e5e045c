//! The way to an engine: a connection for each request, on which no more comes than such an answer may be long.
//!
//! What an engine tells of a container holds the labels and variables of its image, which may be anybody's; and what
//! answers at an address may be no engine at all. So what an answer can cost is bounded here, before anybody reads it.
//! Whether a connection came about is known for sure, which is what makes a failure `unavailable`.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::BollardRequest;
use bollard::errors::Error;
use http::header::HOST;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Response, Uri};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

use super::engine::{Address, Tls};
use crate::wire::{self, Bounded, Stream, bare, dial};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// How long certificates are not read again.
const TRUSTED: Duration = Duration::from_secs(10);
/// Most bytes of an answer.
const ANSWER: u64 = 32 << 20;
/// Of what is told of an image: an image that says more about itself is not run.
const IMAGE: u64 = 1 << 20;
/// Of a list, which is read piece by piece: it holds all that the images of all containers say.
const LIST: u64 = 1 << 30;
/// Of what goes on, and is read piece by piece too.
const GOES_ON: u64 = 256 << 20;
const GOING_ON: [&str; 2] = ["/events", "/images/create"];

fn most(path: &str) -> u64 {
    if path.ends_with("/containers/json") {
        LIST
    } else if path.contains("/images/") && path.ends_with("/json") {
        IMAGE
    } else if GOING_ON.iter().any(|end| path.ends_with(end)) || path.contains("/exec/") {
        GOES_ON
    } else {
        ANSWER
    }
}

/// Nobody was reached: nothing was asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unreached(#[source] io::Error);

/// As if nobody had been reached.
pub(super) fn unreached(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    io::Error::other(Unreached(io::Error::other(why))).into()
}

/// Whether the request surely never reached the engine.
pub(super) fn is_unreached(error: &Error) -> bool {
    let Error::IOError { err } = error else { return false };
    err.get_ref().is_some_and(|inner| inner.is::<Unreached>())
}

/// Whether the answer was longer than it may be.
pub(super) fn is_too_long(error: &Error) -> bool {
    wire::is_too_long(error)
}

/// Where an engine listens, and how it is spoken to.
#[derive(Debug)]
pub(super) enum Transport {
    Unix(PathBuf),
    Tcp(Authority, Option<Trust>),
}

/// Who we are to an engine over TLS, and whom we believe: read anew now and then, so that certificates can be renewed.
#[derive(Debug)]
pub(super) struct Trust {
    files: Tls,
    /// Kept for a while: with it a connection takes up the session of the one before.
    read: Mutex<Option<(Instant, Arc<ClientConfig>)>>,
}

impl Trust {
    async fn config(&self) -> io::Result<Arc<ClientConfig>> {
        let mut kept = self.read.lock().await;
        if let Some((at, config)) = &*kept
            && at.elapsed() < TRUSTED
        {
            return Ok(Arc::clone(config));
        }
        let files = self.files.clone();
        let config = tokio::task::spawn_blocking(move || trust(&files)).await;
        let config = Arc::new(config.map_err(io::Error::other).flatten()?);
        *kept = Some((Instant::now(), Arc::clone(&config)));
        Ok(config)
    }
}

impl Transport {
    /// # Errors
    /// An address that is none.
    pub(super) fn to(address: &Address) -> Result<Self, Error> {
        if let Some(path) = address.host.strip_prefix("unix://") {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let (scheme, place) = address.host.split_once("://").unwrap_or(("tcp", &address.host));
        if !["tcp", "http", "https"].contains(&scheme) {
            return Err(unreached(format!(
                "{scheme}:// is no way that is known: name unix://PATH or tcp://HOST:PORT"
            )));
        }
        let place = place.trim_end_matches('/');
        let authority = place.parse().map_err(|error: http::uri::InvalidUri| unreached(error))?;
        let trust = address.tls.clone().map(|files| Trust { files, read: Mutex::default() });
        Ok(Self::Tcp(authority, trust))
    }

    /// Asks, and returns the answer's head; its body comes as it is read.
    pub(super) async fn ask(&self, mut request: BollardRequest) -> Result<Response<Incoming>, Error> {
        let left = most(request.uri().path());
        let host = match self {
            Self::Unix(_) => HeaderValue::from_static("localhost"),
            Self::Tcp(authority, _) => HeaderValue::from_str(authority.as_str()).map_err(io::Error::other)?,
        };
        request.headers_mut().insert(HOST, host);
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        let stream = tokio::time::timeout(CONNECT, self.connect()).await;
        let stream = stream.map_err(|_| unreached("no connection came about in time"))?.map_err(unreached)?;
        let stream = Bounded::new(stream, left);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends when the answer has been read, or is no longer wanted.
        tokio::spawn(connection.with_upgrades());
        Ok(sender.send_request(request).await?)
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Self::Tcp(authority, None) => Ok(Box::new(dial(authority, 2375).await?)),
            Self::Tcp(authority, Some(trust)) => {
                let config = trust.config().await?;
                let stream = dial(authority, 2376).await?;
                let name = bare(authority.host()).to_owned();
                let name = ServerName::try_from(name).map_err(io::Error::other)?;
                Ok(Box::new(TlsConnector::from(config).connect(name, stream).await?))
            }
        }
    }
}

fn trust(tls: &Tls) -> io::Result<ClientConfig> {
    let told = |path: &std::path::Path, error: &dyn std::fmt::Display| {
        io::Error::other(format!("the certificate file {}: {error}", path.display()))
    };
    let read = |path: &std::path::Path| {
        let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        certificates.map_err(|error| told(path, &error)).map(|read: Vec<CertificateDer<'static>>| read)
    };
    let mut roots = RootCertStore::empty();
    for certificate in read(&tls.ca)? {
        roots.add(certificate).map_err(|error| told(&tls.ca, &error))?;
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| told(&tls.key, &error))?;
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_client_auth_cert(read(&tls.cert)?, key)
        .map_err(|error| told(&tls.cert, &error))
}
