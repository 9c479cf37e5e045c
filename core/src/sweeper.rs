//! Housekeeping: history that is too old, and the files of sessions that are forgotten.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::inner::{Inner, Settings};
use crate::store::Retention;

/// Keys are kept as long as their session, and at least so long.
const KEYS: Duration = Duration::from_secs(24 * 3600);

/// From one round to the next: often enough that nothing is kept for much longer than asked.
fn pause(settings: &Settings) -> Duration {
    let shortest = settings.history_keep.min(settings.traces_keep);
    shortest.clamp(Duration::from_secs(1), Duration::from_secs(600))
}

/// Runs until the launcher stops.
pub(crate) async fn run(inner: Arc<Inner>) {
    loop {
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = tokio::time::sleep(pause(&inner.settings())) => {}
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
                    if let Err(error) =
                        inner.data.remove_session(&id).and_then(|()| inner.data.remove_logs(&id))
                    {
                        warn!(%id, %error, "files of a forgotten session cannot be removed");
                    }
                }
            }
            Err(error) => warn!(%error, "old history cannot be removed"),
        }
    }
}
