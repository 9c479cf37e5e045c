//! What all parts of a launcher share: the outside world, the registry of live sessions, and what is counted.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use wharf_protocol::api::Trace;
use wharf_protocol::{EndCause, Job, Link, Session, SessionId, Time, TokenId};

use crate::actor::Actor;
use crate::backend::Backend;
use crate::breaker::Breakers;
use crate::clock::Clock;
use crate::ending::Crowd;
use crate::feed::Feed;
use crate::files::Files;
use crate::hook::{HookRuntime, User};
use crate::keys::Keys;
use crate::record::{LinkState, Record, Stage};
use crate::registry::{Handle, Registry, View};
use crate::store::Store;
use crate::streams::Streams;
use crate::template::{Catalog, Template};

/// The outside world, and the site's settings: all that a launcher is made of.
#[derive(Debug)]
pub struct Parts {
    /// The data directory (DATA).
    pub data_dir: PathBuf,
    /// The launcher's name for people.
    pub node: String,
    /// The launcher's release.
    pub version: String,
    /// Whose launcher it is.
    pub owner: User,
    /// The groups that a user of that name is in, as this host knows them.
    pub groups_of: fn(&str) -> Vec<String>,
    /// The datastore.
    pub store: Arc<dyn Store>,
    /// Runs hooks.
    pub hooks: Arc<dyn HookRuntime>,
    /// The templates.
    pub catalog: Arc<dyn Catalog>,
    /// The drivers of what runs jobs.
    pub backends: Vec<Arc<dyn Backend>>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// The monitor program, absolute.
    pub monitor: PathBuf,
    /// Where monitors find the launcher, best first (`unix:…`, `http://…`).
    pub addresses: Vec<String>,
    /// The site's settings.
    pub settings: Settings,
}

/// The site's settings, as far as the core is concerned.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long ended sessions are kept.
    pub history_keep: Duration,
    /// How long hook runs are kept.
    pub traces_keep: Duration,
    /// Most bytes of each log stream of an ended session.
    pub log_bytes: usize,
    /// Most live sessions; `None`: any number.
    pub sessions: Option<u32>,
    /// Most starts in a minute; `None`: any number.
    pub starts_per_minute: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self {
            history_keep: 7 * day,
            traces_keep: 7 * day,
            log_bytes: 2 << 20,
            sessions: None,
            starts_per_minute: None,
        }
    }
}

/// Counters behind `/metrics`.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) hooks: HashMap<(String, &'static str, String), (u64, f64)>,
    pub(crate) starts: HashMap<String, u64>,
    pub(crate) ends: HashMap<EndCause, u64>,
}

/// A backend's health as last seen.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    pub(crate) at: Instant,
    /// How long the answer took.
    pub(crate) took: Duration,
    pub(crate) outcome: Result<(), String>,
}

/// That a template's jobs are to be asked about soon.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) template: String,
    /// The one it is about, when it is about one.
    pub(crate) session: Option<SessionId>,
    pub(crate) when: When,
}

/// How soon a template's jobs are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// As soon as they may be again.
    Soon,
    /// The same, although rounds have failed: what made them fail may be over.
    Anew,
    /// When the scheduler has had a moment to look at a job; what is submitted meanwhile shares the answer.
    Later,
}

/// A one-time secret of the page's sign-in.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) hash: [u8; 32],
    pub(crate) until: Time,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) data: Files,
    pub(crate) keys_dir: PathBuf,
    pub(crate) node: String,
    pub(crate) version: String,
    pub(crate) owner: User,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) hooks: Arc<dyn HookRuntime>,
    pub(crate) groups_of: fn(&str) -> Vec<String>,
    pub(crate) catalog: Arc<dyn Catalog>,
    /// Held while somebody looks whether templates have changed.
    looking: Arc<tokio::sync::Mutex<()>>,
    /// Whose files are cut down now: one after the other, as many sessions may end together and nobody waits for it.
    pub(crate) cutting: tokio::sync::Mutex<()>,
    pub(crate) backends: Vec<Arc<dyn Backend>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) monitor: PathBuf,
    pub(crate) addresses: Vec<String>,
    settings: RwLock<Arc<Settings>>,
    pub(crate) boot: Time,
    pub(crate) keys: RwLock<Arc<Keys>>,
    pub(crate) feed: Feed,
    pub(crate) streams: Streams,
    pub(crate) revoked: broadcast::Sender<TokenId>,
    /// Templates whose jobs are to be asked about soon.
    ask: mpsc::UnboundedSender<Ask>,
    pub(crate) stop: CancellationToken,
    pub(crate) hooks_running: watch::Sender<usize>,
    pub(crate) sessions: Registry,
    /// Hook runs that are not worth the datastore: reads, newest last.
    traces: Mutex<VecDeque<Trace>>,
    counters: Mutex<Counters>,
    pub(crate) health: Mutex<HashMap<String, Health>>,
    pub(crate) starts: Mutex<VecDeque<(Instant, String)>>,
    breakers: Mutex<Breakers>,
    crowd: Mutex<Crowd>,
    turns: Mutex<HashMap<String, usize>>,
    pub(crate) keeping: crate::last_words::Keeping,
    pub(crate) logins: Mutex<Vec<Login>>,
    pub(crate) tickets: Mutex<Vec<crate::actions::Ticket>>,
    serials: Mutex<u64>,
}

/// How many read traces are kept in memory.
const TRACES: usize = 512;
/// How long a request waits for a look at the templates' files.
const LOOK: Duration = Duration::from_secs(1);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    pub(crate) fn new(parts: Parts, keys: Keys, streams: Streams, ask: mpsc::UnboundedSender<Ask>) -> Self {
        Self {
            data: Files::new(&parts.data_dir),
            keys_dir: parts.data_dir.join("keys"),
            boot: parts.clock.now(),
            node: parts.node,
            version: parts.version,
            owner: parts.owner,
            store: parts.store,
            hooks: parts.hooks,
            groups_of: parts.groups_of,
            catalog: parts.catalog,
            looking: Arc::default(),
            cutting: tokio::sync::Mutex::default(),
            backends: parts.backends,
            clock: parts.clock,
            monitor: parts.monitor,
            addresses: parts.addresses,
            settings: RwLock::new(Arc::new(parts.settings)),
            keys: RwLock::new(Arc::new(keys)),
            feed: Feed::new(),
            streams,
            revoked: broadcast::channel(64).0,
            ask,
            stop: CancellationToken::new(),
            hooks_running: watch::channel(0).0,
            sessions: Registry::default(),
            traces: Mutex::default(),
            counters: Mutex::default(),
            health: Mutex::default(),
            starts: Mutex::default(),
            breakers: Mutex::default(),
            crowd: Mutex::default(),
            turns: Mutex::default(),
            keeping: crate::last_words::Keeping::default(),
            logins: Mutex::default(),
            tickets: Mutex::default(),
            serials: Mutex::default(),
        }
    }

    /// Has a template's jobs asked about.
    pub(crate) fn ask(&self, template: &str, when: When) {
        let _ = self.ask.send(Ask { template: template.to_owned(), session: None, when });
    }

    /// Has one session's job asked about, and what is asked with it.
    pub(crate) fn ask_about(&self, record: &Record, when: When) {
        let (template, session) = (record.template.clone(), Some(record.id.clone()));
        let _ = self.ask.send(Ask { template, session, when });
    }

    pub(crate) fn keys(&self) -> Arc<Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The site's settings as they are now.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_settings(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    pub(crate) fn next_serial(&self) -> u64 {
        let mut serials = lock(&self.serials);
        *serials += 1;
        *serials
    }

    /// Ids of live sessions that an actor may see.
    pub(crate) fn visible_to(&self, actor: &Actor) -> HashSet<SessionId> {
        let now = self.clock.now();
        let visible = |handle: &Handle| actor.rights(&handle.view.borrow().record, now).is_some();
        self.sessions.each(|(id, handle)| visible(handle).then(|| id.clone()))
    }

    /// Reads templates again whose files have changed, so that a request meets them as they are now.
    ///
    /// One look at a time; who waits for a slow file system goes on with what is known.
    pub(crate) async fn look_at_templates(&self) {
        let (catalog, looking) = (Arc::clone(&self.catalog), Arc::clone(&self.looking));
        let look = async {
            let only_one = looking.lock_owned().await;
            let look = move || {
                catalog.reload();
                drop(only_one);
            };
            let _ = tokio::task::spawn_blocking(look).await;
        };
        let _ = tokio::time::timeout(LOOK, look).await;
    }

    /// The same for one of them, at the cost of one where it has not changed.
    pub(crate) async fn look_at_template(&self, name: &str) {
        if !self.catalog.is_current(name) {
            self.look_at_templates().await;
        }
    }

    pub(crate) fn template(&self, name: &str) -> Option<Arc<Template>> {
        self.catalog.get(name)?.template
    }

    /// A template's backend: the first of its instances that is there, else the only one, else the first.
    pub(crate) fn backend(&self, template: &Template) -> Option<Arc<dyn Backend>> {
        let by_name = |name: &str| self.backends.iter().find(|backend| backend.name() == name);
        let prefix = format!("{}/", template.backend);
        let of_instance = |instance: &String| by_name(&format!("{prefix}{instance}"));
        template
            .instances
            .iter()
            .find_map(of_instance)
            .or_else(|| by_name(&template.backend))
            .or_else(|| self.backends.iter().find(|backend| backend.name().starts_with(&prefix)))
            .cloned()
    }

    pub(crate) fn keep_trace(&self, trace: Trace) {
        let mut traces = lock(&self.traces);
        traces.push_back(trace);
        if traces.len() > TRACES {
            traces.pop_front();
        }
    }

    pub(crate) fn kept_trace(&self, id: &str) -> Option<Trace> {
        lock(&self.traces).iter().find(|trace| trace.id == id).cloned()
    }

    /// The breakers of all hooks.
    pub(crate) fn breakers<T>(&self, with: impl FnOnce(&mut Breakers) -> T) -> T {
        with(&mut lock(&self.breakers))
    }

    /// Whose turn it is, of that template's instances: one more each time.
    pub(crate) fn turn(&self, template: &str) -> usize {
        let mut turns = lock(&self.turns);
        let turn = turns.entry(template.to_owned()).or_default();
        *turn = turn.wrapping_add(1);
        turn.wrapping_sub(1)
    }

    /// Whether the last that was heard of a backend is that it is down.
    pub(crate) fn is_down(&self, backend: &str) -> bool {
        lock(&self.health).get(backend).is_some_and(|health| health.outcome.is_err())
    }

    /// Terminate requests that wait for others.
    pub(crate) fn crowd<T>(&self, with: impl FnOnce(&mut Crowd) -> T) -> T {
        with(&mut lock(&self.crowd))
    }

    pub(crate) fn count<T>(&self, count: impl FnOnce(&mut Counters) -> T) -> T {
        count(&mut lock(&self.counters))
    }

    /// The session as the API shows it.
    pub(crate) fn present(&self, view: &View) -> Session {
        let mut session = present_record(&view.record, &self.node);
        session.link = match view.link {
            LinkState::None => Link::None,
            LinkState::Connected => Link::Connected,
            LinkState::Lost { .. } => Link::Lost,
        };
        session.connections = self.streams.count(&session.id);
        if let Some(job) = &mut session.job {
            job.checked_at = view.checked_at;
        }
        session
    }
}

/// A record as the API shows it, without what only a live one has.
pub(crate) fn present_record(record: &Record, node: &str) -> Session {
    let (end, ended_at) = match &record.stage {
        Stage::Ended { end, at } => (Some(end.clone()), Some(*at)),
        Stage::Pending { .. } | Stage::Running { .. } => (None, None),
    };
    Session {
        id: record.id.clone(),
        name: record.name.clone(),
        owner: record.owner.clone(),
        template: record.template.clone(),
        backend: record.backend.clone(),
        scheduler: record.scheduler.clone(),
        state: record.state(),
        phase: record.phase(),
        link: Link::None,
        terminating: record.wish.is_some() && !record.is_ended(),
        reason: record.reason.clone(),
        job: record.job.as_ref().map(|job| Job {
            id: job.id.clone(),
            node: job.node.clone(),
            state: job.state,
            raw: job.raw.clone(),
            reason: job.reason.clone(),
            position: job.position,
            starts_at: job.starts_at,
            ends_at: job.ends_at,
            checked_at: None,
        }),
        command: record.command.clone(),
        params: record.open_params(),
        tags: record.tags.clone(),
        connections: 0,
        created_at: record.created_at,
        submitted_at: record.submitted_at,
        started_at: record.started_at,
        ended_at,
        end,
        launcher: node.to_owned(),
        rev: record.rev,
        params_rev: record.params_rev,
    }
}
