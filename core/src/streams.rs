//! Users' streams that are open now: who they are of, how they are told something, and how they are cut.
//!
//! The bytes never come by here; a stream only holds a [`Guard`] and watches it. Cut for four reasons:
//! disconnect, a share that is withdrawn or over, a token that is revoked or over, and the session's end.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;
use wharf_protocol::api::{OpenStream, Role, StreamKind};
use wharf_protocol::{ErrorCode, Notice, Problem, SessionId, Time, TokenId};

use crate::actor::{Actor, Verb};
use crate::record::Record;

/// Told when a session's number of streams changes.
type OnChange = Arc<dyn Fn(&SessionId, Change, &str) + Send + Sync>;

/// What happened to the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// One more.
    Entered,
    /// One fewer.
    Left,
}

/// All open streams.
#[derive(Clone)]
pub(crate) struct Streams {
    open: Arc<Mutex<Open>>,
    on_change: OnChange,
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Streams({})", self.total())
    }
}

#[derive(Default)]
struct Open {
    next: u64,
    /// Tokens that were revoked: who was let in just before comes to nothing.
    revoked: HashSet<TokenId>,
    by_session: HashMap<SessionId, HashMap<u64, Stream>>,
}

struct Stream {
    actor: Actor,
    verb: Verb,
    since: Time,
    endpoint: Option<String>,
    /// Execs are neither counted nor cut by a disconnect, and a request to an application only when it lasts.
    counts: bool,
    cut: watch::Sender<Option<Problem>>,
    told: watch::Sender<Option<Notice>>,
}

impl Stream {
    /// As the owner sees it; `None` for what is no way of being in a session.
    fn shown(&self) -> Option<OpenStream> {
        let (kind, role) = match self.verb {
            Verb::Attach(role) => (StreamKind::Terminal, role),
            Verb::Tunnel => (StreamKind::Tunnel, Role::Control),
            Verb::Application => (StreamKind::Application, Role::Control),
            Verb::See | Verb::Connect | Verb::Exec | Verb::Own => return None,
        };
        Some(OpenStream {
            user: self.actor.user.clone(),
            kind,
            endpoint: self.endpoint.clone(),
            role,
            since: self.since,
        })
    }

    /// Whether a disconnect cuts it.
    fn is_dropped(&self) -> bool {
        self.shown().is_some()
    }
}

impl Streams {
    /// None yet; `on_change` is told of counted ones.
    pub(crate) fn new(on_change: OnChange) -> Self {
        Self { open: Arc::default(), on_change }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets one in.
    pub(crate) fn enter(&self, id: &SessionId, actor: &Actor, verb: Verb, since: Time) -> Guard {
        let (cut, cutting) = watch::channel(None);
        let (told, telling) = watch::channel(None);
        let counts = matches!(verb, Verb::Attach(_) | Verb::Tunnel);
        let until = actor.until.map(|until| Instant::now() + until.since(since));
        let stream = Stream { actor: actor.clone(), verb, since, endpoint: None, counts, cut, told };
        let mut open = self.open();
        if actor.token.as_ref().is_some_and(|token| open.revoked.contains(token)) {
            stream.cut.send_replace(Some(revoked()));
        }
        open.next += 1;
        let number = open.next;
        open.by_session.entry(id.clone()).or_default().insert(number, stream);
        drop(open);
        if counts {
            (self.on_change)(id, Change::Entered, &actor.user);
        }
        Guard { streams: self.clone(), id: id.clone(), number, until, cutting, telling }
    }

    /// How many count for that session.
    pub(crate) fn count(&self, id: &SessionId) -> u32 {
        let open = self.open();
        let count = open
            .by_session
            .get(id)
            .map_or(0, |streams| streams.values().filter(|stream| stream.counts).count());
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Those that count for that session, the oldest first.
    pub(crate) fn list(&self, id: &SessionId) -> Vec<OpenStream> {
        let open = self.open();
        let Some(streams) = open.by_session.get(id) else { return Vec::new() };
        let mut numbered: Vec<_> = streams.iter().filter(|(_, stream)| stream.counts).collect();
        numbered.sort_unstable_by_key(|(number, _)| **number);
        numbered.into_iter().filter_map(|(_, stream)| stream.shown()).collect()
    }

    /// How many there are.
    pub(crate) fn total(&self) -> u64 {
        self.open().by_session.values().map(|streams| streams.len() as u64).sum()
    }

    fn cut_where(
        &self,
        id: Option<&SessionId>,
        problem: &Problem,
        mut which: impl FnMut(&Stream) -> bool,
    ) -> u32 {
        let open = self.open();
        let mut cut = 0;
        for (session, streams) in &open.by_session {
            if id.is_some_and(|id| id != session) {
                continue;
            }
            for stream in streams.values().filter(|stream| stream.cut.borrow().is_none()) {
                if which(stream) {
                    stream.cut.send_replace(Some(problem.clone()));
                    cut += 1;
                }
            }
        }
        cut
    }

    /// Drops all users, or one.
    pub(crate) fn disconnect(&self, id: &SessionId, user: Option<&str>) -> u32 {
        let problem = Problem::new(ErrorCode::Forbidden, "disconnected by the session's owner")
            .hint("the session goes on; connect again if you are still welcome");
        self.cut_where(Some(id), &problem, |stream| {
            stream.is_dropped() && user.is_none_or(|user| stream.actor.user == user)
        })
    }

    /// Tells all who are in a session; of two words that come together the later one counts.
    pub(crate) fn notify(&self, id: &SessionId, notice: &Notice) {
        for stream in self.open().by_session.get(id).into_iter().flat_map(HashMap::values) {
            stream.told.send_replace(Some(notice.clone()));
        }
    }

    /// Cuts those whose right is no longer there.
    pub(crate) fn review(&self, record: &Record, now: Time) {
        let problem = Problem::new(ErrorCode::Forbidden, "the share is withdrawn or over");
        self.cut_where(Some(&record.id), &problem, |stream| {
            !stream.actor.rights(record, now).is_some_and(|rights| {
                rights.allow(stream.verb)
                    && match stream.verb {
                        Verb::Attach(role) => rights.enter.is_some_and(|granted| granted >= role),
                        Verb::See
                        | Verb::Connect
                        | Verb::Tunnel
                        | Verb::Application
                        | Verb::Exec
                        | Verb::Own => true,
                    }
            })
        });
    }

    /// Cuts those of a revoked token.
    pub(crate) fn revoke(&self, token: &TokenId) {
        self.open().revoked.insert(token.clone());
        self.cut_where(None, &revoked(), |stream| stream.actor.token.as_ref() == Some(token));
    }
}

fn revoked() -> Problem {
    Problem::new(ErrorCode::Unauthenticated, "the token was revoked")
}

/// Until then; without a time for ever.
pub(crate) async fn over(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// One open stream.
pub(crate) struct Guard {
    streams: Streams,
    id: SessionId,
    number: u64,
    /// When its token is over.
    until: Option<Instant>,
    cutting: watch::Receiver<Option<Problem>>,
    telling: watch::Receiver<Option<Notice>>,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Guard({}, {})", self.id, self.number)
    }
}

impl Guard {
    /// Notes which endpoint it goes to.
    pub(crate) fn goes_to(&self, endpoint: &str) {
        self.change(|stream| stream.endpoint = Some(endpoint.to_owned()));
    }

    /// Counts it from now on.
    pub(crate) fn count(&self) {
        let mut new = None;
        self.change(|stream| {
            new = (!stream.counts).then(|| stream.actor.user.clone());
            stream.counts = true;
        });
        if let Some(user) = new {
            (self.streams.on_change)(&self.id, Change::Entered, &user);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Stream)) {
        let mut open = self.streams.open();
        if let Some(stream) = open.by_session.get_mut(&self.id).and_then(|all| all.get_mut(&self.number)) {
            change(stream);
        }
    }

    /// Resolves when the stream has to be cut.
    pub(crate) async fn cut(&self) -> Problem {
        let mut cutting = self.cutting.clone();
        tokio::select! {
            problem = cutting.wait_for(Option::is_some) => match problem {
                Ok(problem) => problem.clone().unwrap_or_else(|| Problem::new(ErrorCode::Internal, "cut")),
                Err(_) => Problem::new(ErrorCode::SessionEnded, "the session is over"),
            },
            () = over(self.until) => Problem::new(ErrorCode::Unauthenticated, "the token is over"),
        }
    }
}

impl Guard {
    /// What whoever is in the session is told from now on.
    pub(crate) fn notices(&self) -> watch::Receiver<Option<Notice>> {
        self.telling.clone()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut open = self.streams.open();
        let Some(streams) = open.by_session.get_mut(&self.id) else { return };
        let left = streams.remove(&self.number);
        if streams.is_empty() {
            open.by_session.remove(&self.id);
        }
        drop(open);
        if let Some(stream) = left.filter(|stream| stream.counts) {
            (self.streams.on_change)(&self.id, Change::Left, &stream.actor.user);
        }
    }
}
