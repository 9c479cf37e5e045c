//! The writer thread: batches that came together are committed together.
//!
//! A batch that is refused is rolled back, to its own savepoint where there are others, and spoils none of them. Nobody is answered before the
//! COMMIT: when that fails, all of the group hear it, also those that were refused because of another of the group.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;
use wharf_core::store::{Change, Retention, StoreError};
use wharf_protocol::SessionId;

use super::open::PATIENCE;
use super::refusal::refuse;
use super::{apply, gone};

/// Batches in one transaction, at most.
const GROUP: usize = 256;
/// Sessions that one transaction of a sweep forgets, at most.
const PART: u32 = 250;

/// What the writer is asked for.
pub(super) enum Job {
    /// One batch.
    Commit(Vec<Change>, oneshot::Sender<Result<(), StoreError>>),
    /// Forget a part of what is too old.
    Sweep(Retention, oneshot::Sender<Result<Swept, StoreError>>),
    /// Something else on this connection.
    Run(Box<dyn FnOnce(&Connection) + Send>),
}

/// What a part of a sweep did.
#[derive(Debug)]
pub(super) struct Swept {
    /// The sessions that went.
    pub(super) gone: Vec<SessionId>,
    /// There is no more.
    pub(super) done: bool,
}

type Batch = (Vec<Change>, oneshot::Sender<Result<(), StoreError>>);

/// Takes jobs until nobody can send any.
pub(super) fn run(mut db: Connection, jobs: &mpsc::Receiver<Job>, path: &Path) {
    let mut cleared = true;
    while let Ok(first) = jobs.recv() {
        let mut group = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next.take() {
            match job {
                Job::Commit(changes, reply) => {
                    cleared &= !changes.iter().any(|change| matches!(change, Change::Purge(_)));
                    group.push((changes, reply));
                    if group.len() < GROUP {
                        next = jobs.try_recv().ok();
                    }
                }
                // In its turn: after what came before it.
                Job::Sweep(retention, reply) => {
                    commit(&mut db, std::mem::take(&mut group), path);
                    let swept = guarded(|| sweep(&mut db, retention).map_err(|error| refuse(&error, path)));
                    let _ = reply.send(swept.unwrap_or_else(|| Err(gone())));
                }
                Job::Run(run) => {
                    commit(&mut db, std::mem::take(&mut group), path);
                    let _ = guarded(|| run(&db));
                }
            }
        }
        commit(&mut db, group, path);
        // What was purged stands in the log until that is played in; where somebody reads meanwhile, after a later job.
        cleared = cleared || guarded(|| clear(&db)).is_some_and(|cleared| cleared.unwrap_or(false));
    }
}

/// Plays the log in and empties it, if nobody reads: waits for nobody, as all commits would wait with it.
fn clear(db: &Connection) -> rusqlite::Result<bool> {
    db.busy_timeout(std::time::Duration::ZERO)?;
    let busy = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    db.busy_timeout(PATIENCE)?;
    busy.map(|busy| !busy)
}

/// A defect in one job does not take the datastore from the others; its transaction was rolled back on the way.
fn guarded<T>(job: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(job)).ok()
}

/// Commits a group of batches in one transaction and answers each.
fn commit(db: &mut Connection, group: Vec<Batch>, path: &Path) {
    if group.is_empty() {
        return;
    }
    let (batches, replies): (Vec<_>, Vec<_>) = group.into_iter().unzip();
    let mut whole = guarded(|| write(db, &batches, path));
    if batches.len() > 1 && matches!(whole, None | Some(Err(StoreError::Full(_)))) {
        // One of them may be what does not fit, or what panics: each for itself then.
        let alone = |batch: Vec<Change>| {
            let outcome = guarded(|| write(db, &[batch], path)).unwrap_or_else(|| Err(gone()));
            outcome.and_then(|mut outcomes| outcomes.pop().unwrap_or_else(|| Err(gone())))
        };
        whole = Some(Ok(batches.into_iter().map(alone).collect()));
    }
    match whole.unwrap_or_else(|| Err(gone())) {
        Ok(outcomes) => {
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                let _ = reply.send(outcome);
            }
        }
        Err(error) => {
            for reply in replies {
                let _ = reply.send(Err(again(&error)));
            }
        }
    }
}

/// The same refusal for another of the group.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Full(words) => StoreError::Full(words.clone()),
        StoreError::Corrupt { path, detail } => {
            StoreError::Corrupt { path: path.clone(), detail: detail.clone() }
        }
        StoreError::Failed(words) => StoreError::Failed(words.clone()),
        // Only batches are refused so, never their transaction.
        StoreError::Conflict | StoreError::KeyTaken(_) | StoreError::TooNew { .. } => {
            StoreError::Failed(error.to_string())
        }
    }
}

/// Writes batches in one transaction; the outcome of each, or why there is no transaction.
fn write(
    db: &mut Connection,
    batches: &[Vec<Change>],
    path: &Path,
) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    let failed = |error: rusqlite::Error| refuse(&error, path);
    let mut outcomes = Vec::with_capacity(batches.len());
    let mut transaction = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    if let [alone] = batches {
        // The transaction is its savepoint: dropped, it is rolled back.
        let outcome = alone.iter().try_for_each(|change| apply::change(&transaction, change, path));
        if outcome.is_ok() {
            transaction.commit().map_err(failed)?;
        }
        return Ok(vec![outcome]);
    }
    for changes in batches {
        let savepoint = transaction.savepoint().map_err(failed)?;
        let outcome = changes.iter().try_for_each(|change| apply::change(&savepoint, change, path));
        // After some errors SQLite has rolled back everything: what came before is lost as well.
        if savepoint.is_autocommit() {
            return Err(outcome.err().unwrap_or_else(gone));
        }
        if outcome.is_ok() {
            savepoint.commit().map_err(failed)?;
        } else {
            savepoint.finish().map_err(failed)?;
        }
        outcomes.push(outcome);
    }
    transaction.commit().map_err(failed)?;
    Ok(outcomes)
}

fn sweep(db: &mut Connection, retention: Retention) -> rusqlite::Result<Swept> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let old: Vec<String> = {
        let mut old = transaction.prepare_cached(
            "SELECT id FROM sessions WHERE live = 0 AND ended_at < ?1 ORDER BY ended_at LIMIT ?2",
        )?;
        let rows = old.query_map((retention.ended_before.millis(), PART), |row| row.get(0))?;
        rows.collect::<Result<_, _>>()?
    };
    for id in &old {
        transaction.prepare_cached("DELETE FROM sessions WHERE id = ?1")?.execute([id])?;
    }
    let done = old.len() < PART as usize;
    if done {
        // A key outlives its session and its history, and is kept for a while even then.
        transaction.execute(
            "DELETE FROM keys WHERE at < ?1 AND NOT EXISTS (SELECT 1 FROM sessions WHERE id = keys.session)",
            [retention.keys_before.millis()],
        )?;
        transaction.execute("DELETE FROM traces WHERE at < ?1", [retention.traces_before.millis()])?;
        transaction.execute("DELETE FROM tombstones WHERE until <= ?1", [retention.now.millis()])?;
        transaction.execute("DELETE FROM tokens WHERE expires_at <= ?1", [retention.now.millis()])?;
    }
    transaction.commit()?;
    Ok(Swept { gone: old.iter().filter_map(|id| id.parse().ok()).collect(), done })
}
