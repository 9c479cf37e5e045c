//! The SQLite store: one writer thread with group commit, and readers that never wait for it.
//!
//! ```text
//! commit ──▶ queue ──▶ writer thread: BEGIN IMMEDIATE, a savepoint per batch, COMMIT (fsync) ──▶ answers
//! get, list ──▶ a reader's connection of the pool (WAL: sees the last commit)
//! ```
//!
//! An answer is given only after the COMMIT that covers it. On a network file system, where processes cannot share
//! memory, the writer's connection holds the file for itself and serves the reads as well.
//!
//! Read next: [`open`] (what a file must be to be opened), [`write`] (the writer thread), [`apply`] (changes as SQL),
//! [`read`] (queries), [`backup`], [`refusal`] (what SQLite's errors mean).

mod apply;
mod backup;
mod open;
mod read;
mod refusal;
mod schema;
#[cfg(test)]
mod tests;
mod write;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};
use wharf_core::record::{Record, Tombstone};
use wharf_core::store::{
    Change, KeyRecord, ListQuery, Live, Retention, Store, StoreError, TokenKey, TokenRecord,
};
use wharf_protocol::SessionId;
use wharf_protocol::api::{HistoryEntry, Trace};

pub use backup::backup_file;
use open::Sharing;
use refusal::refuse;
use write::Job;

/// Reads at the same time, and connections kept for them.
const READERS: usize = 4;

/// A datastore in one file; clones are the same one.
///
/// When the last clone is dropped, what was queued is still written before the file is closed.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    /// None where only the writer's connection may read.
    readers: Option<Arc<Readers>>,
}

#[derive(Debug)]
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    places: Semaphore,
}

impl Readers {
    fn take(&self) -> Result<Connection, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| open::reader(&self.path), Ok)
    }

    fn give_back(&self, db: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(db);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Readers first: the last connection that closes writes the log back, and only the writer's can.
        self.readers = None;
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn gone() -> StoreError {
    StoreError::Failed("the datastore was interrupted at this request".to_owned())
}

impl SqliteStore {
    /// Opens the datastore, makes it if it is not there, and brings it up to date.
    ///
    /// # Errors
    /// `Corrupt`, `TooNew`, or `Full` when it is read-only: never an empty start over a file that is there.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_as(path, open::sharing(path))
    }

    fn open_as(path: &Path, sharing: Sharing) -> Result<Self, StoreError> {
        let db = open::writer(path, sharing)?;
        let (jobs, queue) = mpsc::channel();
        let file = path.to_owned();
        let writer = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || write::run(db, &queue, &file))
            .map_err(|error| StoreError::Failed(format!("no thread for the datastore: {error}")))?;
        let readers =
            || Readers { path: path.to_owned(), idle: Mutex::default(), places: Semaphore::new(READERS) };
        let readers = (sharing == Sharing::Shared).then(|| Arc::new(readers()));
        let inner = Inner { path: path.to_owned(), jobs: Some(jobs), writer: Some(writer), readers };
        Ok(Self { inner: Arc::new(inner) })
    }

    fn send(&self, job: Job) -> Result<(), StoreError> {
        self.inner.jobs.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())
    }

    /// Runs it on the writer's connection, in its turn.
    async fn on_writer<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let run = move |db: &Connection| {
            let _ = reply.send(run(db));
        };
        self.send(Job::Run(Box::new(run)))?;
        answer.await.map_err(|_| gone())
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.inner.path.clone();
        let Some(readers) = self.inner.readers.clone() else {
            return self.on_writer(move |db| read(db).map_err(|error| refuse(&error, &path))).await?;
        };
        let place = Arc::clone(&readers);
        let _place = place.places.acquire().await.map_err(|_| gone())?;
        tokio::task::spawn_blocking(move || {
            let db = readers.take()?;
            let answer = read(&db).map_err(|error| refuse(&error, &path));
            // One that failed may be in a state that we do not know: the next read opens a new one.
            if answer.is_ok() {
                readers.give_back(db);
            }
            answer
        })
        .await
        .unwrap_or_else(|_| Err(gone()))
    }
}

#[async_trait]
impl Store for SqliteStore {
    /// Once it has been polled it is carried out, also when nobody waits for the answer any more.
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Commit(changes, reply))?;
        answer.await.map_err(|_| gone())?
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

    async fn token(&self, key: TokenKey) -> Result<Option<TokenRecord>, StoreError> {
        self.read(move |db| read::token(db, &key)).await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.read(read::tokens).await
    }

    async fn meta(&self, name: &str) -> Result<Option<String>, StoreError> {
        let name = name.to_owned();
        self.read(move |db| read::meta(db, &name)).await
    }

    async fn metas(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        let prefix = prefix.to_owned();
        self.read(move |db| read::metas(db, &prefix)).await
    }

    async fn sweep(&self, retention: Retention) -> Result<Vec<SessionId>, StoreError> {
        let mut gone_ids = Vec::new();
        loop {
            // A part at a time, so that commits need not wait for all of it.
            let (reply, answer) = oneshot::channel();
            self.send(Job::Sweep(retention, reply))?;
            let part = answer.await.map_err(|_| gone())??;
            gone_ids.extend(part.gone);
            if part.done {
                return Ok(gone_ids);
            }
        }
    }

    async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let (from, to) = (self.inner.path.clone(), to.to_owned());
        if self.inner.readers.is_none() {
            return self.on_writer(move |db| backup::copy(db, &from, &to)).await?;
        }
        tokio::task::spawn_blocking(move || backup_file(&from, &to)).await.unwrap_or_else(|_| Err(gone()))
    }
}
