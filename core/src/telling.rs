//! The `on_*` hooks: told at least once, also when the launcher dies between the change and the hook.
//!
//! ```text
//! change and `tell:…` written together ─▶ hook ─▶ `tell:…` removed with the run's trace
//!                                            └ a launcher that finds one at its start tells it again
//! ```
//!
//! A verdict changes nothing. A hook that says "not now" is asked again a few times; any other failure is a telling
//! that has been heard.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use wharf_protocol::SessionId;

use crate::effects::kept;
use crate::hook::{Hook, HookErrorKind};
use crate::inner::Inner;
use crate::record::Record;
use crate::requests;
use crate::store::Change;

const PREFIX: &str = "tell:";
/// How long is waited before each try.
const WAITS: [u64; 4] = [0, 2, 10, 60];

/// Something that a hook is to be told, as it is written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Word {
    session: SessionId,
    hook: Hook,
    event: Option<Value>,
    /// Tells one from another of the same session and hook.
    number: u64,
}

impl Word {
    pub(crate) fn new(session: &SessionId, hook: Hook, event: Option<Value>, number: u64) -> Self {
        Self { session: session.clone(), hook, event, number }
    }

    fn name(&self) -> String {
        format!("{PREFIX}{}:{}:{}", self.session, self.hook.as_str(), self.number)
    }

    /// Writes it down.
    pub(crate) fn noted(&self) -> Change {
        Change::Meta { name: self.name(), value: serde_json::to_string(self).ok() }
    }

    fn done(&self) -> Change {
        Change::Meta { name: self.name(), value: None }
    }
}

/// Whether a template has that hook.
pub(crate) fn listens(inner: &Inner, template: &str, hook: Hook) -> bool {
    inner.template(template).is_some_and(|template| template.hooks.contains(&hook))
}

/// Runs the hook until it has been heard, and forgets the word.
pub(crate) async fn tell(inner: &Inner, record: &Record, word: Word) {
    let more: Vec<(&str, Value)> = word.event.iter().map(|event| ("event", event.clone())).collect();
    for wait in WAITS {
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let request = requests::about(record, &inner.owner, &more);
        let id = Some(record.id.clone());
        let run = inner.run_hook(word.hook, record, id, request, None, CancellationToken::new()).await;
        let mut changes = kept(&record.id, inner.clock.now(), &run);
        let again = matches!(&run.outcome, Err(error) if matches!(error.kind, HookErrorKind::Unavailable | HookErrorKind::RateLimited));
        if !again {
            changes.push(word.done());
        }
        if let Err(error) = inner.store.commit(changes).await {
            warn!(%error, "a hook run cannot be kept");
        }
        if !again {
            return;
        }
    }
    debug!(hook = word.hook.as_str(), "given up: it was not available");
    let _ = inner.store.commit(vec![word.done()]).await;
}

/// Tells what an earlier launcher could not.
pub(crate) async fn take_up(inner: Arc<Inner>) {
    let words = match inner.store.metas(PREFIX).await {
        Ok(words) => words,
        Err(error) => {
            warn!(%error, "what hooks are still to be told cannot be read");
            return;
        }
    };
    for (name, value) in words {
        let word = serde_json::from_str::<Word>(&value).ok();
        let record = match &word {
            Some(word) => inner.store.get(&word.session).await.ok().flatten(),
            None => None,
        };
        match (word, record) {
            (Some(word), Some(record)) if listens(&inner, &record.template, word.hook) => {
                let inner = Arc::clone(&inner);
                tokio::spawn(async move { tell(&inner, &record, word).await });
            }
            // The session was purged, or its template does not listen any more.
            _ => drop(inner.store.commit(vec![Change::Meta { name, value: None }]).await),
        }
    }
}
