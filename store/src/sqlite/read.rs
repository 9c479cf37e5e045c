//! Reads, on any connection.

use rusqlite::types::{ToSql, Type};
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::de::DeserializeOwned;
use wharf_core::record::{Record, Tombstone};
use wharf_core::store::{KeyRecord, ListQuery, Live, TokenRecord};
use wharf_protocol::api::{HistoryEntry, Trace};
use wharf_protocol::{SessionId, State, Time};

use super::write::state_word;

/// Reads a column of JSON.
fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

pub(super) fn record(db: &Connection, id: &SessionId) -> rusqlite::Result<Option<Record>> {
    db.prepare_cached("SELECT record FROM sessions WHERE id = ?1")?
        .query_row([id.as_str()], |row| json(row, 0))
        .optional()
}

pub(super) fn live(db: &Connection) -> rusqlite::Result<Live> {
    let mut live = Live::default();
    let mut statement =
        db.prepare("SELECT id, record FROM sessions WHERE state <> 'ended' ORDER BY created_at, id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        match json::<Record>(row, 1) {
            Ok(record) if !record.is_ended() => live.records.push(record),
            Ok(_) => {}
            Err(error) => {
                let id: String = row.get(0).unwrap_or_else(|_| "?".to_owned());
                live.unreadable.push(format!("{id}: {error}"));
            }
        }
    }
    Ok(live)
}

pub(super) fn list(db: &Connection, query: &ListQuery) -> rusqlite::Result<Vec<Record>> {
    let mut wheres: Vec<String> = Vec::new();
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let live = [State::Pending, State::Running];
    let states: &[State] = if query.states.is_empty() { &live } else { &query.states };
    match (states.contains(&State::Pending), states.contains(&State::Running), states.contains(&State::Ended))
    {
        (true, true, true) => {}
        // Says it in the words of the partial index.
        (true, true, false) => wheres.push("state <> 'ended'".to_owned()),
        _ => {
            let words: Vec<String> = states.iter().map(|state| format!("'{}'", state_word(*state))).collect();
            wheres.push(format!("state IN ({})", words.join(", ")));
        }
    }
    for (column, value) in [("template", &query.template), ("owner", &query.owner), ("name", &query.name)] {
        if let Some(value) = value {
            wheres.push(format!("{column} = ?"));
            values.push(Box::new(value.clone()));
        }
    }
    for (key, value) in &query.tags {
        wheres.push("id IN (SELECT session FROM tags WHERE key = ? AND value = ?)".to_owned());
        values.push(Box::new(key.clone()));
        values.push(Box::new(value.clone()));
    }
    if let Some(ids) = &query.ids {
        let ids: Vec<&str> = ids.iter().map(SessionId::as_str).collect();
        wheres.push("id IN (SELECT value FROM json_each(?))".to_owned());
        values.push(Box::new(serde_json::to_string(&ids).unwrap_or_else(|_| "[]".to_owned())));
    }
    if let Some((at, id)) = &query.after {
        wheres.push("(created_at, id) < (?, ?)".to_owned());
        values.push(Box::new(at.millis()));
        values.push(Box::new(id.as_str().to_owned()));
    }
    let filter = if wheres.is_empty() { String::new() } else { format!("WHERE {}", wheres.join(" AND ")) };
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let sql = format!("SELECT record FROM sessions {filter} ORDER BY created_at DESC, id DESC LIMIT {limit}");
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(values.iter().map(|value| &**value)))?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        // An unreadable row was reported at the start; it hides no other.
        if let Ok(record) = json(row, 0) {
            records.push(record);
        }
    }
    Ok(records)
}

pub(super) fn history(db: &Connection, id: &SessionId) -> rusqlite::Result<Vec<HistoryEntry>> {
    db.prepare_cached("SELECT entry FROM history WHERE session = ?1 ORDER BY number")?
        .query_map([id.as_str()], |row| json(row, 0))?
        .collect()
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

pub(super) fn tokens(db: &Connection) -> rusqlite::Result<Vec<TokenRecord>> {
    db.prepare_cached("SELECT token FROM tokens ORDER BY created_at, id")?
        .query_map([], |row| json(row, 0))?
        .collect()
}

pub(super) fn meta(db: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    db.prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}
