//! What the datastore is to write in cases that several actions share. Pure; who commits it decides when.

use std::time::Duration;

use wharf_protocol::api::HistoryEntry;
use wharf_protocol::{SessionId, Time};

use crate::record::{Record, Tombstone};
use crate::store::Change;

/// What a purge writes: the deletion, and a tombstone where there is something to remember.
pub(crate) fn purge_changes(record: &Record, now: Time) -> Vec<Change> {
    let over = record.is_ended() || record.wish.is_some();
    let mut changes = vec![Change::Purge(record.id.clone())];
    if over || !record.withdrawn.is_empty() {
        changes.push(Change::Tombstone(Tombstone {
            id: record.id.clone(),
            over,
            withdrawn: record.withdrawn.clone(),
            at: now,
            // Longer than any credential is valid: see `requests::credential`.
            until: now.after(record.rules.queue).after(Duration::from_secs(100 * 24 * 3600)),
        }));
    }
    changes
}

/// A line of history.
pub(crate) fn history(
    id: &SessionId,
    at: Time,
    event: &str,
    actor: &str,
    detail: &str,
    trace: Option<String>,
) -> Change {
    Change::History {
        id: id.clone(),
        entry: HistoryEntry {
            at,
            event: event.to_owned(),
            actor: actor.to_owned(),
            detail: detail.to_owned(),
            trace_id: trace,
        },
    }
}
