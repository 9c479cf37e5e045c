//! The SQLite store: one writer thread with group commit, and readers that never wait for it.
//!
//! ```text
//! commit ──▶ queue ──▶ writer thread: BEGIN IMMEDIATE, a savepoint per batch, COMMIT (fsync) ──▶ answers
//! get, list ──▶ a reader connection of the pool (WAL: sees the last commit)
//! ```
//!
//! An answer is given only after the COMMIT that covers it. A batch that fails is rolled back to its own savepoint
//! and spoils no other.

mod read;
mod schema;
#[cfg(test)]
mod tests;
mod write;

use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::oneshot;
use wharf_core::record::{Record, Tombstone};
use wharf_core::store::{Change, KeyRecord, ListQuery, Live, Retention, Store, StoreError, TokenRecord};
use wharf_protocol::SessionId;
use wharf_protocol::api::{HistoryEntry, Trace};

/// Batches in one transaction, at most.
const GROUP: usize = 256;
/// Reader connections kept.
const READERS: usize = 4;

enum Job {
    Commit(Vec<Change>, oneshot::Sender<Result<(), StoreError>>),
    Sweep(Retention, oneshot::Sender<Result<Vec<SessionId>, StoreError>>),
}

/// A datastore in one file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    jobs: mpsc::Sender<Job>,
    readers: Arc<Readers>,
}

#[derive(Debug)]
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    /// On a network file system memory cannot be shared: no write-ahead log there.
    network: bool,
}

/// What an error of SQLite's means.
fn refuse(error: &rusqlite::Error, path: &Path) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full("no space left on the disk".to_owned()),
        Some(ErrorCode::ReadOnly) => StoreError::Full("the file is read-only".to_owned()),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StoreError::Corrupt { path: path.to_owned(), detail: error.to_string() }
        }
        // The file system's own "no space" may reach us as an I/O error of the log or its index.
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) if is_full(path) => {
            StoreError::Full("no space left on the disk".to_owned())
        }
        Some(_) | None => StoreError::Failed(error.to_string()),
    }
}

fn is_full(path: &Path) -> bool {
    let dir = path.parent().unwrap_or(path);
    rustix::fs::statvfs(dir).is_ok_and(|found| found.f_bavail.saturating_mul(found.f_frsize) < 256 * 1024)
}

/// Whether memory cannot be shared on that file system.
fn is_network(dir: &Path) -> bool {
    // NFS, SMB, CIFS, SMB2, AFS, Ceph, FUSE, Lustre, GPFS, BeeGFS, 9P.
    const MAGIC: [u64; 11] = [
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x5346_414f,
        0x00c3_6400,
        0x6573_5546,
        0x0bd0_0bd0,
        0x4750_4653,
        0x1983_0326,
        0x0102_1997,
    ];
    #[expect(clippy::cast_sign_loss, reason = "magic numbers are bit patterns")]
    rustix::fs::statfs(dir).is_ok_and(|found| MAGIC.contains(&(found.f_type as u64 & 0xffff_ffff)))
}

fn connect(path: &Path, network: bool, write: bool) -> Result<Connection, StoreError> {
    let refuse = |error: &rusqlite::Error| refuse(error, path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(|error| refuse(&error))?;
    let set = || -> rusqlite::Result<()> {
        db.busy_timeout(Duration::from_secs(5))?;
        if network {
            db.pragma_update(None, "journal_mode", "DELETE")?;
        } else {
            db.pragma_update(None, "journal_mode", "WAL")?;
        }
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "foreign_keys", true)?;
        if write {
            db.pragma_update(None, "wal_autocheckpoint", 1000)?;
        } else {
            db.pragma_update(None, "query_only", true)?;
        }
        Ok(())
    };
    set().map_err(|error| refuse(&error))?;
    Ok(db)
}

impl SqliteStore {
    /// Opens the datastore, makes it if it is not there, and brings it up to date.
    ///
    /// # Errors
    /// `Corrupt`, `TooNew`, or `Full` when it is read-only: never an empty start over a file that is there.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: io::Error| StoreError::Failed(format!("{}: {error}", path.display()));
        match fs::metadata(path) {
            Ok(found) if found.len() == 0 => {
                return Err(StoreError::Corrupt {
                    path: path.to_owned(),
                    detail: "the file is empty".to_owned(),
                });
            }
            Ok(found) => {
                if fs::OpenOptions::new().write(true).open(path).is_err() || found.permissions().readonly() {
                    return Err(StoreError::Full(format!("{} is read-only", path.display())));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(path)?,
            Err(error) => return Err(failed(error)),
        }
        let network = is_network(path.parent().unwrap_or(path));
        let mut db = connect(path, network, true)?;
        check(&db, path)?;
        schema::migrate(&mut db, path)?;
        let readers = Readers { path: path.to_owned(), idle: Mutex::default(), network };
        let (jobs, queue) = mpsc::channel();
        let file = path.to_owned();
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || write::run(db, &queue, &file))
            .map_err(failed)?;
        Ok(Self { jobs, readers: Arc::new(readers) })
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = Arc::clone(&self.readers);
        tokio::task::spawn_blocking(move || {
            let idle = || readers.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = idle().pop();
            let db = match kept {
                Some(db) => db,
                None => connect(&readers.path, readers.network, false)?,
            };
            let answer = read(&db).map_err(|error| refuse(&error, &readers.path));
            let mut idle = idle();
            if idle.len() < READERS && answer.is_ok() {
                idle.push(db);
            }
            answer
        })
        .await
        .unwrap_or_else(|_| Err(StoreError::Failed("the reader was interrupted".to_owned())))
    }

    fn gone() -> StoreError {
        StoreError::Failed("the writer is gone".to_owned())
    }
}

/// A new file is complete before it has its name: a crash leaves none, not an empty one.
fn create(path: &Path) -> Result<(), StoreError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::StorageFull | io::ErrorKind::PermissionDenied => {
            StoreError::Full(format!("{}: {error}", path.display()))
        }
        _ => StoreError::Failed(format!("{}: {error}", path.display())),
    };
    let draft = path.with_extension("new");
    let _ = fs::remove_file(&draft);
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(failed)?;
    let mut db = Connection::open(&draft).map_err(|error| refuse(&error, path))?;
    schema::migrate(&mut db, &draft)?;
    drop(db);
    fs::rename(&draft, path).map_err(failed)?;
    fs::File::open(path.parent().unwrap_or(path)).and_then(|dir| dir.sync_all()).map_err(failed)
}

fn check(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let found: String =
        db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|error| refuse(&error, path))?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Corrupt { path: path.to_owned(), detail: found }) }
}

/// Writes a consistent copy of a datastore, also while a launcher works on it.
///
/// # Errors
/// When the target exists, or either file fails.
pub fn backup_file(from: &Path, to: &Path) -> Result<(), StoreError> {
    let failed = |error: io::Error| StoreError::Failed(format!("{}: {error}", to.display()));
    if !from.is_file() {
        return Err(StoreError::Failed(format!("there is no datastore at {}", from.display())));
    }
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(failed)?;
    let copy = || -> rusqlite::Result<()> {
        let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        source.busy_timeout(Duration::from_secs(5))?;
        let mut target = Connection::open(to)?;
        rusqlite::backup::Backup::new(&source, &mut target)?.run_to_completion(
            256,
            Duration::from_millis(1),
            None,
        )
    };
    copy().map_err(|error| {
        let _ = fs::remove_file(to);
        refuse(&error, to)
    })?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o600)).map_err(failed)
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Commit(changes, reply)).map_err(|_| Self::gone())?;
        answer.await.map_err(|_| Self::gone())?
    }

    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        let id = id.clone();
        self.read(move |db| read::record(db, &id)).await
    }

    async fn live(&self) -> Result<Live, StoreError> {
        self.read(read::live).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Record>, StoreError> {
        let query = query.clone();
        self.read(move |db| read::list(db, &query)).await
    }

    async fn history(&self, id: &SessionId) -> Result<Vec<HistoryEntry>, StoreError> {
        let id = id.clone();
        self.read(move |db| read::history(db, &id)).await
    }

    async fn tombstone(&self, id: &SessionId) -> Result<Option<Tombstone>, StoreError> {
        let id = id.clone();
        self.read(move |db| read::tombstone(db, &id)).await
    }

    async fn key(&self, owner: &str, key: &str) -> Result<Option<KeyRecord>, StoreError> {
        let (owner, key) = (owner.to_owned(), key.to_owned());
        self.read(move |db| read::key(db, &owner, &key)).await
    }

    async fn trace(&self, id: &str) -> Result<Option<Trace>, StoreError> {
        let id = id.to_owned();
        self.read(move |db| read::trace(db, &id)).await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.read(read::tokens).await
    }

    async fn meta(&self, name: &str) -> Result<Option<String>, StoreError> {
        let name = name.to_owned();
        self.read(move |db| read::meta(db, &name)).await
    }

    async fn sweep(&self, retention: Retention) -> Result<Vec<SessionId>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Sweep(retention, reply)).map_err(|_| Self::gone())?;
        answer.await.map_err(|_| Self::gone())?
    }

    async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let (from, to) = (self.readers.path.clone(), to.to_owned());
        tokio::task::spawn_blocking(move || backup_file(&from, &to))
            .await
            .unwrap_or_else(|_| Err(StoreError::Failed("the backup was interrupted".to_owned())))
    }
}
