//! What a file must be to be opened, and how its connections are set up.
//!
//! ```text
//! nothing there ──▶ made under another name, complete, synced ──▶ renamed ──▶ opened
//! something there ──▶ ours? not newer? whole? writable? ──▶ migrated ──▶ opened; else left alone and named
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tracing::warn;
use wharf_core::filesystem;
use wharf_core::store::StoreError;

use super::refusal::{beside, dir_of, refuse, refuse_io};
use super::schema;

/// How long a connection waits for another program's lock.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// What the log is cut back to, in bytes, once it has been written back.
const LOG_KEPT: i64 = 8 * 1024 * 1024;

/// Whether several connections may have the file open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// They share the log's index in memory.
    Shared,
    /// One connection holds it: its index is in that connection's own memory.
    Alone,
}

/// Network file systems do not carry shared memory between hosts, and their locks are slow and doubtful.
pub(super) fn sharing(path: &Path) -> Sharing {
    if filesystem::is_network(dir_of(path)) { Sharing::Alone } else { Sharing::Shared }
}

/// Opens the file for the writer: makes it if it is not there, checks it, brings it up to date.
pub(super) fn writer(path: &Path, sharing: Sharing) -> Result<Connection, StoreError> {
    prepared(path, sharing).map_err(|error| at_start(error, path))
}

fn prepared(path: &Path, sharing: Sharing) -> Result<Connection, StoreError> {
    match fs::metadata(path) {
        Ok(found) => admit(path, &found)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path)?,
        Err(error) => return Err(refuse_io(&error, path)),
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags).map_err(|error| refuse(&error, path))?;
    // Before the first access: the mode decides where the log's index lives.
    prepare(&db, sharing).map_err(|error| refuse(&error, path))?;
    examine(&db, path)?;
    db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))
        .map_err(|error| refuse(&error, path))
        .and_then(|mode| {
            let wrong = || StoreError::Failed(format!("{}: no write-ahead log, but {mode}", path.display()));
            if mode == "wal" { Ok(()) } else { Err(wrong()) }
        })?;
    schema::migrate(&mut db, schema::MIGRATIONS, path)?;
    Ok(db)
}

/// Opens the file for one who only reads, beside a writer.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    // Also a reader writes the log's index; only its queries may not write.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(|error| refuse(&error, path))?;
    let set = || {
        prepare(&db, Sharing::Shared)?;
        db.pragma_update(None, "query_only", true)
    };
    set().map_err(|error| refuse(&error, path))?;
    Ok(db)
}

fn prepare(db: &Connection, sharing: Sharing) -> rusqlite::Result<()> {
    db.busy_timeout(PATIENCE)?;
    db.set_prepared_statement_cache_capacity(64);
    if sharing == Sharing::Alone {
        db.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(()))?;
    }
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cell_size_check", true)?;
    // What was purged is not left lying in free pages.
    db.query_row("PRAGMA secure_delete = ON", [], |_| Ok(()))?;
    db.query_row(&format!("PRAGMA journal_size_limit = {LOG_KEPT}"), [], |_| Ok(()))
}

/// Looks at a file that is there, before anything opens it.
fn admit(path: &Path, found: &fs::Metadata) -> Result<(), StoreError> {
    let mode = found.permissions().mode();
    if !found.is_file() {
        return Err(StoreError::Failed(format!("{} is not a file", path.display())));
    }
    if found.len() == 0 {
        // SQLite would take it for a new one.
        return Err(StoreError::Corrupt { path: path.to_owned(), detail: "the file is empty".to_owned() });
    }
    // The mode is asked as well: to root every file is writable.
    if mode & 0o200 == 0 || rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_err() {
        return Err(StoreError::Full(format!("{} is read-only: it must be writable", path.display())));
    }
    if mode & 0o077 != 0 {
        warn!(path = %path.display(), "the datastore was open to other users, and is no longer");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .map_err(|error| refuse_io(&error, path))?;
    }
    Ok(())
}

/// Looks into an opened file.
pub(super) fn examine(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| refuse(&error, path);
    let corrupt = |detail: &str| StoreError::Corrupt { path: path.to_owned(), detail: detail.to_owned() };
    let application: i32 = db.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(failed)?;
    if application != schema::APPLICATION {
        return Err(corrupt("it is no datastore of Wharf"));
    }
    let version = schema::version(db, path)?;
    schema::refuse_newer(version, schema::MIGRATIONS, path)?;
    if version == 0 {
        return Err(corrupt("it has no tables"));
    }
    let found: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if found == "ok" { Ok(()) } else { Err(corrupt(&found)) }
}

/// Who starts a launcher hears which file it is, and the way out.
fn at_start(error: StoreError, path: &Path) -> StoreError {
    match error {
        StoreError::Corrupt { path, detail } => {
            let detail = format!(
                "{detail}. Put a backup in its place, or move it away: sessions that run report themselves again"
            );
            StoreError::Corrupt { path, detail }
        }
        StoreError::Full(words) if !words.contains(&*path.to_string_lossy()) => {
            StoreError::Full(format!("{}: {words}", path.display()))
        }
        other => other,
    }
}

/// A new file is complete before it has its name: a crash leaves none, not an empty one.
fn create(path: &Path) -> Result<(), StoreError> {
    set_aside(path)?;
    let draft = beside(path, ".new");
    let forget = || {
        for ending in ["", "-journal", "-wal", "-shm"] {
            let _ = fs::remove_file(beside(&draft, ending));
        }
    };
    forget();
    let made = draw_up(&draft).and_then(|()| {
        fs::rename(&draft, path)
            .and_then(|()| fs::File::open(dir_of(path))?.sync_all())
            .map_err(|error| refuse_io(&error, path))
    });
    if made.is_err() {
        forget();
    }
    made
}

fn draw_up(draft: &Path) -> Result<(), StoreError> {
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)
        .map_err(|error| refuse_io(&error, draft))?;
    let mut db = Connection::open(draft).map_err(|error| refuse(&error, draft))?;
    db.pragma_update(None, "application_id", schema::APPLICATION).map_err(|error| refuse(&error, draft))?;
    schema::migrate(&mut db, schema::MIGRATIONS, draft)?;
    db.close().map_err(|(_, error)| refuse(&error, draft))?;
    file.sync_all().map_err(|error| refuse_io(&error, draft))
}

/// A log whose database is gone must not be played into a new one; it may still be worth a look.
fn set_aside(path: &Path) -> Result<(), StoreError> {
    for ending in ["-wal", "-journal", "-shm"] {
        let left = beside(path, ending);
        match fs::metadata(&left) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(refuse_io(&error, &left)),
            // The index is made anew from the log, and an empty log says nothing.
            Ok(found) if ending == "-shm" || found.len() == 0 => fs::remove_file(&left),
            Ok(_) => {
                let aside = (1..).map(|number| beside(&left, &format!(".left-{number}")));
                let aside = aside.into_iter().find(|name| !name.exists()).unwrap_or_else(|| left.clone());
                warn!(left = %left.display(), aside = %aside.display(), "a log without its datastore was set aside");
                fs::rename(&left, &aside)
            }
        }
        .map_err(|error| refuse_io(&error, &left))?;
    }
    Ok(())
}
