//! The connection to one engine, and what its failures mean.
//!
//! Connected when it is first needed, so that a launcher starts without its engines. What the engine refused, what never
//! reached it, and what was lost on the way are three things: only after the first two is it sure that nothing happened.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker as Client};
use tokio::sync::Mutex;
use wharf_core::backend::{HostContext, HostError};
use wharf_core::hook::HookErrorKind;
use wharf_protocol::SessionId;

use super::upload::Source;

/// How long the head of any answer may take, in seconds; calls have shorter deadlines of their own.
const PATIENCE: u64 = 600;

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `unix:///PATH`, `tcp://HOST:PORT` or `http://HOST:PORT`.
    pub host: String,
    /// For an engine over TLS.
    pub tls: Option<Tls>,
    /// Whether the engine does not see the launcher's directories, so that containers get the monitor by upload and
    /// link by URL; none: unless it is on a Unix socket.
    pub upload: Option<bool>,
    /// What people call the host behind it.
    pub node: Option<String>,
}

/// Who we are to an engine over TLS, and whom we believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The authority that signed the engine's certificate: PEM.
    pub ca: PathBuf,
    /// Our certificate: PEM.
    pub cert: PathBuf,
    /// Its key: PEM.
    pub key: PathBuf,
}

impl Address {
    /// What `DOCKER_HOST` says, else the standard socket.
    pub fn standard() -> Self {
        let host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        let certs = std::env::var_os("DOCKER_CERT_PATH")
            .filter(|_| std::env::var_os("DOCKER_TLS_VERIFY").is_some_and(|verify| !verify.is_empty()))
            .map(PathBuf::from);
        let tls = certs.map(|dir| Tls {
            ca: dir.join("ca.pem"),
            cert: dir.join("cert.pem"),
            key: dir.join("key.pem"),
        });
        Self {
            host: host.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned()),
            tls,
            upload: None,
            node: None,
        }
    }
}

/// One engine.
#[derive(Debug)]
pub(super) struct Engine {
    address: Address,
    /// What an upload brings.
    pub(super) source: Option<Source>,
    client: Mutex<Option<Client>>,
    architecture: tokio::sync::OnceCell<Option<String>>,
    fresh: std::sync::Mutex<HashMap<SessionId, (Instant, String)>>,
    images: std::sync::Mutex<HashMap<String, Instant>>,
}

/// How long what was made a moment ago need not be looked at again.
const FRESH: Duration = Duration::from_secs(2);
/// How long an image that was there is believed to be there. Where it is not, the engine says so before anything is
/// made, and the start begins again.
const BELIEVED: Duration = Duration::from_secs(30);

impl Engine {
    pub(super) fn new(address: Address, source: Option<Source>) -> Self {
        Self {
            address,
            source,
            client: Mutex::default(),
            architecture: tokio::sync::OnceCell::new(),
            fresh: std::sync::Mutex::default(),
            images: std::sync::Mutex::default(),
        }
    }

    /// The client, with the version that engine and we both speak.
    pub(super) async fn client(&self) -> Result<Client, HostError> {
        let mut kept = self.client.lock().await;
        if let Some(client) = &*kept {
            return Ok(client.clone());
        }
        let client = match self.connect() {
            Ok(client) => client.negotiate_version().await,
            Err(error) => Err(error),
        };
        // Nothing but a question was asked: whatever went wrong, it can be asked again.
        let client = client.map_err(|error| {
            HostError::new(HookErrorKind::Unavailable, format!("{}: {}", self.silent(), words(&error)))
        })?;
        Ok(kept.insert(client).clone())
    }

    /// The architecture of the engine's host, in the engine's words.
    pub(super) async fn architecture(&self) -> Result<Option<String>, HostError> {
        let ask = async || {
            let told = self.client().await?.version().await;
            told.map(|told| told.arch)
                .map_err(|error| self.told("the engine's version cannot be asked", error))
        };
        self.architecture.get_or_try_init(ask).await.cloned()
    }

    /// Remembers a container that was just made for a session.
    pub(super) fn made(&self, session: &SessionId, container: String) {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        fresh.retain(|_, (made, _)| made.elapsed() < FRESH);
        fresh.insert(session.clone(), (Instant::now(), container));
    }

    /// The container that was just made for a session, once: by its own id it is surely the one, and has never run.
    pub(super) fn take_made(&self, session: &SessionId) -> Option<String> {
        let (made, container) = self.fresh.lock().unwrap_or_else(PoisonError::into_inner).remove(session)?;
        (made.elapsed() < FRESH).then_some(container)
    }

    /// Remembers that an image is there.
    pub(super) fn has_image(&self, image: &str) {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.retain(|_, seen| seen.elapsed() < BELIEVED);
        images.insert(image.to_owned(), Instant::now());
    }

    /// Whether an image was there a moment ago.
    pub(super) fn believes_in_image(&self, image: &str) -> bool {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.get(image).is_some_and(|seen| seen.elapsed() < BELIEVED)
    }

    /// Forgets an image that is not there; whether it was believed to be.
    pub(super) fn lost_image(&self, image: &str) -> bool {
        self.images.lock().unwrap_or_else(PoisonError::into_inner).remove(image).is_some()
    }

    /// What people call the host behind it.
    pub(super) fn node(&self) -> Option<&str> {
        self.address.node.as_deref()
    }

    /// Whether containers get the monitor by upload.
    pub(super) fn uploads(&self) -> bool {
        self.address.upload.unwrap_or_else(|| !self.address.host.starts_with("unix://"))
    }

    fn connect(&self) -> Result<Client, Error> {
        let Address { host, tls, .. } = &self.address;
        match tls {
            Some(Tls { ca, cert, key }) => {
                Client::connect_with_ssl(host, key, cert, ca, PATIENCE, API_DEFAULT_VERSION)
            }
            None if host.starts_with("unix://") => {
                Client::connect_with_unix(host, PATIENCE, API_DEFAULT_VERSION)
            }
            None => Client::connect_with_http(host, PATIENCE, API_DEFAULT_VERSION),
        }
    }

    fn silent(&self) -> String {
        format!("the Docker engine at {} cannot be reached", self.address.host)
    }

    /// A failure as hooks see it; `what` begins the sentence.
    pub(super) fn told(&self, what: &str, error: Error) -> HostError {
        if is_unreached(&error) {
            return HostError::new(
                HookErrorKind::Unavailable,
                format!("{}: {}", self.silent(), words(&error)),
            );
        }
        let kind = match status(&error) {
            Some(400) => HookErrorKind::Invalid,
            Some(401 | 403) => HookErrorKind::Denied,
            Some(404) => HookErrorKind::NotFound,
            Some(429) => HookErrorKind::RateLimited,
            Some(503) => HookErrorKind::Unavailable,
            Some(_) => HookErrorKind::Misconfigured,
            // Whether it happened is not known.
            None if matches!(error, Error::RequestTimeoutError) => HookErrorKind::Timeout,
            None => HookErrorKind::Internal,
        };
        HostError::new(kind, format!("{what}: {}", words(&error)))
    }
}

/// The engine's own status, when it was the engine that refused.
pub(super) fn status(error: &Error) -> Option<u16> {
    let Error::DockerResponseServerError { status_code, .. } = error else { return None };
    Some(*status_code)
}

/// Whether the request surely never reached the engine.
pub(super) fn is_unreached(error: &Error) -> bool {
    match error {
        Error::SocketNotFoundError(_) => true,
        Error::HyperLegacyError { err } => err.is_connect(),
        _ => false,
    }
}

/// The engine's own words, else all causes of the failure.
pub(super) fn words(error: &Error) -> String {
    if let Error::DockerResponseServerError { message, .. } = error {
        return message.trim().to_owned();
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        let more = deeper.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = deeper.source();
    }
    text
}

/// Gives up with the call, or a moment before its time is over.
pub(super) async fn within<T>(
    context: &HostContext,
    work: impl Future<Output = Result<T, HostError>>,
) -> Result<T, HostError> {
    tokio::select! {
        done = work => done,
        () = context.cancel.cancelled() => Err(HostError::new(HookErrorKind::Timeout, "given up")),
        () = tokio::time::sleep(context.left.saturating_sub(Duration::from_millis(200))) => {
            Err(HostError::new(HookErrorKind::Timeout, "the Docker engine does not answer in time"))
        }
    }
}
