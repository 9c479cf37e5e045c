//! The change feed: every published change, numbered, kept for a while, filtered for who listens.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;
use wharf_protocol::api::SessionEvent;
use wharf_protocol::{Session, SessionId};

use crate::actor::{Actor, Standing};
use crate::inner::Inner;
use crate::launcher::FeedItem;
use crate::record::Record;
use crate::streams;

/// How many changes are kept for those who come back.
const KEPT: usize = 4096;

/// One published change.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    number: u64,
    id: SessionId,
    /// `None`: purged.
    update: Option<Arc<Update>>,
}

#[derive(Debug)]
struct Update {
    record: Arc<Record>,
    session: Session,
    /// The same for all who listen, made when the first of them gets it.
    text: OnceLock<Arc<str>>,
}

impl Update {
    fn text(&self) -> Arc<str> {
        Arc::clone(self.text.get_or_init(|| text(&SessionEvent::update(&self.session))))
    }
}

fn text(event: &SessionEvent) -> Arc<str> {
    serde_json::to_string(event).unwrap_or_default().into()
}

/// The feed.
#[derive(Debug)]
pub(crate) struct Feed {
    /// Distinguishes this launcher's life.
    epoch: String,
    kept: Mutex<(u64, VecDeque<Published>)>,
    live: broadcast::Sender<Published>,
}

impl Feed {
    pub(crate) fn new() -> Self {
        let (live, _) = broadcast::channel(KEPT);
        let epoch = wharf_protocol::signed::encode(&crate::random::bytes::<6>()).replace('-', "_");
        Self { epoch, kept: Mutex::new((0, VecDeque::new())), live }
    }

    /// Publishes a change, or with `None` a purge.
    pub(crate) fn publish(&self, id: &SessionId, update: Option<(Arc<Record>, Session)>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0 += 1;
        let change = Published {
            number: kept.0,
            id: id.clone(),
            update: update
                .map(|(record, session)| Arc::new(Update { record, session, text: OnceLock::new() })),
        };
        kept.1.push_back(change.clone());
        if kept.1.len() > KEPT {
            kept.1.pop_front();
        }
        // Sent under the lock, so that who subscribes under it misses nothing and sees nothing twice.
        let _ = self.live.send(change);
    }

    fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.epoch)
    }

    /// What was missed since that id, `None` when that cannot be told; and what comes from now on.
    fn since(&self, last: Option<&str>) -> (Option<Vec<Published>>, u64, broadcast::Receiver<Published>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.live.subscribe();
        let missed = match last {
            None => Some(Vec::new()),
            Some(last) => last
                .rsplit_once('-')
                .filter(|(epoch, _)| *epoch == self.epoch)
                .and_then(|(_, number)| number.parse::<u64>().ok())
                .filter(|last| *last <= kept.0)
                .filter(|last| kept.1.front().is_none_or(|first| first.number <= last + 1))
                .map(|last| kept.1.iter().filter(|change| change.number > last).cloned().collect()),
        };
        (missed, kept.0, live)
    }
}

/// Follows the feed for one listener until the listener goes, or its token is revoked or over.
pub(crate) async fn follow(
    inner: Arc<Inner>,
    actor: Actor,
    last: Option<String>,
    to: mpsc::Sender<FeedItem>,
) {
    let mut revoked = inner.revoked.subscribe();
    let over = streams::over(actor.until.map(|until| Instant::now() + until.since(inner.clock.now())));
    tokio::pin!(over);
    let (missed, newest, mut live) = inner.feed.since(last.as_deref());
    let mut visible = inner.visible_to(&actor);
    match missed {
        Some(missed) => {
            for change in missed {
                if !forward(&inner, &actor, &mut visible, change, &to).await {
                    return;
                }
            }
        }
        None => {
            if to.send(FeedItem::Reset { id: inner.feed.id(newest) }).await.is_err() {
                return;
            }
        }
    }
    loop {
        let token = tokio::select! {
            change = live.recv() => match change {
                Ok(change) => {
                    if !forward(&inner, &actor, &mut visible, change, &to).await {
                        return;
                    }
                    continue;
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    let (_, newest, fresh) = inner.feed.since(None);
                    live = fresh;
                    if to.send(FeedItem::Reset { id: inner.feed.id(newest) }).await.is_err() {
                        return;
                    }
                    continue;
                }
                Err(broadcast::error::RecvError::Closed) => return,
            },
            token = revoked.recv() => token.ok(),
            () = &mut over => actor.token.clone(),
            () = to.closed() => return,
        };
        if token.is_some() && token == actor.token {
            for id in visible {
                let event = text(&SessionEvent::delete(&id));
                let gone = FeedItem::Event { id: inner.feed.id(newest), event };
                if to.send(gone).await.is_err() {
                    return;
                }
            }
            return;
        }
    }
}

async fn forward(
    inner: &Inner,
    actor: &Actor,
    visible: &mut HashSet<SessionId>,
    change: Published,
    to: &mpsc::Sender<FeedItem>,
) -> bool {
    let guest = matches!(actor.standing, Standing::Guest { .. });
    let now = inner.clock.now();
    let seen = change.update.as_ref().filter(|update| actor.rights(&update.record, now).is_some());
    let event = match seen {
        Some(update) => {
            if guest {
                visible.insert(change.id.clone());
            }
            update.text()
        }
        None if !guest || visible.remove(&change.id) => text(&SessionEvent::delete(&change.id)),
        None => return true,
    };
    to.send(FeedItem::Event { id: inner.feed.id(change.number), event }).await.is_ok()
}
