//! The only place where all parts meet: the launcher is put together here.
//!
//! ```text
//! owner's lock ─▶ instance, run/ ─▶ store ─▶ monitor program ─▶ listeners ─▶ hooks ─▶ launcher
//! ```
//!
//! The lock comes first: nothing of a data directory is touched that another launcher works on. Where things lie is
//! in [`places`], what is said when one fails in [`told`].

pub(crate) mod backends;
pub(crate) mod places;
mod told;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use wharf_core::clock::SystemClock;
use wharf_core::hook::User;
use wharf_core::store::{Change, Store as _};
use wharf_core::{Launcher, Parts, Settings};
use wharf_hooks::{Hooks, HooksConfig};
use wharf_server::{ListenAddr, Server, ServerConfig};
use wharf_store::{Ownership, SqliteStore};

use crate::config::Config;

/// What `serve` and `demo` decide.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// DATA.
    pub(crate) data_dir: PathBuf,
    /// Directories of templates.
    pub(crate) template_dirs: Vec<PathBuf>,
    /// Where to listen; empty: the per-user socket and loopback.
    pub(crate) listen: Vec<ListenAddr>,
    /// Plain HTTP for other hosts.
    pub(crate) insecure_http: bool,
    /// Certificate and key of `https` listeners.
    pub(crate) tls: Option<wharf_server::Tls>,
    /// The page's own domain.
    pub(crate) web_domain: Option<String>,
    /// Addresses that monitors on other hosts use.
    pub(crate) advertise: Vec<String>,
    /// Another monitor program.
    pub(crate) monitor: Option<PathBuf>,
    /// Monitors by architecture, for hosts of others.
    pub(crate) other_monitors: std::collections::BTreeMap<String, PathBuf>,
    /// Where logs hooks may point to.
    pub(crate) logs_roots: Vec<PathBuf>,
    /// Docker engines and Slurm clusters.
    pub(crate) backends: crate::config::Backends,
    /// Hooks at once; 0: the default.
    pub(crate) max_hooks: usize,
    /// What the core is to keep to.
    pub(crate) settings: Settings,
}

impl Plan {
    /// What a configuration asks for, with the default listeners.
    pub(crate) fn configured(config: Config, data_dir: PathBuf) -> Self {
        let settings = crate::serve::settings(&config);
        let tls = (!config.tls.certificate.as_os_str().is_empty())
            .then_some(wharf_server::Tls { certificate: config.tls.certificate, key: config.tls.key });
        Self {
            data_dir,
            template_dirs: config.templates.dirs,
            listen: Vec::new(),
            insecure_http: false,
            tls,
            web_domain: Some(config.web.domain).filter(|domain| !domain.is_empty()),
            advertise: config.monitor.advertise,
            monitor: config.monitor.path.get(std::env::consts::ARCH).cloned(),
            other_monitors: config.monitor.path,
            logs_roots: config.logs.roots,
            backends: config.backends,
            max_hooks: config.limits.hooks,
            settings,
        }
    }
}

/// Why a launcher cannot be put together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AssembleError {
    /// A directory or file.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another launcher.
    #[error(transparent)]
    Owner(#[from] wharf_store::OwnerError),
    /// The datastore.
    #[error(transparent)]
    Store(#[from] wharf_core::store::StoreError),
    /// Listeners.
    #[error(transparent)]
    Bind(#[from] wharf_server::BindError),
    /// Templates.
    #[error(transparent)]
    Hooks(#[from] wharf_hooks::HooksError),
    /// Keys, datastore, session directories.
    #[error(transparent)]
    Launcher(#[from] wharf_core::OpenError),
    /// The monitor program.
    #[error("the monitor {path} cannot be used: {detail}", path = path.display())]
    Monitor {
        /// Which.
        path: PathBuf,
        /// Why.
        detail: String,
    },
}

/// A launcher that is about to serve.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) launcher: Launcher,
    pub(crate) server: Server,
    pub(crate) node: String,
    /// Given up last.
    pub(crate) ownership: Ownership,
}

/// Puts a launcher together: owner first, then store, listeners, hooks, and the launcher itself, which takes up
/// where the last one stopped.
pub(crate) async fn assemble(plan: Plan, owner: User) -> Result<Assembled, AssembleError> {
    places::make_dir(&plan.data_dir, 0o700)?;
    let ownership = Ownership::claim(&plan.data_dir)?;
    if let Some(before) = &ownership.taken_over {
        tracing::warn!(
            host = before.host,
            pid = before.pid,
            "took the data directory over from a launcher that is gone"
        );
    }
    let instance = places::instance(&plan.data_dir)?;
    places::run_dir(&plan.data_dir, &instance)?;
    let store = Arc::new(SqliteStore::open(&plan.data_dir.join("wharf.db"))?);
    let monitor = match &plan.monitor {
        Some(path) => places::check_monitor(path)?,
        None => places::write_monitor(&plan.data_dir)?,
    };
    let server = bind(&plan, &store).await?;
    let monitor_socket = plan.data_dir.join("run/monitor/sock");
    // The same socket as containers see it: their own directory comes after the host's, where it does not exist.
    let mut addresses = vec![
        format!("unix:{}", monitor_socket.display()),
        format!("unix:{}", wharf_backends::docker::SOCKET),
    ];
    addresses.extend(plan.advertise.iter().cloned());
    addresses.extend(server.addresses().into_iter().filter(|address| address.starts_with("http")));
    let source = wharf_backends::docker::Source {
        monitor: monitor.clone(),
        others: plan.other_monitors,
        sessions: plan.data_dir.join("sessions"),
    };
    let backends = backends::all(&plan.backends, Some(&source));
    let hooks = Hooks::new(HooksConfig {
        template_dirs: plan.template_dirs,
        builtin: wharf_hooks::builtin(),
        data_dir: plan.data_dir.clone(),
        instance,
        backends: backends.clone(),
        path: std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned()),
        home: owner.home.clone(),
        user: owner.name.clone(),
        logs_roots: plan.logs_roots,
        max_hooks: plan.max_hooks,
    })?;
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let launcher = Launcher::open(Parts {
        data_dir: plan.data_dir,
        node: node.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        owner,
        groups_of: crate::user::groups_of,
        store,
        hooks: Arc::new(hooks.clone()),
        catalog: Arc::new(hooks),
        backends,
        clock: Arc::new(SystemClock),
        monitor,
        addresses,
        settings: plan.settings,
    })
    .await?;
    Ok(Assembled { launcher, server, node, ownership })
}

/// Whether `serve` would begin with that configuration and nothing else, as far as can be told beside a running launcher.
pub(crate) async fn check(config: Config) -> Result<(), AssembleError> {
    let (addresses, insecure) = (config.listen.addresses.clone(), config.listen.insecure_http);
    let plan = Plan::configured(config, PathBuf::new());
    for address in addresses {
        address.parse::<ListenAddr>()?.check(insecure, plan.tls.as_ref()).await?;
    }
    plan.monitor.as_deref().map_or(Ok(()), |path| places::check_monitor(path).map(drop))
}

/// Binds; a port that was picked once is tried again at the next start.
async fn bind(plan: &Plan, store: &SqliteStore) -> Result<Server, AssembleError> {
    const PORT: &str = "http.port";
    let mut config = ServerConfig {
        listen: plan.listen.clone(),
        monitor_socket: plan.data_dir.join("run/monitor/sock"),
        insecure_http: plan.insecure_http,
        tls: plan.tls.clone(),
        web_domain: plan.web_domain.clone(),
    };
    if config.listen.is_empty() {
        config.listen = vec![
            ListenAddr::Unix(plan.data_dir.join("run/wharf.sock")),
            ListenAddr::Http("127.0.0.1:0".to_owned()),
        ];
    }
    let picks = |listen: &ListenAddr| matches!(listen, ListenAddr::Http(place) | ListenAddr::Https(place) if place.ends_with(":0"));
    let before = store.meta(PORT).await?.and_then(|port| port.parse::<u16>().ok());
    if let Some(port) = before
        && let Some(at) = config.listen.iter().position(picks)
    {
        let mut same = config.clone();
        match &mut same.listen[at] {
            ListenAddr::Http(place) | ListenAddr::Https(place) => {
                *place = format!("{}:{port}", place.trim_end_matches(":0"));
            }
            ListenAddr::Unix(_) => {}
        }
        match Server::bind(same).await {
            Ok(server) => return Ok(server),
            Err(wharf_server::BindError::Taken { address }) if address.ends_with(&format!(":{port}")) => {
                tracing::warn!(
                    port,
                    "the port of the last start is in use by another program; another one is picked"
                );
            }
            Err(error) => return Err(error.into()),
        }
    }
    let server = Server::bind(config).await?;
    if let Some(port) = server.ports().first() {
        let value = Some(port.to_string());
        if let Err(error) = store.commit(vec![Change::Meta { name: PORT.to_owned(), value }]).await {
            tracing::warn!(%error, "the port cannot be remembered");
        }
    }
    Ok(server)
}
