//! The writer thread.

use std::path::Path;
use std::sync::mpsc;

use rusqlite::{Connection, params};
use tokio::sync::oneshot;
use wharf_core::record::{Record, Stage};
use wharf_core::store::{Change, Retention, StoreError};
use wharf_protocol::{SessionId, State};

use super::{GROUP, Job, read, refuse};

/// The word of a state in its column.
pub(super) const fn state_word(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Running => "running",
        State::Ended => "ended",
    }
}

/// Takes jobs until nobody can send any.
pub(super) fn run(mut db: Connection, jobs: &mpsc::Receiver<Job>, path: &Path) {
    while let Ok(first) = jobs.recv() {
        let mut group = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next.take() {
            match job {
                Job::Commit(changes, reply) => group.push((changes, reply)),
                Job::Sweep(retention, reply) => {
                    commit(&mut db, std::mem::take(&mut group), path);
                    let _ = reply.send(sweep(&mut db, retention).map_err(|error| refuse(&error, path)));
                }
            }
            if group.len() < GROUP {
                next = jobs.try_recv().ok();
            }
        }
        commit(&mut db, group, path);
    }
}

type Batch = (Vec<Change>, oneshot::Sender<Result<(), StoreError>>);

/// Commits a group of batches in one transaction and answers each.
fn commit(db: &mut Connection, group: Vec<Batch>, path: &Path) {
    if group.is_empty() {
        return;
    }
    let mut outcomes = Vec::with_capacity(group.len());
    let whole = (|| -> rusqlite::Result<()> {
        let mut transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for (changes, _) in &group {
            let savepoint = transaction.savepoint()?;
            let outcome = changes.iter().try_for_each(|change| apply(&savepoint, change, path));
            if outcome.is_ok() {
                savepoint.commit()?;
            }
            // Else it is rolled back when it goes out of scope.
            outcomes.push(outcome);
        }
        transaction.commit()
    })();
    match whole {
        Ok(()) => {
            for ((_, reply), outcome) in group.into_iter().zip(outcomes) {
                let _ = reply.send(outcome);
            }
        }
        Err(error) => {
            for (_, reply) in group {
                let _ = reply.send(Err(refuse(&error, path)));
            }
        }
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Failed(error.to_string()))
}

fn apply(db: &Connection, change: &Change, path: &Path) -> Result<(), StoreError> {
    let sql = |outcome: rusqlite::Result<usize>| outcome.map_err(|error| refuse(&error, path));
    match change {
        Change::Create(record) => {
            let text = json(record)?;
            let (state, ended) = columns(record);
            let inserted = sql(db
                .prepare_cached(
                    "INSERT INTO sessions (id, rev, owner, template, name, state, created_at, ended_at, record)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
                )
                .and_then(|mut statement| {
                    statement.execute(params![
                        record.id.as_str(),
                        integer(record.rev),
                        record.owner,
                        record.template,
                        record.name,
                        state,
                        record.created_at.millis(),
                        ended,
                        text,
                    ])
                }))?;
            if inserted == 0 {
                return Err(StoreError::Conflict);
            }
            for (key, value) in &record.tags {
                sql(db
                    .prepare_cached("INSERT INTO tags (session, key, value) VALUES (?1, ?2, ?3)")
                    .and_then(|mut statement| statement.execute(params![record.id.as_str(), key, value])))?;
            }
        }
        Change::Update { was, record } => {
            let text = json(record)?;
            let updated = sql(db
                .prepare_cached(
                    "UPDATE sessions SET rev = ?2, owner = ?3, template = ?4, name = ?5, state = ?6,
                     created_at = ?7, ended_at = ?8, record = ?9 WHERE id = ?1 AND rev = ?10",
                )
                .and_then(|mut statement| {
                    let (state, ended) = columns(record);
                    statement.execute(params![
                        record.id.as_str(),
                        integer(record.rev),
                        record.owner,
                        record.template,
                        record.name,
                        state,
                        record.created_at.millis(),
                        ended,
                        text,
                        integer(*was),
                    ])
                }))?;
            if updated == 0 {
                return Err(StoreError::Conflict);
            }
        }
        Change::Purge(id) => {
            let id = id.as_str();
            sql(db.execute("DELETE FROM sessions WHERE id = ?1", [id]))?;
            sql(db.execute("DELETE FROM history WHERE session = ?1", [id]))?;
            sql(db.execute("UPDATE keys SET purged = 1 WHERE session = ?1", [id]))?;
        }
        Change::History { id, entry } => {
            let text = json(entry)?;
            sql(db
                .prepare_cached("INSERT INTO history (session, entry) VALUES (?1, ?2)")
                .and_then(|mut statement| statement.execute(params![id.as_str(), text])))?;
        }
        Change::Tombstone(tombstone) => {
            let text = json(tombstone)?;
            sql(db.execute(
                "INSERT OR REPLACE INTO tombstones (session, until, tombstone) VALUES (?1, ?2, ?3)",
                params![tombstone.id.as_str(), tombstone.until.millis(), text],
            ))?;
        }
        Change::ClaimKey(key) => {
            let taken = read::key(db, &key.owner, &key.key).map_err(|error| refuse(&error, path))?;
            if let Some(taken) = taken {
                return Err(StoreError::KeyTaken(Box::new(taken)));
            }
            sql(db.execute(
                "INSERT INTO keys (owner, key, session, fingerprint, purged, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![key.owner, key.key, key.session.as_str(), key.fingerprint, key.purged, key.at.millis()],
            ))?;
        }
        Change::Trace(trace) => {
            let text = json(trace)?;
            sql(db
                .prepare_cached("INSERT OR REPLACE INTO traces (id, at, trace) VALUES (?1, ?2, ?3)")
                .and_then(|mut statement| {
                    statement.execute(params![trace.id, trace.started_at.millis(), text])
                }))?;
        }
        Change::AddToken(token) => {
            let text = json(token)?;
            sql(db.execute(
                "INSERT INTO tokens (id, created_at, expires_at, token) VALUES (?1, ?2, ?3, ?4)",
                params![
                    token.id.as_str(),
                    token.created_at.millis(),
                    token.expires_at.map(wharf_protocol::Time::millis),
                    text
                ],
            ))?;
        }
        Change::RevokeToken(id) => {
            sql(db.execute("DELETE FROM tokens WHERE id = ?1", [id.as_str()]))?;
        }
        Change::Meta { name, value: Some(value) } => {
            sql(db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)", [name, value]))?;
        }
        Change::Meta { name, value: None } => {
            sql(db.execute("DELETE FROM meta WHERE name = ?1", [name]))?;
        }
    }
    Ok(())
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn columns(record: &Record) -> (&'static str, Option<i64>) {
    let ended = match &record.stage {
        Stage::Ended { at, .. } => Some(at.millis()),
        Stage::Pending { .. } | Stage::Running { .. } => None,
    };
    (state_word(record.state()), ended)
}

fn sweep(db: &mut Connection, retention: Retention) -> rusqlite::Result<Vec<SessionId>> {
    let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let gone: Vec<String> = {
        let mut old = transaction
            .prepare("SELECT id FROM sessions WHERE state = 'ended' AND ended_at < ?1 LIMIT 1000")?;
        old.query_map([retention.ended_before.millis()], |row| row.get(0))?.collect::<Result<_, _>>()?
    };
    for id in &gone {
        transaction.execute("DELETE FROM sessions WHERE id = ?1", [id])?;
        transaction.execute("DELETE FROM history WHERE session = ?1", [id])?;
    }
    transaction.execute(
        "DELETE FROM keys WHERE at < ?1 AND NOT EXISTS (SELECT 1 FROM sessions WHERE id = keys.session)",
        [retention.keys_before.millis()],
    )?;
    transaction.execute("DELETE FROM traces WHERE at < ?1", [retention.traces_before.millis()])?;
    transaction.execute("DELETE FROM tombstones WHERE until <= ?1", [retention.now.millis()])?;
    transaction.execute("DELETE FROM tokens WHERE expires_at <= ?1", [retention.now.millis()])?;
    transaction.commit()?;
    Ok(gone.iter().filter_map(|id| id.parse().ok()).collect())
}
