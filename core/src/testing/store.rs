//! The conformance suite of stores: one function per promise of [`crate::store::Store`].
//!
//! Must not know how a store keeps anything. Lists are in [`lists`], what is forgotten by time in [`sweep`].

mod lists;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wharf_protocol::api::{HistoryEntry, Scope, Trace, TracedCommand};
use wharf_protocol::id::ENTROPY;
use wharf_protocol::monitor::{Limits, OnOrphan};
use wharf_protocol::{Dur, End, EndCause, Phase, SessionId, State, Time, TokenId};

use crate::record::{Record, Rules, Stage, Tombstone};
use crate::store::{Change, KeyRecord, ListQuery, Live, Store, StoreError, TokenKey, TokenRecord};

/// A record that is like no other of another number, made `number` milliseconds after 1970.
pub fn record(number: u32) -> Record {
    let mut random = [0; ENTROPY];
    for (at, digit) in format!("{number:010}").bytes().enumerate() {
        random[at + 1] = digit - b'0';
    }
    let at = Time::from_millis(i64::from(number));
    Record {
        placed: None,
        id: SessionId::from_random(random),
        rev: 1,
        name: format!("name-{number}"),
        owner: "alice".to_owned(),
        template: "shell".to_owned(),
        backend: "shell".to_owned(),
        scheduler: "shell".to_owned(),
        command: vec!["true".to_owned()],
        tty: false,
        params: BTreeMap::new(),
        secrets: BTreeSet::new(),
        params_rev: 1,
        tags: BTreeMap::from([("number".to_owned(), number.to_string())]),
        env: BTreeMap::new(),
        shares: Vec::new(),
        withdrawn: Vec::new(),
        created_at: at,
        submitted_at: None,
        started_at: None,
        stage: Stage::Pending { phase: Phase::Recorded, since: at, retry_at: None, retries: 0, doubt: None },
        wish: None,
        attempt: 0,
        job: None,
        strays: Vec::new(),
        incarnation: None,
        reason: None,
        rules: Rules {
            limits: Limits { grace: Dur::secs(10), on_orphan: OnOrphan::Run },
            register: Duration::from_secs(600),
            queue: Duration::from_secs(604_800),
            settle: Duration::from_secs(60),
            prepare: false,
            find: true,
            status: true,
            requeue: false,
            max_lifetime: None,
            idle: None,
        },
    }
}

/// The same, ended at that time.
pub fn ended(number: u32, at: Time) -> Record {
    let end = End {
        cause: EndCause::Exited,
        exit_code: Some(0),
        signal: None,
        message: "done".to_owned(),
        stopped_by: None,
    };
    Record { stage: Stage::Ended { end, at }, ..record(number) }
}

fn key(session: &Record, text: &str) -> KeyRecord {
    KeyRecord {
        owner: "alice".to_owned(),
        key: text.to_owned(),
        fingerprint: [7; 32],
        session: session.id.clone(),
        purged: false,
        at: session.created_at,
    }
}

fn entry(event: &str) -> HistoryEntry {
    HistoryEntry {
        at: Time::from_millis(1),
        event: event.to_owned(),
        actor: "alice".to_owned(),
        detail: "…".to_owned(),
        trace_id: None,
    }
}

fn token(number: u8, at: i64) -> TokenRecord {
    TokenRecord {
        id: TokenId::from_random([number; ENTROPY]),
        name: "laptop".to_owned(),
        user: "alice".to_owned(),
        scope: Scope::Read,
        share: None,
        hash: [number ^ 3; 32],
        created_at: Time::from_millis(at),
        expires_at: None,
    }
}

fn trace(number: u32, at: i64) -> Trace {
    Trace {
        id: format!("trace-{number}"),
        session_id: Some(record(number).id),
        template: "shell".to_owned(),
        hook: "submit".to_owned(),
        started_at: Time::from_millis(at),
        duration_ms: 12,
        outcome: "ok".to_owned(),
        detail: "…".to_owned(),
        log: "a\nb\u{0}\u{1b}[1m".to_owned(),
        commands: vec![TracedCommand {
            argv: vec!["sbatch".to_owned(), "--parsable".to_owned()],
            effect: "write".to_owned(),
            duration_ms: 10,
            status: None,
            signal: Some(15),
            stdout: "ü".to_owned(),
            stderr: String::new(),
        }],
    }
}

fn tombstone(number: u32, until: i64) -> Tombstone {
    Tombstone {
        id: record(number).id,
        over: true,
        withdrawn: Vec::new(),
        at: Time::from_millis(1),
        until: Time::from_millis(until),
    }
}

async fn create(store: &impl Store, record: &Record) {
    store.commit(vec![Change::Create(Box::new(record.clone()))]).await.unwrap();
}

/// All of it, each on a store of its own, of which only one is open at a time.
pub async fn all<S: Store>(make: impl Fn() -> S) {
    a_record_is_created_once(make()).await;
    an_update_names_what_it_replaces(make()).await;
    an_update_moves_it_in_every_list(make()).await;
    a_batch_is_all_or_nothing(make()).await;
    a_batch_sees_its_own_changes(make()).await;
    of_many_at_once_one_wins(make()).await;
    history_is_kept_in_order_and_only_with_its_session(make()).await;
    a_purge_takes_history_and_spends_keys(make()).await;
    what_comes_back_after_a_purge_begins_anew(make()).await;
    a_key_is_claimed_once(make()).await;
    a_tombstone_is_replaced(make()).await;
    traces_are_kept_in_full(make()).await;
    tokens_and_values_come_and_go(make()).await;
    sweep::all(&make).await;
    lists::all(&make).await;
}

async fn a_record_is_created_once(store: impl Store) {
    let first = record(1);
    create(&store, &first).await;
    let again = store.commit(vec![Change::Create(Box::new(first.clone()))]).await;
    assert!(matches!(again, Err(StoreError::Conflict)));
    assert_eq!(store.get(&first.id).await.unwrap(), Some(first));
    assert_eq!(store.get(&record(2).id).await.unwrap(), None);
}

async fn an_update_names_what_it_replaces(store: impl Store) {
    let first = record(1);
    create(&store, &first).await;
    let second = Record { rev: 2, name: "other".to_owned(), ..first.clone() };
    store.commit(vec![Change::Update { was: 1, record: Box::new(second.clone()) }]).await.unwrap();
    let stale = store.commit(vec![Change::Update { was: 1, record: Box::new(first) }]).await;
    assert!(matches!(stale, Err(StoreError::Conflict)));
    assert_eq!(store.get(&second.id).await.unwrap(), Some(second));
}

async fn an_update_moves_it_in_every_list(store: impl Store) {
    let first = record(1);
    create(&store, &first).await;
    let tags =
        BTreeMap::from([("number".to_owned(), "one".to_owned()), ("new".to_owned(), "yes".to_owned())]);
    let over = Record { rev: 2, tags, name: "other".to_owned(), ..ended(1, Time::from_millis(9)) };
    store.commit(vec![Change::Update { was: 1, record: Box::new(over.clone()) }]).await.unwrap();
    assert!(store.live().await.unwrap().records.is_empty());
    let query = |key: &str, value: &str| ListQuery {
        states: vec![State::Ended],
        tags: vec![(key.to_owned(), value.to_owned())],
        limit: 10,
        ..ListQuery::default()
    };
    assert_eq!(store.list(&query("number", "one")).await.unwrap(), std::slice::from_ref(&over));
    assert_eq!(store.list(&query("new", "yes")).await.unwrap(), std::slice::from_ref(&over));
    assert!(store.list(&query("number", "1")).await.unwrap().is_empty());
    let named = ListQuery { name: Some("name-1".to_owned()), limit: 10, ..ListQuery::default() };
    assert!(store.list(&named).await.unwrap().is_empty());
}

async fn a_batch_is_all_or_nothing(store: impl Store) {
    let (first, second) = (record(1), record(2));
    create(&store, &first).await;
    let refused =
        store.commit(vec![Change::Create(Box::new(second.clone())), Change::Create(Box::new(first))]).await;
    assert!(refused.is_err());
    assert_eq!(store.get(&second.id).await.unwrap(), None);
}

async fn a_batch_sees_its_own_changes(store: impl Store) {
    let (first, second) = (record(1), record(2));
    let third = Record { rev: 2, name: "third".to_owned(), ..first.clone() };
    store
        .commit(vec![
            Change::Create(Box::new(first)),
            Change::Update { was: 1, record: Box::new(third.clone()) },
            Change::Create(Box::new(second.clone())),
            Change::Purge(second.id.clone()),
        ])
        .await
        .unwrap();
    assert_eq!(store.get(&third.id).await.unwrap(), Some(third.clone()));
    assert_eq!(store.get(&second.id).await.unwrap(), None);
    // A refused batch takes back all that it did, of every kind.
    let refused = store
        .commit(vec![
            Change::Purge(third.id.clone()),
            Change::ClaimKey(key(&third, "k")),
            Change::Tombstone(tombstone(1, 9)),
            Change::AddToken(token(1, 1)),
            Change::Trace(Box::new(trace(1, 1))),
            Change::Meta { name: "port".to_owned(), value: Some("1".to_owned()) },
            Change::Update { was: 7, record: Box::new(third.clone()) },
        ])
        .await;
    assert!(matches!(refused, Err(StoreError::Conflict)));
    assert_eq!(store.get(&third.id).await.unwrap(), Some(third.clone()));
    assert_eq!(store.key("alice", "k").await.unwrap(), None);
    assert_eq!(store.tombstone(&third.id).await.unwrap(), None);
    assert!(store.tokens().await.unwrap().is_empty());
    assert_eq!(store.trace("trace-1").await.unwrap(), None);
    assert_eq!(store.meta("port").await.unwrap(), None);
}

async fn of_many_at_once_one_wins(store: impl Store) {
    let rivals = (0..20).map(|number| {
        let rival = Record { name: format!("rival-{number}"), ..record(1) };
        let other = record(100 + number);
        let key = KeyRecord { session: other.id.clone(), ..key(&other, "one") };
        let store = &store;
        async move {
            let created = store.commit(vec![Change::Create(Box::new(rival))]).await;
            let claimed = store.commit(vec![Change::Create(Box::new(other)), Change::ClaimKey(key)]).await;
            (created.is_ok(), claimed.is_ok())
        }
    });
    let outcomes = futures_util::future::join_all(rivals).await;
    assert_eq!(outcomes.iter().filter(|(created, _)| *created).count(), 1);
    assert_eq!(outcomes.iter().filter(|(_, claimed)| *claimed).count(), 1);
    let Live { records, unreadable } = store.live().await.unwrap();
    assert_eq!((records.len(), unreadable.len()), (2, 0), "who lost left nothing");
}

async fn history_is_kept_in_order_and_only_with_its_session(store: impl Store) {
    let first = record(1);
    let history = |event: &str| Change::History { id: record(1).id, entry: entry(event) };
    store.commit(vec![history("too early")]).await.unwrap();
    assert!(store.history(&first.id).await.unwrap().is_empty());
    create(&store, &first).await;
    store.commit(vec![history("b"), history("a")]).await.unwrap();
    store.commit(vec![history("c")]).await.unwrap();
    let second = Record { rev: 2, ..first.clone() };
    store.commit(vec![Change::Update { was: 1, record: Box::new(second) }]).await.unwrap();
    let events: Vec<String> =
        store.history(&first.id).await.unwrap().into_iter().map(|entry| entry.event).collect();
    assert_eq!(events, ["b", "a", "c"], "as they came, and an update leaves them alone");
    store.commit(vec![Change::Purge(first.id.clone()), history("too late")]).await.unwrap();
    create(&store, &first).await;
    assert!(store.history(&first.id).await.unwrap().is_empty());
}

async fn a_purge_takes_history_and_spends_keys(store: impl Store) {
    let first = record(1);
    let history = Change::History { id: first.id.clone(), entry: entry("created") };
    store
        .commit(vec![Change::Create(Box::new(first.clone())), history, Change::ClaimKey(key(&first, "k"))])
        .await
        .unwrap();
    assert_eq!(store.history(&first.id).await.unwrap().len(), 1);
    let tombstone = tombstone(1, 9);
    store.commit(vec![Change::Purge(first.id.clone()), Change::Tombstone(tombstone.clone())]).await.unwrap();
    assert_eq!(store.get(&first.id).await.unwrap(), None);
    assert!(store.history(&first.id).await.unwrap().is_empty());
    assert!(store.key("alice", "k").await.unwrap().unwrap().purged);
    assert_eq!(store.tombstone(&first.id).await.unwrap(), Some(tombstone));
    store.commit(vec![Change::Purge(first.id)]).await.unwrap();
}

async fn what_comes_back_after_a_purge_begins_anew(store: impl Store) {
    let first = record(1);
    store
        .commit(vec![
            Change::Create(Box::new(first.clone())),
            Change::History { id: first.id.clone(), entry: entry("created") },
            Change::ClaimKey(key(&first, "k")),
        ])
        .await
        .unwrap();
    store.commit(vec![Change::Purge(first.id.clone())]).await.unwrap();
    let back = Record { rev: 9, tags: BTreeMap::new(), ..first.clone() };
    create(&store, &back).await;
    assert_eq!(store.get(&first.id).await.unwrap(), Some(back));
    assert!(store.history(&first.id).await.unwrap().is_empty());
    assert!(store.key("alice", "k").await.unwrap().unwrap().purged, "a spent key stays spent");
    let tagged =
        ListQuery { tags: vec![("number".to_owned(), "1".to_owned())], limit: 10, ..ListQuery::default() };
    assert!(store.list(&tagged).await.unwrap().is_empty(), "its old tags are gone");
}

async fn a_key_is_claimed_once(store: impl Store) {
    let (first, second) = (record(1), record(2));
    store
        .commit(vec![Change::Create(Box::new(first.clone())), Change::ClaimKey(key(&first, "k"))])
        .await
        .unwrap();
    let taken = store
        .commit(vec![Change::Create(Box::new(second.clone())), Change::ClaimKey(key(&second, "k"))])
        .await;
    let Err(StoreError::KeyTaken(found)) = taken else { panic!("claimed twice") };
    assert_eq!(*found, key(&first, "k"), "it carries what is known");
    assert_eq!(store.get(&second.id).await.unwrap(), None);
    let bobs = KeyRecord { owner: "bob".to_owned(), ..key(&second, "k") };
    store.commit(vec![Change::ClaimKey(bobs.clone())]).await.unwrap();
    assert_eq!(store.key("bob", "k").await.unwrap(), Some(bobs), "keys are per owner");
    assert_eq!(store.key("bob", "other").await.unwrap(), None);
}

async fn a_tombstone_is_replaced(store: impl Store) {
    let (first, second) = (tombstone(1, 10), Tombstone { over: false, ..tombstone(1, 20) });
    store.commit(vec![Change::Tombstone(first)]).await.unwrap();
    store.commit(vec![Change::Tombstone(second.clone())]).await.unwrap();
    assert_eq!(store.tombstone(&second.id).await.unwrap(), Some(second.clone()));
    assert_eq!(store.tombstone(&record(2).id).await.unwrap(), None);
    assert_eq!(store.get(&second.id).await.unwrap(), None, "it is no record");
}

async fn traces_are_kept_in_full(store: impl Store) {
    let first = trace(1, 1);
    store.commit(vec![Change::Trace(Box::new(first.clone()))]).await.unwrap();
    assert_eq!(store.trace("trace-1").await.unwrap(), Some(first.clone()));
    let second = Trace { outcome: "timeout".to_owned(), ..first };
    store.commit(vec![Change::Trace(Box::new(second.clone()))]).await.unwrap();
    assert_eq!(store.trace("trace-1").await.unwrap(), Some(second));
    assert_eq!(store.trace("trace-2").await.unwrap(), None);
    let served = Trace { id: "trace-3".to_owned(), session_id: Some(record(1).id), ..trace(3, 1) };
    create(&store, &record(1)).await;
    let other = Trace { id: "trace-4".to_owned(), session_id: None, ..trace(4, 1) };
    store.commit(vec![Change::Trace(Box::new(served)), Change::Trace(Box::new(other))]).await.unwrap();
    store.commit(vec![Change::Purge(record(1).id)]).await.unwrap();
    assert_eq!(store.trace("trace-3").await.unwrap(), None, "a purge takes the hook runs along");
    assert!(store.trace("trace-4").await.unwrap().is_some());
}

async fn tokens_and_values_come_and_go(store: impl Store) {
    let first = TokenRecord { expires_at: Some(Time::from_millis(50)), ..token(1, 1) };
    store.commit(vec![Change::AddToken(first.clone())]).await.unwrap();
    assert_eq!(store.tokens().await.unwrap(), std::slice::from_ref(&first));
    let second = token(2, 2);
    store.commit(vec![Change::AddToken(second.clone())]).await.unwrap();
    for token in [&first, &second] {
        for key in [TokenKey::Id(token.id.clone()), TokenKey::Hash(token.hash)] {
            assert_eq!(store.token(key).await.unwrap().as_ref(), Some(token));
        }
    }
    assert_eq!(store.token(TokenKey::Hash([0; 32])).await.unwrap(), None);
    store.commit(vec![Change::RevokeToken(second.id.clone())]).await.unwrap();
    assert_eq!(store.token(TokenKey::Id(second.id)).await.unwrap(), None);
    store.commit(vec![Change::RevokeToken(first.id.clone())]).await.unwrap();
    store.commit(vec![Change::RevokeToken(first.id)]).await.unwrap();
    assert!(store.tokens().await.unwrap().is_empty());
    let set = |value: Option<&str>| Change::Meta { name: "port".to_owned(), value: value.map(str::to_owned) };
    store.commit(vec![set(Some("1")), set(Some("2"))]).await.unwrap();
    assert_eq!(store.meta("port").await.unwrap().as_deref(), Some("2"));
    let name = |value: &str| Change::Meta { name: value.to_owned(), value: Some("x".to_owned()) };
    store.commit(vec![name("tell:b"), name("tell:a"), name("tell%"), name("tellx")]).await.unwrap();
    let found = store.metas("tell:").await.unwrap();
    assert_eq!(found, [("tell:a".to_owned(), "x".to_owned()), ("tell:b".to_owned(), "x".to_owned())]);
    store.commit(vec![set(None)]).await.unwrap();
    assert_eq!(store.meta("port").await.unwrap(), None);
    store.commit(vec![set(None)]).await.unwrap();

    let (old, new) = (token(2, 10), token(3, 20));
    store.commit(vec![Change::AddToken(new.clone()), Change::AddToken(old.clone())]).await.unwrap();
    let twice = store.commit(vec![Change::AddToken(old.clone())]).await;
    assert!(matches!(twice, Err(StoreError::Conflict)));
    assert_eq!(store.tokens().await.unwrap(), [old, new], "oldest first");
}
