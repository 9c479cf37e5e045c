//! The tables, version by version.
//!
//! A record is one JSON text; beside it stand the columns that queries and indexes need. A migration is one
//! transaction, after a copy of the file was put beside it; a newer schema is refused.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};
use wharf_core::store::StoreError;

use super::{backup, refusal};

/// Marks a file as ours: "WHRF".
pub(super) const APPLICATION: i32 = 0x5748_5246;

/// What brings a database from version N to N + 1.
pub(super) const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE sessions (
        id TEXT NOT NULL PRIMARY KEY,
        rev INTEGER NOT NULL,
        owner TEXT NOT NULL,
        template TEXT NOT NULL,
        name TEXT NOT NULL,
        state TEXT NOT NULL,
        live INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        ended_at INTEGER,
        record TEXT NOT NULL
    ) STRICT;
    -- Filters are judged on the index alone; only rows of the page itself are fetched.
    CREATE INDEX sessions_by_class ON sessions (live, created_at DESC, id DESC, state, template, owner);
    CREATE INDEX sessions_by_age ON sessions (created_at DESC, id DESC, state, template, owner);
    CREATE INDEX sessions_by_name ON sessions (name, live, created_at DESC, id DESC);
    CREATE INDEX sessions_by_end ON sessions (ended_at) WHERE live = 0;
    CREATE TABLE tags (
        session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (session, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tags_by_value ON tags (key, value, session);
    CREATE TABLE history (
        number INTEGER PRIMARY KEY,
        session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        entry TEXT NOT NULL
    ) STRICT;
    CREATE INDEX history_by_session ON history (session, number);
    CREATE TABLE tombstones (
        session TEXT NOT NULL PRIMARY KEY,
        until INTEGER NOT NULL,
        tombstone TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tombstones_by_end ON tombstones (until);
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
    CREATE INDEX keys_by_age ON keys (at);
    CREATE TABLE traces (
        id TEXT NOT NULL PRIMARY KEY,
        at INTEGER NOT NULL,
        session TEXT,
        trace TEXT NOT NULL
    ) STRICT;
    CREATE INDEX traces_by_age ON traces (at);
    CREATE INDEX traces_by_session ON traces (session) WHERE session IS NOT NULL;
    CREATE TABLE tokens (
        id TEXT NOT NULL PRIMARY KEY,
        created_at INTEGER NOT NULL,
        expires_at INTEGER,
        token TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE meta (
        name TEXT NOT NULL PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    "
    -- Each request of a bearer finds its token by this.
    CREATE INDEX tokens_by_hash ON tokens (json_extract(token, '$.hash'));
",
];

/// The version of a file.
pub(super) fn version(db: &Connection, path: &Path) -> Result<u32, StoreError> {
    let found: i64 = db
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| refusal::refuse(&error, path))?;
    u32::try_from(found).map_err(|_| StoreError::Corrupt {
        path: path.to_owned(),
        detail: format!("its schema version is {found}"),
    })
}

/// Refuses a file of a newer release.
pub(super) fn refuse_newer(found: u32, steps: &[&str], path: &Path) -> Result<(), StoreError> {
    let known = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    if found > known { Err(StoreError::TooNew { path: path.to_owned(), found, known }) } else { Ok(()) }
}

/// Brings a database up to date; a copy of what it was stays beside it as `FILE.schema-N`.
pub(super) fn migrate(db: &mut Connection, steps: &[&str], path: &Path) -> Result<(), StoreError> {
    let found = version(db, path)?;
    refuse_newer(found, steps, path)?;
    let todo = steps.get(found as usize..).unwrap_or_default();
    if found > 0 && !todo.is_empty() {
        let copy = refusal::beside(path, &format!(".schema-{found}"));
        // One that is there is of an earlier try, before anything was changed, or of another life: leave it alone.
        if !copy.exists() {
            backup::copy(db, path, &copy)?;
        }
    }
    for (version, sql) in (found + 1..).zip(todo) {
        let step = |db: &mut Connection| -> rusqlite::Result<()> {
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(sql)?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.commit()
        };
        step(db).map_err(|error| refusal::refuse(&error, path))?;
    }
    Ok(())
}
