//! The launcher's doors: HTTP API, event stream, users' streams, and the gateway where monitors link.
//!
//! ```text
//! listener ─▶ peer (uid or TCP) ─▶ guard (host, origin, who) ─▶ routes ─▶ core::Launcher
//!                                        └─ /monitor/v1/link ─▶ gateway ─▶ links ◀─ streams (exec, attach, tunnel, logs)
//! ```
//!
//! Decides nothing about sessions: it turns requests into calls of [`wharf_core::Launcher`] and answers into HTTP.
//! Users' bytes go from client to monitor here and never through the core.

mod extract;
mod gateway;
mod guard;
mod links;
mod listen;
mod page;
mod paging;
mod patience;
mod problem;
mod relay;
mod routes;
mod streams;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wharf_core::Launcher;

pub use listen::{BindError, ListenAddr, Tls};
use listen::{Bound, Door};

/// What a server needs to know.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where to listen, in the order in which addresses are shown.
    pub listen: Vec<ListenAddr>,
    /// Where local monitors link: a socket that serves nothing else.
    pub monitor_socket: PathBuf,
    /// Plain HTTP may be served on other than loopback.
    pub insecure_http: bool,
    /// For `https` listeners.
    pub tls: Option<Tls>,
    /// The page's own domain, beside the listeners' names.
    pub web_domain: Option<String>,
}

/// Listeners that are bound, and not yet served.
#[derive(Debug)]
pub struct Server {
    bound: Vec<Bound>,
    web_domain: Option<String>,
}

/// What all handlers share.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) launcher: Launcher,
    pub(crate) links: Arc<links::Links>,
    /// `http://HOST:PORT` of the first TCP listener, else `unix:PATH`.
    pub(crate) base: String,
    pub(crate) names: Arc<guard::Names>,
    /// Below it lie the applications' own origins.
    pub(crate) domain: Option<String>,
    pub(crate) redeems: Arc<guard::Redeems>,
    pub(crate) stop: CancellationToken,
}

/// Until the last connection has to be done.
const FINISH: Duration = Duration::from_secs(8);

impl Server {
    /// Binds all listeners, or none.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn bind(config: ServerConfig) -> Result<Self, BindError> {
        let mut bound = Vec::new();
        for address in &config.listen {
            bound.push(listen::bind(address, config.insecure_http, config.tls.as_ref()).await?);
        }
        bound.push(listen::bind_monitors(&config.monitor_socket).await?);
        Ok(Self { bound, web_domain: config.web_domain })
    }

    /// What is really bound, as clients name it.
    pub fn addresses(&self) -> Vec<String> {
        self.bound
            .iter()
            .filter(|bound| bound.door != Door::Monitors)
            .map(|bound| bound.address.clone())
            .collect()
    }

    /// The ports that were picked for listeners on port 0.
    pub fn ports(&self) -> Vec<u16> {
        self.bound.iter().filter_map(|bound| bound.port).collect()
    }

    /// Serves until told to stop, and then finishes what is under way, within ten seconds.
    pub async fn run(self, launcher: Launcher, stop: CancellationToken) {
        let addresses = self.addresses();
        let tcp = addresses.iter().find(|address| address.starts_with("http"));
        let app = App {
            launcher,
            links: Arc::default(),
            base: tcp.or(addresses.first()).cloned().unwrap_or_default(),
            names: Arc::new(guard::Names::new(&addresses, self.web_domain.as_deref())),
            domain: self.web_domain,
            redeems: Arc::default(),
            stop: stop.clone(),
        };
        let api = routes::router(app.clone());
        let monitors = gateway::router(app);
        let mut serving = JoinSet::new();
        for bound in self.bound {
            let router = if bound.door == Door::Monitors { monitors.clone() } else { api.clone() };
            serving.spawn(listen::serve(bound, router, stop.clone()));
        }
        stop.cancelled().await;
        let _ = tokio::time::timeout(FINISH, async { while serving.join_next().await.is_some() {} }).await;
        serving.shutdown().await;
    }
}

/// The API's description, as `GET /api/v1/openapi.json` answers it.
pub fn openapi() -> String {
    routes::document().to_pretty_json().unwrap_or_default()
}
