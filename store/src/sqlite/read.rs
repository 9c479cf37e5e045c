//! Queries, on any connection.
//!
//! A row that cannot be read hides no other: lists leave it out, and a start reports it.

use rusqlite::types::{ToSql, Type};
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::de::DeserializeOwned;
use tracing::warn;
use wharf_core::record::{Record, Tombstone};
use wharf_core::store::{KeyRecord, ListQuery, Live, TokenKey, TokenRecord};
use wharf_protocol::api::{HistoryEntry, Trace};
use wharf_protocol::{SessionId, State, Time};

use super::apply::state_word;

/// Reads a column of JSON.
fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// Whether the row was read and only what stands in it is wrong.
fn is_content(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code().is_none()
}

pub(super) fn record(db: &Connection, id: &SessionId) -> rusqlite::Result<Option<Record>> {
    db.prepare_cached("SELECT record FROM sessions WHERE id = ?1")?
        .query_row([id.as_str()], |row| json(row, 0))
        .optional()
}

pub(super) fn live(db: &Connection) -> rusqlite::Result<Live> {
    let mut live = Live::default();
    let mut statement = db
        .prepare_cached("SELECT record, id FROM sessions WHERE live = 1 ORDER BY created_at DESC, id DESC")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        match json::<Record>(row, 0) {
            Ok(record) => live.records.push(record),
            Err(error) if is_content(&error) => {
                let id: String = row.get(1).unwrap_or_else(|_| "a session".to_owned());
                live.unreadable.push(format!("{id}: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(live)
}

/// The statement of a list, and its values.
pub(super) fn list_sql(query: &ListQuery) -> (String, Vec<Box<dyn ToSql>>) {
    let mut wheres: Vec<&str> = Vec::new();
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let has = |state| query.states.contains(&state);
    match (has(State::Pending), has(State::Running), has(State::Ended)) {
        (false, false, false) | (true, true, false) => wheres.push("live = 1"),
        (false, false, true) => wheres.push("live = 0"),
        (true, true, true) => {}
        (pending, _, ended) => {
            wheres.push(if ended { "(state = 'ended' OR state = ?)" } else { "live = 1 AND state = ?" });
            values.push(Box::new(state_word(if pending { State::Pending } else { State::Running })));
        }
    }
    for (filter, value) in
        [("template = ?", &query.template), ("owner = ?", &query.owner), ("name = ?", &query.name)]
    {
        if let Some(value) = value {
            wheres.push(filter);
            values.push(Box::new(value.clone()));
        }
    }
    for (key, value) in &query.tags {
        wheres.push("id IN (SELECT session FROM tags WHERE key = ? AND value = ?)");
        values.push(Box::new(key.clone()));
        values.push(Box::new(value.clone()));
    }
    if let Some(ids) = &query.ids {
        let ids: Vec<&str> = ids.iter().map(SessionId::as_str).collect();
        wheres.push("id IN (SELECT value FROM json_each(?))");
        values.push(Box::new(serde_json::Value::from(ids).to_string()));
    }
    if let Some((at, id)) = &query.after {
        wheres.push("(created_at, id) < (?, ?)");
        values.push(Box::new(at.millis()));
        values.push(Box::new(id.as_str().to_owned()));
    }
    let filter = if wheres.is_empty() { String::new() } else { format!("WHERE {}", wheres.join(" AND ")) };
    // No LIMIT: rows that cannot be read do not count, and the rest is never stepped to.
    (format!("SELECT record, id FROM sessions {filter} ORDER BY created_at DESC, id DESC"), values)
}

pub(super) fn list(db: &Connection, query: &ListQuery) -> rusqlite::Result<Vec<Record>> {
    let (sql, values) = list_sql(query);
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(values.iter().map(|value| &**value)))?;
    let mut records = Vec::new();
    while records.len() < query.limit {
        let Some(row) = rows.next()? else { break };
        keep(&mut records, row, "a record")?;
    }
    Ok(records)
}

/// Reads the first column into the list; what cannot be read is left out.
fn keep<T: DeserializeOwned>(list: &mut Vec<T>, row: &Row<'_>, what: &str) -> rusqlite::Result<()> {
    match json(row, 0) {
        Ok(value) => list.push(value),
        Err(error) if is_content(&error) => {
            let id: String = row.get(1).unwrap_or_default();
            warn!(id, %error, "{what} cannot be read and is left out");
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

pub(super) fn history(db: &Connection, id: &SessionId) -> rusqlite::Result<Vec<HistoryEntry>> {
    let mut statement =
        db.prepare_cached("SELECT entry, session FROM history WHERE session = ?1 ORDER BY number")?;
    let mut rows = statement.query([id.as_str()])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        keep(&mut entries, row, "a line of history")?;
    }
    Ok(entries)
}

pub(super) fn tombstone(db: &Connection, id: &SessionId) -> rusqlite::Result<Option<Tombstone>> {
    db.prepare_cached("SELECT tombstone FROM tombstones WHERE session = ?1")?
        .query_row([id.as_str()], |row| json(row, 0))
        .optional()
}

pub(super) fn key(db: &Connection, owner: &str, key: &str) -> rusqlite::Result<Option<KeyRecord>> {
    db.prepare_cached("SELECT session, fingerprint, purged, at FROM keys WHERE owner = ?1 AND key = ?2")?
        .query_row([owner, key], |row| {
            let session: String = row.get(0)?;
            let session = session.parse().map_err(|error: wharf_protocol::id::InvalidId| {
                rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error))
            })?;
            Ok(KeyRecord {
                owner: owner.to_owned(),
                key: key.to_owned(),
                session,
                fingerprint: row.get(1)?,
                purged: row.get(2)?,
                at: Time::from_millis(row.get(3)?),
            })
        })
        .optional()
}

pub(super) fn trace(db: &Connection, id: &str) -> rusqlite::Result<Option<Trace>> {
    db.prepare_cached("SELECT trace FROM traces WHERE id = ?1")?
        .query_row([id], |row| json(row, 0))
        .optional()
}

pub(super) const TOKEN_BY_ID: &str = "SELECT token FROM tokens WHERE id = ?1";
pub(super) const TOKEN_BY_HASH: &str = "SELECT token FROM tokens WHERE json_extract(token, '$.hash') = ?1";

pub(super) fn token(db: &Connection, key: &TokenKey) -> rusqlite::Result<Option<TokenRecord>> {
    let (sql, key) = match key {
        TokenKey::Id(id) => (TOKEN_BY_ID, id.to_string()),
        TokenKey::Hash(hash) => (TOKEN_BY_HASH, serde_json::to_string(hash).unwrap_or_default()),
    };
    db.prepare_cached(sql)?.query_row([key], |row| json(row, 0)).optional()
}

pub(super) fn tokens(db: &Connection) -> rusqlite::Result<Vec<TokenRecord>> {
    let mut statement = db.prepare_cached("SELECT token, id FROM tokens ORDER BY created_at, id")?;
    let mut rows = statement.query([])?;
    let mut tokens = Vec::new();
    while let Some(row) = rows.next()? {
        keep(&mut tokens, row, "a token")?;
    }
    Ok(tokens)
}

pub(super) fn metas(db: &Connection, prefix: &str) -> rusqlite::Result<Vec<(String, String)>> {
    db.prepare_cached("SELECT name, value FROM meta WHERE substr(name, 1, length(?1)) = ?1 ORDER BY name")?
        .query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

pub(super) fn meta(db: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    db.prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}
