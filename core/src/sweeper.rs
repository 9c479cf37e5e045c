//! Housekeeping: history that is too old, and the files of sessions that are forgotten.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::inner::Inner;
use crate::store::Retention;

/// Keys are kept as long as their session, and at least so long.
const KEYS: Duration = Duration::from_secs(24 * 3600);

/// Longer than any credential is valid.
const DIRECTORIES: Duration = Duration::from_secs(110 * 24 * 3600);

/// Runs until the launcher stops.
pub(crate) async fn run(inner: Arc<Inner>) {
    loop {
        // Often enough to keep to short retentions, seldom enough to be nothing.
        let pause =
            (inner.settings().history_keep / 4).clamp(Duration::from_secs(1), Duration::from_secs(600));
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let now = inner.clock.now();
        let before = |keep: Duration| {
            wharf_protocol::Time::from_millis(
                now.millis() - i64::try_from(keep.as_millis()).unwrap_or(i64::MAX),
            )
        };
        let retention = Retention {
            ended_before: before(inner.settings().history_keep),
            traces_before: before(inner.settings().traces_keep),
            keys_before: before(KEYS),
            now,
        };
        match inner.store.sweep(retention).await {
            Ok(gone) => {
                for id in gone {
                    if let Err(error) = inner.data.remove_logs(&id) {
                        warn!(%id, %error, "logs of a forgotten session cannot be removed");
                    }
                }
                forget_directories(&inner).await;
            }
            Err(error) => warn!(%error, "old history cannot be removed"),
        }
    }
}

/// Removes session directories that no credential can be good for any more.
async fn forget_directories(inner: &Inner) {
    for id in inner.data.old_sessions(DIRECTORIES) {
        if inner.sessions.get(&id).is_none()
            && let Ok(None) = inner.store.get(&id).await
            && let Err(error) = inner.data.remove_session(&id)
        {
            warn!(%id, %error, "the directory of a forgotten session cannot be removed");
        }
    }
}
