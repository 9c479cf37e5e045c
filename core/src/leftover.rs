//! What a submit may have left behind that was under way when its session was purged: removed later, if it never began.
//!
//! ```text
//! purge while submitting or unknown ─▶ `left:ID` with the purge ─▶ the submit's time and `settle` ─▶ Backend::forget ─▶ done
//!                                            └ a launcher that finds one at its start goes on with it
//! ```
//!
//! A purge itself asks nobody and touches no job; what has begun, or begins meanwhile, brings its session back. Where
//! the submit's answer is known nothing is done at all: such a job is its scheduler's.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::{debug, warn};
use wharf_protocol::{Phase, SessionId, Time};

use crate::backend::Backend;
use crate::inner::Inner;
use crate::record::{Record, Stage};
use crate::store::Change;

const PREFIX: &str = "left:";
/// Between two tries, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// One duty, as it is written down: no word of the session but where its job would be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Duty {
    session: SessionId,
    template: String,
    backend: String,
    placed: Option<String>,
    due: Time,
}

impl Duty {
    /// What is left to do when this session is purged now; none when its submit cannot have left anything half done.
    pub(crate) fn of(inner: &Inner, record: &Record) -> Option<Self> {
        let Stage::Pending { phase: Phase::Submitting | Phase::Unknown, .. } = record.stage else {
            return None;
        };
        if record.job.is_some() {
            return None;
        }
        let template = inner.template(&record.template);
        let submit = template.map(|template| template.timeouts.submit).unwrap_or_default();
        Some(Self {
            session: record.id.clone(),
            template: record.template.clone(),
            backend: record.backend.clone(),
            placed: record.placed.clone(),
            due: inner.clock.now().after(submit).after(record.rules.settle),
        })
    }

    fn name(&self) -> String {
        format!("{PREFIX}{}", self.session)
    }

    /// Writes it down.
    pub(crate) fn noted(&self) -> Change {
        Change::Meta { name: self.name(), value: serde_json::to_string(self).ok() }
    }

    fn backend(&self, inner: &Inner) -> Option<Arc<dyn Backend>> {
        let by_name = |name: &str| inner.backends.iter().find(|backend| backend.name() == name).cloned();
        match &self.placed {
            Some(placed) => by_name(&format!("{}/{placed}", self.backend)),
            None => inner
                .template(&self.template)
                .and_then(|template| inner.backend(&template))
                .or_else(|| by_name(&self.backend)),
        }
    }

    /// Does it, however often the backend is away.
    pub(crate) async fn fulfil(self, inner: Arc<Inner>) {
        tokio::time::sleep(self.due.since(inner.clock.now())).await;
        let mut pause = PAUSES.0;
        // Back meanwhile: then it is no longer forgotten.
        while inner.sessions.get(&self.session).is_none() {
            let Some(backend) = self.backend(&inner) else { break };
            match backend.forget(&self.session).await {
                Ok(()) => break,
                Err(error) => {
                    debug!(id = %self.session, error, "what a purged session left cannot be removed yet");
                }
            }
            tokio::select! {
                () = inner.stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(PAUSES.1);
        }
        let done = Change::Meta { name: self.name(), value: None };
        if let Err(error) = inner.store.commit(vec![done]).await {
            warn!(%error, "a duty that is done cannot be forgotten; it is done again");
        }
    }
}

/// Goes on with what an earlier launcher had to do.
pub(crate) async fn take_up(inner: Arc<Inner>) {
    let duties = match inner.store.metas(PREFIX).await {
        Ok(duties) => duties,
        Err(error) => {
            warn!(%error, "what purged sessions left cannot be read");
            return;
        }
    };
    for (name, value) in duties {
        match serde_json::from_str::<Duty>(&value) {
            Ok(duty) => drop(tokio::spawn(duty.fulfil(Arc::clone(&inner)))),
            Err(_) => drop(inner.store.commit(vec![Change::Meta { name, value: None }]).await),
        }
    }
}
