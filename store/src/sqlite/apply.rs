//! One change as SQL, within its batch's savepoint.

use std::path::Path;

use rusqlite::types::ToSql;
use rusqlite::{Connection, named_params, params};
use wharf_core::record::{Record, Stage};
use wharf_core::store::{Change, KeyRecord, StoreError, TokenRecord};
use wharf_protocol::{SessionId, State, Time};

use super::read;
use super::refusal::refuse;

/// The word of a state in its column.
pub(super) const fn state_word(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Running => "running",
        State::Ended => "ended",
    }
}

/// An update that changes nothing that lists go by, as most do: SQLite writes each index that a column in SET belongs to.
pub(super) const UPDATE_IN_PLACE: &str = "UPDATE sessions SET rev = :rev, record = :record
    WHERE id = :id AND rev = :was AND owner = :owner AND template = :template AND name = :name
    AND state = :state AND live = :live AND created_at = :created_at AND ended_at IS :ended_at";

struct Writer<'a> {
    db: &'a Connection,
    path: &'a Path,
}

/// Carries out one change.
pub(super) fn change(db: &Connection, change: &Change, path: &Path) -> Result<(), StoreError> {
    let writer = Writer { db, path };
    match change {
        Change::Create(record) => writer.create(record),
        Change::Update { was, record } => writer.update(*was, record),
        Change::Purge(id) => {
            // Its tags and its history go with it.
            writer.run("DELETE FROM sessions WHERE id = ?1", &[&id.as_str()])?;
            writer.run("DELETE FROM traces WHERE session = ?1", &[&id.as_str()])?;
            writer.run("UPDATE keys SET purged = 1 WHERE session = ?1", &[&id.as_str()]).map(drop)
        }
        // A hook may end after its session was purged: what it says has no place any more.
        Change::History { id, entry } => writer
            .run(
                "INSERT INTO history (session, entry) SELECT id, ?2 FROM sessions WHERE id = ?1",
                &[&id.as_str(), &json(entry)?],
            )
            .map(drop),
        Change::Tombstone(tombstone) => writer
            .run(
                "INSERT OR REPLACE INTO tombstones (session, until, tombstone) VALUES (?1, ?2, ?3)",
                &[&tombstone.id.as_str(), &tombstone.until.millis(), &json(tombstone)?],
            )
            .map(drop),
        Change::ClaimKey(key) => writer.claim(key),
        Change::Trace(trace) => writer
            .run(
                "INSERT OR REPLACE INTO traces (id, at, session, trace) VALUES (?1, ?2, ?3, ?4)",
                &[
                    &trace.id,
                    &trace.started_at.millis(),
                    &trace.session_id.as_ref().map(SessionId::as_str),
                    &json(trace)?,
                ],
            )
            .map(drop),
        Change::AddToken(token) => writer.add_token(token),
        Change::RevokeToken(id) => writer.run("DELETE FROM tokens WHERE id = ?1", &[&id.as_str()]).map(drop),
        Change::Meta { name, value: Some(value) } => {
            writer.run("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)", &[name, value]).map(drop)
        }
        Change::Meta { name, value: None } => {
            writer.run("DELETE FROM meta WHERE name = ?1", &[name]).map(drop)
        }
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Failed(error.to_string()))
}

fn one_or_conflict(rows: usize) -> Result<(), StoreError> {
    if rows == 0 { Err(StoreError::Conflict) } else { Ok(()) }
}

impl Writer<'_> {
    fn run(&self, sql: &str, values: &[&dyn ToSql]) -> Result<usize, StoreError> {
        self.db
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(values))
            .map_err(|error| refuse(&error, self.path))
    }

    fn create(&self, record: &Record) -> Result<(), StoreError> {
        let made = self.put(
            "INSERT INTO sessions (id, rev, owner, template, name, state, live, created_at, ended_at, record)
             VALUES (:id, :rev, :owner, :template, :name, :state, :live, :created_at, :ended_at, :record)
             ON CONFLICT DO NOTHING",
            (record, &json(record)?),
            None,
        )?;
        one_or_conflict(made)?;
        self.tag(record)
    }

    fn update(&self, was: u64, record: &Record) -> Result<(), StoreError> {
        let whole = (record, &*json(record)?);
        let mut changed = self.put(UPDATE_IN_PLACE, whole, Some(was))?;
        if changed == 0 {
            changed = self.put(
                "UPDATE sessions SET rev = :rev, owner = :owner, template = :template, name = :name,
                 state = :state, live = :live, created_at = :created_at, ended_at = :ended_at, record = :record
                 WHERE id = :id AND rev = :was",
                whole,
                Some(was),
            )?;
        }
        one_or_conflict(changed)?;
        self.run("DELETE FROM tags WHERE session = ?1", &[&record.id.as_str()])?;
        self.tag(record)
    }

    /// How many rows it changed.
    fn put(&self, sql: &str, (record, text): (&Record, &str), was: Option<u64>) -> Result<usize, StoreError> {
        let ended_at = match &record.stage {
            Stage::Ended { at, .. } => Some(at.millis()),
            Stage::Pending { .. } | Stage::Running { .. } => None,
        };
        let was = was.map(u64::cast_signed);
        let values = named_params! {
            ":id": record.id.as_str(),
            ":rev": record.rev.cast_signed(),
            ":owner": record.owner,
            ":template": record.template,
            ":name": record.name,
            ":state": state_word(record.state()),
            ":live": !record.is_ended(),
            ":created_at": record.created_at.millis(),
            ":ended_at": ended_at,
            ":record": text,
            ":was": was,
        };
        // Only an update has the last one.
        let values = if was.is_some() { values } else { &values[..values.len() - 1] };
        self.db
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(values))
            .map_err(|error| refuse(&error, self.path))
    }

    fn tag(&self, record: &Record) -> Result<(), StoreError> {
        for (key, value) in &record.tags {
            self.run(
                "INSERT INTO tags (session, key, value) VALUES (?1, ?2, ?3)",
                &[&record.id.as_str(), key, value],
            )?;
        }
        Ok(())
    }

    fn claim(&self, key: &KeyRecord) -> Result<(), StoreError> {
        let known = read::key(self.db, &key.owner, &key.key).map_err(|error| refuse(&error, self.path))?;
        if let Some(known) = known {
            return Err(StoreError::KeyTaken(Box::new(known)));
        }
        self.run(
            "INSERT INTO keys (owner, key, session, fingerprint, purged, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![key.owner, key.key, key.session.as_str(), key.fingerprint, key.purged, key.at.millis()],
        )
        .map(drop)
    }

    fn add_token(&self, token: &TokenRecord) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO tokens (id, created_at, expires_at, token) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
            params![
                token.id.as_str(),
                token.created_at.millis(),
                token.expires_at.map(Time::millis),
                json(token)?
            ],
        )
        .and_then(one_or_conflict)
    }
}
