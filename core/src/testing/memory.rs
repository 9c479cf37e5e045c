//! A store in memory, which fails on demand.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use wharf_protocol::api::{HistoryEntry, Trace};
use wharf_protocol::{SessionId, State};

use crate::record::{Record, Stage, Tombstone};
use crate::store::{Change, KeyRecord, ListQuery, Live, Retention, Store, StoreError, TokenKey, TokenRecord};

#[derive(Debug, Default, Clone)]
struct Data {
    records: BTreeMap<SessionId, Record>,
    history: BTreeMap<SessionId, Vec<HistoryEntry>>,
    tombstones: BTreeMap<SessionId, Tombstone>,
    keys: BTreeMap<(String, String), KeyRecord>,
    traces: BTreeMap<String, Trace>,
    tokens: Vec<TokenRecord>,
    meta: BTreeMap<String, String>,
}

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    data: Mutex<Data>,
    full: Mutex<bool>,
    next: Mutex<Option<StoreError>>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on every commit is refused as full, or no longer.
    pub fn set_full(&self, full: bool) {
        *self.full.lock().unwrap_or_else(PoisonError::into_inner) = full;
    }

    /// The next commit is refused so; those after it are not.
    pub fn fail_next(&self, error: StoreError) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn apply(data: &mut Data, change: Change) -> Result<(), StoreError> {
    match change {
        Change::Create(record) => {
            if data.records.contains_key(&record.id) {
                return Err(StoreError::Conflict);
            }
            data.records.insert(record.id.clone(), *record);
        }
        Change::Update { was, record } => match data.records.get_mut(&record.id) {
            Some(known) if known.rev == was => *known = *record,
            Some(_) | None => return Err(StoreError::Conflict),
        },
        Change::Purge(id) => {
            data.records.remove(&id);
            data.history.remove(&id);
            data.traces.retain(|_, trace| trace.session_id.as_ref() != Some(&id));
            for key in data.keys.values_mut().filter(|key| key.session == id) {
                key.purged = true;
            }
        }
        Change::History { id, entry } => {
            if data.records.contains_key(&id) {
                data.history.entry(id).or_default().push(entry);
            }
        }
        Change::Tombstone(tombstone) => {
            data.tombstones.insert(tombstone.id.clone(), tombstone);
        }
        Change::ClaimKey(key) => {
            let name = (key.owner.clone(), key.key.clone());
            if let Some(taken) = data.keys.get(&name) {
                return Err(StoreError::KeyTaken(Box::new(taken.clone())));
            }
            data.keys.insert(name, key);
        }
        Change::Trace(trace) => {
            data.traces.insert(trace.id.clone(), *trace);
        }
        Change::AddToken(token) => {
            if data.tokens.iter().any(|known| known.id == token.id) {
                return Err(StoreError::Conflict);
            }
            data.tokens.push(token);
            data.tokens.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        }
        Change::RevokeToken(id) => data.tokens.retain(|token| token.id != id),
        Change::Meta { name, value } => {
            match value {
                Some(value) => data.meta.insert(name, value),
                None => data.meta.remove(&name),
            };
        }
    }
    Ok(())
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        if *self.full.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(StoreError::Full("told so by a test".to_owned()));
        }
        if let Some(error) = self.next.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        let mut data = self.data();
        let mut draft = data.clone();
        for change in changes {
            apply(&mut draft, change)?;
        }
        *data = draft;
        Ok(())
    }

    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        Ok(self.data().records.get(id).cloned())
    }

    async fn live(&self) -> Result<Live, StoreError> {
        let records = self.data().records.values().filter(|record| !record.is_ended()).cloned().collect();
        Ok(Live { records, unreadable: Vec::new() })
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Record>, StoreError> {
        let states: &[State] =
            if query.states.is_empty() { &[State::Pending, State::Running] } else { &query.states };
        let mut records: Vec<Record> = self
            .data()
            .records
            .values()
            .filter(|record| states.contains(&record.state()))
            .filter(|record| query.template.as_ref().is_none_or(|name| record.template == *name))
            .filter(|record| query.owner.as_ref().is_none_or(|name| record.owner == *name))
            .filter(|record| query.name.as_ref().is_none_or(|name| record.name == *name))
            .filter(|record| query.tags.iter().all(|(key, value)| record.tags.get(key) == Some(value)))
            .filter(|record| query.ids.as_ref().is_none_or(|ids| ids.contains(&record.id)))
            .filter(|record| {
                query.after.as_ref().is_none_or(|(at, id)| (record.created_at, &record.id) < (*at, id))
            })
            .cloned()
            .collect();
        records.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        records.truncate(query.limit);
        Ok(records)
    }

    async fn history(&self, id: &SessionId) -> Result<Vec<HistoryEntry>, StoreError> {
        Ok(self.data().history.get(id).cloned().unwrap_or_default())
    }

    async fn tombstone(&self, id: &SessionId) -> Result<Option<Tombstone>, StoreError> {
        Ok(self.data().tombstones.get(id).cloned())
    }

    async fn key(&self, owner: &str, key: &str) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.data().keys.get(&(owner.to_owned(), key.to_owned())).cloned())
    }

    async fn trace(&self, id: &str) -> Result<Option<Trace>, StoreError> {
        Ok(self.data().traces.get(id).cloned())
    }

    async fn token(&self, key: TokenKey) -> Result<Option<TokenRecord>, StoreError> {
        let is_meant = |token: &&TokenRecord| match &key {
            TokenKey::Id(id) => token.id == *id,
            TokenKey::Hash(hash) => token.hash == *hash,
        };
        Ok(self.data().tokens.iter().find(is_meant).cloned())
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        Ok(self.data().tokens.clone())
    }

    async fn meta(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self.data().meta.get(name).cloned())
    }

    async fn metas(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        let data = self.data();
        let found = data.meta.iter().filter(|(name, _)| name.starts_with(prefix));
        Ok(found.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    async fn sweep(&self, retention: Retention) -> Result<Vec<SessionId>, StoreError> {
        let mut data = self.data();
        let old: Vec<SessionId> = data
            .records
            .values()
            .filter(|record| matches!(&record.stage, Stage::Ended { at, .. } if *at < retention.ended_before))
            .map(|record| record.id.clone())
            .collect();
        for id in &old {
            data.records.remove(id);
            data.history.remove(id);
        }
        let Data { records, keys, traces, tombstones, tokens, .. } = &mut *data;
        keys.retain(|_, key| records.contains_key(&key.session) || key.at >= retention.keys_before);
        traces.retain(|_, trace| trace.started_at >= retention.traces_before);
        tombstones.retain(|_, tombstone| tombstone.until > retention.now);
        tokens.retain(|token| token.expires_at.is_none_or(|until| until > retention.now));
        Ok(old)
    }

    async fn backup(&self, _to: &Path) -> Result<(), StoreError> {
        Err(StoreError::Failed("a store in memory has no backup".to_owned()))
    }
}
