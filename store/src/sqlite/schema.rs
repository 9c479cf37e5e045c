//! The tables, version by version. A migration is one transaction; a newer schema is refused.

use std::path::Path;

use rusqlite::Connection;
use wharf_core::store::StoreError;

/// What brings a database from version N to N + 1.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY,
        rev INTEGER NOT NULL,
        owner TEXT NOT NULL,
        template TEXT NOT NULL,
        name TEXT NOT NULL,
        state TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        ended_at INTEGER,
        record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX sessions_by_age ON sessions (created_at DESC, id DESC);
    CREATE INDEX sessions_live ON sessions (created_at DESC, id DESC) WHERE state <> 'ended';
    CREATE INDEX sessions_ended ON sessions (ended_at) WHERE state = 'ended';
    CREATE TABLE tags (
        session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (session, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tags_by_value ON tags (key, value, session);
    CREATE TABLE history (
        number INTEGER PRIMARY KEY,
        session TEXT NOT NULL,
        entry TEXT NOT NULL
    ) STRICT;
    CREATE INDEX history_by_session ON history (session, number);
    CREATE TABLE tombstones (
        session TEXT PRIMARY KEY,
        until INTEGER NOT NULL,
        tombstone TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE keys (
        owner TEXT NOT NULL,
        key TEXT NOT NULL,
        session TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        purged INTEGER NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (owner, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX keys_by_session ON keys (session);
    CREATE TABLE traces (
        id TEXT PRIMARY KEY,
        at INTEGER NOT NULL,
        trace TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX traces_by_age ON traces (at);
    CREATE TABLE tokens (
        id TEXT PRIMARY KEY,
        created_at INTEGER NOT NULL,
        expires_at INTEGER,
        token TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE meta (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
"];

/// The newest version.
pub(crate) const VERSION: u32 = 1;

/// Brings a database up to date.
pub(crate) fn migrate(db: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let found: u32 = db
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| super::refuse(&error, path))?;
    if found > VERSION {
        return Err(StoreError::TooNew { path: path.to_owned(), found, known: VERSION });
    }
    for (version, sql) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        let transaction = db.transaction().map_err(|error| super::refuse(&error, path))?;
        transaction
            .execute_batch(sql)
            .and_then(|()| transaction.pragma_update(None, "user_version", version))
            .and_then(|()| transaction.commit())
            .map_err(|error| super::refuse(&error, path))?;
    }
    Ok(())
}
