//! What a job had printed whose session ends before its monitor came: kept before the end's own effects take the job away.
//!
//! ```text
//! the end is written ─▶ keep begins ─▶ the end is shown ─▶ whoever needs the words, or removes the job, waits for the keep
//! ```
//!
//! Only for ends that nobody asked for: of those the job alone can say why. A crash in between loses the words and nothing
//! else.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::watch;
use tracing::Instrument as _;
use wharf_protocol::SessionId;

use crate::actions::keep_hook_logs;
use crate::inner::Inner;
use crate::record::Record;

/// Sessions whose words are being kept now.
pub(crate) type Keeping = watch::Sender<HashSet<SessionId>>;

/// Whether a session ends here that had a job and never a monitor, by nobody's wish.
pub(crate) fn are_wanted(was: &Record, is: &Record) -> bool {
    !was.is_ended() && is.is_ended() && is.started_at.is_none() && is.job.is_some() && is.wish.is_none()
}

/// Begins to keep them.
pub(crate) fn keep(inner: &Arc<Inner>, record: Record) {
    inner.keeping.send_if_modified(|keeping| keeping.insert(record.id.clone()));
    let under_way = UnderWay(Arc::clone(inner), record.id.clone());
    let work = async move { keep_hook_logs(&under_way.0, &record).await };
    tokio::spawn(work.in_current_span());
}

/// Whatever comes of it, those who wait go on.
struct UnderWay(Arc<Inner>, SessionId);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.keeping.send_if_modified(|keeping| keeping.remove(&self.1));
    }
}

/// Waits until those of a session are kept, if they are being kept; no longer than the logs hook may take.
pub(crate) async fn kept(inner: &Inner, id: &SessionId) {
    let _ = inner.keeping.subscribe().wait_for(|keeping| !keeping.contains(id)).await;
}
