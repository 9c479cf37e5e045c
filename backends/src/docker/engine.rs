//! The connection to one engine, and what its failures mean.
//!
//! Connected when it is first needed, so that a launcher starts without its engines. What the engine refused, what never
//! reached it, and what was lost on the way are three things: only after the first two is it sure that nothing happened.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker as Client};
use tokio::sync::Mutex;
use wharf_core::backend::{HostContext, HostError};
use wharf_core::hook::HookErrorKind;
use wharf_protocol::SessionId;

use super::transport::{Transport, is_unreached, unreached};
use super::upload::Source;

/// How long the head of any answer may take, in seconds; calls have shorter deadlines of their own.
const PATIENCE: u64 = 600;
/// How long an engine may take to tell its version. All others wait meanwhile.
const GREETING: Duration = Duration::from_secs(10);
/// Most signs of an engine's words that are passed on.
const WORDS: usize = 2000;

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
    way: Mutex<Option<(Arc<Transport>, Client)>>,
    architecture: tokio::sync::OnceCell<Option<String>>,
    fresh: std::sync::Mutex<HashMap<SessionId, (Instant, String)>>,
    images: std::sync::Mutex<HashMap<String, Seen>>,
}

/// An image that was there.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    /// Somebody else has found since that it is not.
    lost: bool,
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
            way: Mutex::default(),
            architecture: tokio::sync::OnceCell::new(),
            fresh: std::sync::Mutex::default(),
            images: std::sync::Mutex::default(),
        }
    }

    /// The client, with the version that engine and we both speak.
    pub(super) async fn client(&self) -> Result<Client, HostError> {
        let way = self.connected().await;
        way.map(|(_, client)| client).map_err(|error| self.told("the engine", error))
    }

    /// The way to the engine and that version, for a request that is not the client's.
    pub(super) async fn way(&self) -> Result<(Arc<Transport>, ClientVersion), Error> {
        let (transport, client) = self.connected().await?;
        Ok((transport, client.client_version()))
    }

    async fn connected(&self) -> Result<(Arc<Transport>, Client), Error> {
        let mut kept = self.way.lock().await;
        if let Some((transport, client)) = &*kept {
            return Ok((Arc::clone(transport), client.clone()));
        }
        let transport = Arc::new(Transport::to(&self.address)?);
        let way = Arc::clone(&transport);
        let ask = move |request| {
            let way = Arc::clone(&way);
            async move { way.ask(request).await }
        };
        // The name is nobody's: the transport knows where to go.
        let client =
            Client::connect_with_custom_transport(ask, Some("http://engine"), PATIENCE, API_DEFAULT_VERSION)?;
        // Nothing but a question is asked: whatever goes wrong, it can be asked again.
        let greeted = tokio::time::timeout(GREETING, client.negotiate_version()).await;
        let client = greeted
            .map_err(|_| unreached("it does not tell its version"))?
            .map_err(|error| if is_unreached(&error) { error } else { unreached(words(&error)) })?;
        let (transport, client) = kept.insert((transport, client));
        Ok((Arc::clone(transport), client.clone()))
    }

    /// Waits for the head of an answer as long as the client does.
    pub(super) async fn patiently<T>(
        &self,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let answer = tokio::time::timeout(Duration::from_secs(PATIENCE), answer).await;
        answer.unwrap_or(Err(Error::RequestTimeoutError))
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
        images.retain(|_, seen| seen.at.elapsed() < BELIEVED);
        images.insert(image.to_owned(), Seen { at: Instant::now(), lost: false });
    }

    /// Whether an image was there a moment ago.
    pub(super) fn believes_in_image(&self, image: &str) -> bool {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.get(image).is_some_and(|seen| !seen.lost && seen.at.elapsed() < BELIEVED)
    }

    /// Notes that an image is not there; whether it was believed to be when a start that goes on now may have begun.
    pub(super) fn lost_image(&self, image: &str) -> bool {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(seen) = images.get_mut(image) else { return false };
        seen.lost = true;
        seen.at.elapsed() < BELIEVED
    }

    /// What people call the host behind it.
    pub(super) fn node(&self) -> Option<&str> {
        self.address.node.as_deref()
    }

    /// Whether containers get the monitor by upload.
    pub(super) fn uploads(&self) -> bool {
        self.address.upload.unwrap_or_else(|| !self.address.host.starts_with("unix://"))
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
        if is_of_another_version(&error) {
            // It has been replaced by another one: what both speak is asked for at the next call.
            if let Ok(mut way) = self.way.try_lock() {
                way.take();
            }
            return HostError::new(HookErrorKind::Unavailable, format!("{what}: {}", words(&error)));
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

/// Whether the engine does not speak the version that was agreed on with it.
fn is_of_another_version(error: &Error) -> bool {
    status(error) == Some(400) && {
        let words = words(error);
        words.contains("client version") && words.contains("API version")
    }
}

/// The engine's own words, else all causes of the failure.
pub(super) fn words(error: &Error) -> String {
    if let Error::DockerResponseServerError { message, .. } = error {
        return message.trim().chars().take(WORDS).collect();
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
    text.chars().take(WORDS).collect()
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
