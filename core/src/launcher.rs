//! The launcher: the handle that server and command line hold.
//!
//! Cheap to clone. Every public action is a method here and lives in a file of `actions/`; each answers with what
//! the API shows or with the [`Problem`] that the API sends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use wharf_protocol::api::Role;
use wharf_protocol::monitor::LinkClaim;
use wharf_protocol::{Problem, Session, SessionId, State};

use crate::actor::Actor;
use crate::hook::User;

/// Which state a client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// The scheduler has it, or beyond.
    Submitted,
    /// Its monitor has registered, or beyond.
    Running,
    /// It is over.
    Ended,
}

/// A filter of `GET /sessions`.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Only these states; empty means live ones.
    pub states: Vec<State>,
    /// Only of this template.
    pub template: Option<String>,
    /// Only of this owner.
    pub owner: Option<String>,
    /// Only of this name.
    pub name: Option<String>,
    /// Only with all of these tags.
    pub tags: Vec<(String, String)>,
    /// 1–500.
    pub limit: usize,
    /// Of an earlier page.
    pub cursor: Option<String>,
}

/// What came of a start.
#[derive(Debug, Clone)]
pub struct Started {
    /// The session.
    pub session: Session,
    /// It is new (201), not the one of an earlier request with that key (200).
    pub created: bool,
}

/// What came of a terminate.
#[derive(Debug, Clone)]
pub struct Terminated {
    /// The session.
    pub session: Session,
    /// It is over (200), not still going on (202).
    pub over: bool,
}

/// A user's stream that has been let in.
///
/// Dropping it says that the stream is over.
#[derive(Debug)]
pub struct Entry {
    /// The session.
    pub session: Session,
    /// The user's name.
    pub user: String,
    /// The role that was granted: the smaller of what was asked and what the caller has.
    pub role: Role,
    /// Whether the session has a terminal.
    pub tty: bool,
    guard: crate::streams::Guard,
}

impl Entry {
    pub(crate) fn new(
        session: Session,
        user: String,
        role: Role,
        tty: bool,
        guard: crate::streams::Guard,
    ) -> Self {
        Self { session, user, role, tty, guard }
    }

    /// Notes which endpoint the stream goes to.
    pub fn goes_to(&self, endpoint: &str) {
        self.guard.goes_to(endpoint);
    }

    /// Counts a request to an application, which does not by itself.
    pub fn count(&self) {
        self.guard.count();
    }

    /// Resolves when the stream has to be cut (disconnect, unshare, expiry, revocation), with the reason.
    pub async fn cut(&self) -> Problem {
        self.guard.cut().await
    }

    /// What whoever is in the session is told, the newest word.
    pub fn notices(&self) -> tokio::sync::watch::Receiver<Option<wharf_protocol::Notice>> {
        self.guard.notices()
    }
}

/// Why a monitor is not taken in.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// No valid credential: 401, and do not come again.
    Unauthorized,
    /// The session is over, or a newer monitor serves it: 410, end yourself.
    Over(String),
    /// Not now: 503 with `Retry-After`.
    Later(Duration, String),
}

/// A monitor whose credential is good; proceed to [`Launcher::register`] after the upgrade.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The session.
    pub session: SessionId,
    pub(crate) credential: wharf_protocol::monitor::Credential,
    pub(crate) claim: LinkClaim,
    /// The credential's time is over: good only while the session has a live record.
    pub(crate) expired: bool,
}

/// One registered link of one session: what [`Launcher::register`] hands out and later calls name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LinkId {
    /// The session.
    pub session: SessionId,
    /// Distinguishes a session's links in one launcher's life.
    pub serial: u64,
}

/// One item of an event stream.
#[derive(Debug, Clone)]
pub enum FeedItem {
    /// A change, and the id to resume after.
    Event {
        /// Opaque.
        id: String,
        /// What happened: a [`wharf_protocol::api::SessionEvent`] as JSON, shared by all who listen.
        event: Arc<str>,
    },
    /// What was asked for is too old or unknown: start over, then live.
    Reset {
        /// Opaque.
        id: String,
    },
}

/// The numbers behind `/metrics`.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Live sessions by (template, state).
    pub sessions: Vec<(String, State, u64)>,
    /// Monitors linked now.
    pub links: u64,
    /// Users' streams open now.
    pub streams: u64,
    /// Hook runs by (template, hook, outcome): count and seconds in all.
    pub hooks: Vec<(String, &'static str, String, u64, f64)>,
    /// Sessions started, by template, since the launcher's start.
    pub starts: Vec<(String, u64)>,
    /// Sessions ended, by cause.
    pub ends: Vec<(&'static str, u64)>,
}

/// The launcher.
#[derive(Debug, Clone)]
pub struct Launcher {
    pub(crate) inner: Arc<crate::inner::Inner>,
}

/// Why a launcher cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The signing keys.
    #[error(transparent)]
    Keys(#[from] crate::keys::KeyError),
    /// The datastore.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The addresses of session directories.
    #[error("the session directories cannot be written: {0}")]
    Files(std::io::Error),
}

impl Launcher {
    /// Opens a launcher on its parts and takes up where the last one stopped: first what is left of its own hooks is
    /// ended, then every live session is driven on from its phase.
    ///
    /// # Errors
    /// Keys or datastore that cannot be used; nothing has been started then.
    pub async fn open(parts: crate::inner::Parts) -> Result<Self, OpenError> {
        let keys = crate::keys::Keys::open(&parts.data_dir.join("keys"))?;
        let left = parts.hooks.end_leftovers().await;
        if left > 0 {
            tracing::warn!(processes = left, "ended what was left of hooks from before a crash");
        }
        let live = parts.store.live().await?;
        for row in &live.unreadable {
            tracing::error!(row, "a session's record cannot be read and is skipped");
        }
        let (ask, asked) = mpsc::unbounded_channel();
        let inner = Arc::new_cyclic(|weak: &std::sync::Weak<crate::inner::Inner>| {
            let weak = weak.clone();
            let streams = crate::streams::Streams::new(Arc::new(move |id, change, user| {
                if let Some(inner) = weak.upgrade() {
                    crate::actions::stream_changed(&inner, id, change, user);
                }
            }));
            crate::inner::Inner::new(parts, keys, streams, ask)
        });
        inner.data.write_addresses(&inner.addresses).map_err(OpenError::Files)?;
        for record in live.records {
            if let Some(handle) = crate::driver::start(&inner, record) {
                let _ =
                    handle.mail.send(crate::driver::Command::Fact(crate::state::Event::Resume, Vec::new()));
            }
        }
        tokio::spawn(crate::telling::take_up(Arc::clone(&inner)));
        tokio::spawn(crate::leftover::take_up(Arc::clone(&inner)));
        tokio::spawn(crate::over::take_up(Arc::clone(&inner)));
        tokio::spawn(crate::poller::run(Arc::clone(&inner), asked));
        for backend in &inner.backends {
            tokio::spawn(crate::listening::run(Arc::clone(&inner), Arc::clone(backend)));
        }
        tokio::spawn(crate::sweeper::run(Arc::clone(&inner)));
        Ok(Self { inner })
    }

    /// Whether requests can be served.
    pub fn is_ready(&self) -> bool {
        !self.inner.stop.is_cancelled()
    }

    /// Reads keys and templates again.
    pub fn reload(&self) {
        self.inner.catalog.reload();
        match crate::keys::Keys::open(&self.inner.keys_dir) {
            Ok(keys) => {
                *self.inner.keys.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(keys);
            }
            Err(error) => {
                tracing::error!(%error, "the signing keys cannot be read again; the old ones serve");
            }
        }
        self.renew_credentials();
    }

    /// Changes what the site has set; good for whatever comes from now on.
    pub fn set_settings(&self, settings: crate::inner::Settings) {
        self.inner.set_settings(settings);
    }

    /// Hands every linked monitor a new credential and the keys that are good now.
    fn renew_credentials(&self) {
        self.inner.sessions.each::<(), ()>(|(_, handle)| {
            // A session that has just ended needs none.
            let _ = handle.mail.send(crate::driver::Command::Renew);
            None
        });
    }

    /// Waits for hooks under way, at most so long. Sessions are not touched: what is not done then is taken up
    /// by the next launcher.
    pub async fn shut_down(&self, within: Duration) {
        self.inner.stop.cancel();
        let mut running = self.inner.hooks_running.subscribe();
        let _ = tokio::time::timeout(within, running.wait_for(|running| *running == 0)).await;
    }

    /// The launcher's own user.
    pub fn owner(&self) -> &User {
        &self.inner.owner
    }

    /// Follows the changes that an actor may see, from the one after `last` on.
    pub fn events(&self, by: &Actor, last: Option<&str>) -> mpsc::Receiver<FeedItem> {
        let (to, items) = mpsc::channel(256);
        tokio::spawn(crate::feed::follow(Arc::clone(&self.inner), by.clone(), last.map(str::to_owned), to));
        items
    }
}
