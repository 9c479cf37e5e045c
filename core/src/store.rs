//! The datastore: what it promises, and how it refuses.
//!
//! One launcher owns it. Live sessions are driven from memory by their drivers; the store is the truth after a
//! restart and the only home of ended ones. Implementations: SQLite (`wharf-store`) and memory (feature
//! `testing`), both held to the suite in `testing::store`.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use wharf_protocol::api::{HistoryEntry, Scope, Trace};
use wharf_protocol::{SessionId, State, Time, TokenId};

use crate::record::{Record, Tombstone};

/// A change; several make one transaction.
#[derive(Debug, Clone)]
pub enum Change {
    /// Creates a record; a [`StoreError::Conflict`] if there is one of that id.
    Create(Box<Record>),
    /// Replaces the record whose `rev` is `was`; else [`StoreError::Conflict`].
    Update {
        /// The revision it replaces.
        was: u64,
        /// The record as it is to be.
        record: Box<Record>,
    },
    /// Deletes the record, its history and the hook runs that served it; keys that named it are marked purged. Nothing if there is none.
    Purge(SessionId),
    /// Appends to a session's history. Nothing if there is no such session: what ends after a purge is not kept.
    History {
        /// The session.
        id: SessionId,
        /// What happened.
        entry: HistoryEntry,
    },
    /// Writes or replaces a tombstone.
    Tombstone(Tombstone),
    /// Claims an idempotency key; [`StoreError::KeyTaken`] if it is.
    ClaimKey(KeyRecord),
    /// Keeps a hook run.
    Trace(Box<Trace>),
    /// Adds an API token; a [`StoreError::Conflict`] if there is one of that id.
    AddToken(TokenRecord),
    /// Revokes one.
    RevokeToken(TokenId),
    /// Writes a small value of the launcher's own, such as the port it used.
    Meta {
        /// Its name.
        name: String,
        /// Its value; `None` forgets it.
        value: Option<String>,
    },
}

/// A spent idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Whose key.
    pub owner: String,
    /// The key.
    pub key: String,
    /// SHA-256 of the request's canonical JSON.
    pub fingerprint: [u8; 32],
    /// The session it made.
    pub session: SessionId,
    /// That session has been purged.
    pub purged: bool,
    /// When it was claimed.
    pub at: Time,
}

/// An API token: only the hash of its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Its id.
    pub id: TokenId,
    /// Its label.
    pub name: String,
    /// The user it acts as.
    pub user: String,
    /// What it may do.
    pub scope: Scope,
    /// For a redeemed link share: the only session and share it opens.
    pub share: Option<(SessionId, wharf_protocol::ShareId)>,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// When it was made.
    pub created_at: Time,
    /// Until when it is good.
    pub expires_at: Option<Time>,
}

/// How a token is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenKey {
    /// Its id.
    Id(TokenId),
    /// SHA-256 of its secret.
    Hash([u8; 32]),
}

/// Which sessions, newest first (by `created_at`, then id, both descending).
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// Only these states; empty means live ones (pending and running).
    pub states: Vec<State>,
    /// Only of this template.
    pub template: Option<String>,
    /// Only of this owner.
    pub owner: Option<String>,
    /// Only of this name.
    pub name: Option<String>,
    /// Only with all of these tags.
    pub tags: Vec<(String, String)>,
    /// Only these ids (shares of a guest); `None` means any.
    pub ids: Option<Vec<SessionId>>,
    /// Only after this position: strictly older in the list's order.
    pub after: Option<(Time, SessionId)>,
    /// At most so many.
    pub limit: usize,
}

/// What the store holds of live sessions at a start.
#[derive(Debug, Default)]
pub struct Live {
    /// Records that are not ended.
    pub records: Vec<Record>,
    /// Rows that cannot be read: skipped and reported, never a reason not to start.
    pub unreadable: Vec<String>,
}

/// What the store keeps, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Ended records that ended before this go, with their history.
    pub ended_before: Time,
    /// Traces that began before this go.
    pub traces_before: Time,
    /// Spent keys older than this go, once their session and its history are gone too.
    pub keys_before: Time,
    /// Now: tombstones and tokens that expired before it go.
    pub now: Time,
}

/// A datastore.
#[async_trait]
pub trait Store: std::fmt::Debug + Send + Sync {
    /// Makes all of the changes durable, or none of them. When this answers `Ok`, they survive a crash.
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError>;
    /// One record, live or ended.
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError>;
    /// All live records.
    async fn live(&self) -> Result<Live, StoreError>;
    /// A page of records.
    async fn list(&self, query: &ListQuery) -> Result<Vec<Record>, StoreError>;
    /// What happened to a session, oldest first.
    async fn history(&self, id: &SessionId) -> Result<Vec<HistoryEntry>, StoreError>;
    /// The tombstone of a purged session.
    async fn tombstone(&self, id: &SessionId) -> Result<Option<Tombstone>, StoreError>;
    /// A spent key.
    async fn key(&self, owner: &str, key: &str) -> Result<Option<KeyRecord>, StoreError>;
    /// One hook run.
    async fn trace(&self, id: &str) -> Result<Option<Trace>, StoreError>;
    /// One token, also one that has expired. What each request costs must not grow with their number.
    async fn token(&self, key: TokenKey) -> Result<Option<TokenRecord>, StoreError>;
    /// All tokens, oldest first.
    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError>;
    /// A small value of the launcher's own.
    async fn meta(&self, name: &str) -> Result<Option<String>, StoreError>;
    /// All small values whose names begin so, by name.
    async fn metas(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError>;
    /// Forgets what is too old; the ids of the sessions that went.
    async fn sweep(&self, retention: Retention) -> Result<Vec<SessionId>, StoreError>;
    /// Writes a consistent copy, while work goes on; the file must not exist.
    async fn backup(&self, to: &Path) -> Result<(), StoreError>;
}

/// How a datastore refuses.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else changed it first.
    #[error("the record was changed meanwhile")]
    Conflict,
    /// The key was claimed before.
    #[error("the idempotency key is taken")]
    KeyTaken(Box<KeyRecord>),
    /// No space, or read-only: goes on when that is over.
    #[error("the datastore takes no more: {0}")]
    Full(String),
    /// It did not work this time.
    #[error("the datastore failed: {0}")]
    Failed(String),
    /// The file is damaged.
    #[error("{path} is damaged: {detail}", path = path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The file was written by a newer release.
    #[error("{path} was written by a newer release: schema {found}, this one knows up to {known}", path = path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// Ours.
        known: u32,
    },
}
