//! What lies on disk of a session that is over: its bootstrap file, with the user's command, variables and values, is cut
//! down to the one word that a monitor which comes late needs.
//!
//! ```text
//! ended · purged after an end or a wish · purged, and no job can begin from the file ─▶ `over` is all that it says
//! purged while a job may still begin from it (submitted, or requeued by its backend) ─▶ stays: the session comes back as it was
//! ```
//!
//! Nothing here decides whether a session is over. What a crash prevented is done at the next start.

use std::sync::Arc;

use tracing::warn;
use wharf_protocol::{Phase, SessionId};

use crate::inner::Inner;
use crate::record::{Record, Stage};

/// Whether no job of a session that is purged now may begin from its file.
pub(crate) fn is_spent(inner: &Inner, record: &Record) -> bool {
    if record.wish.is_some() {
        return true;
    }
    match record.stage {
        Stage::Ended { .. } => true,
        Stage::Pending { phase, .. } => matches!(phase, Phase::Recorded | Phase::Preparing),
        // Its monitor has read it. Schedulers that only a template knows may start a job again.
        Stage::Running { .. } => {
            record.scheduler == record.backend
                && inner
                    .template(&record.template)
                    .and_then(|template| inner.backend(&template))
                    .is_some_and(|backend| !backend.requeues())
        }
    }
}

/// Cuts it down.
pub(crate) async fn cut_down(inner: &Arc<Inner>, id: &SessionId) {
    let _one_at_a_time = inner.cutting.lock().await;
    let (inner, id) = (Arc::clone(inner), id.clone());
    let cut = move || {
        if let Err(error) = inner.data.end_session(&id) {
            warn!(%id, %error, "the bootstrap file of a session that is over cannot be cut down");
        }
    };
    let _ = tokio::task::spawn_blocking(cut).await;
}

/// Cuts it down if the datastore says that the session is over.
pub(crate) async fn look(inner: &Arc<Inner>, id: &SessionId) {
    if inner.sessions.get(id).is_some() {
        return;
    }
    let over = match inner.store.get(id).await {
        Ok(Some(record)) => record.is_ended(),
        Ok(None) => matches!(inner.store.tombstone(id).await, Ok(Some(tombstone)) if tombstone.over),
        Err(_) => false,
    };
    if over {
        cut_down(inner, id).await;
    }
}

/// Does what earlier launchers have left undone.
pub(crate) async fn take_up(inner: Arc<Inner>) {
    let listing = Arc::clone(&inner);
    let open = tokio::task::spawn_blocking(move || listing.data.open_sessions()).await;
    for id in open.unwrap_or_default() {
        look(&inner, &id).await;
    }
}
