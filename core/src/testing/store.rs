//! The conformance suite of stores: one function per promise of [`crate::store::Store`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wharf_protocol::api::{HistoryEntry, Scope};
use wharf_protocol::id::ENTROPY;
use wharf_protocol::monitor::{Limits, OnOrphan};
use wharf_protocol::{Dur, End, EndCause, Phase, SessionId, State, Time, TokenId};

use crate::record::{Record, Rules, Stage, Tombstone};
use crate::store::{Change, KeyRecord, ListQuery, Retention, Store, StoreError, TokenRecord};

/// A record that is like no other of another number, made `number` milliseconds after 1970.
pub fn record(number: u32) -> Record {
    let mut random = [0; ENTROPY];
    for (at, digit) in format!("{number:010}").bytes().enumerate() {
        random[at + 1] = digit - b'0';
    }
    let at = Time::from_millis(i64::from(number));
    Record {
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

async fn create(store: &impl Store, record: &Record) {
    store.commit(vec![Change::Create(Box::new(record.clone()))]).await.unwrap();
}

/// All of it, each on a store of its own.
pub async fn all<S: Store>(make: impl Fn() -> S) {
    a_record_is_created_once(make()).await;
    an_update_names_what_it_replaces(make()).await;
    a_batch_is_all_or_nothing(make()).await;
    a_purge_takes_history_and_spends_keys(make()).await;
    a_key_is_claimed_once(make()).await;
    pages_are_in_order_and_stable(make()).await;
    filters_hold_together(make()).await;
    the_sweep_keeps_what_is_needed(make()).await;
    tokens_and_values_come_and_go(make()).await;
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

async fn a_batch_is_all_or_nothing(store: impl Store) {
    let (first, second) = (record(1), record(2));
    create(&store, &first).await;
    let refused =
        store.commit(vec![Change::Create(Box::new(second.clone())), Change::Create(Box::new(first))]).await;
    assert!(refused.is_err());
    assert_eq!(store.get(&second.id).await.unwrap(), None);
}

async fn a_purge_takes_history_and_spends_keys(store: impl Store) {
    let first = record(1);
    let history = Change::History { id: first.id.clone(), entry: entry("created") };
    store
        .commit(vec![Change::Create(Box::new(first.clone())), history, Change::ClaimKey(key(&first, "k"))])
        .await
        .unwrap();
    assert_eq!(store.history(&first.id).await.unwrap().len(), 1);
    let tombstone = Tombstone {
        id: first.id.clone(),
        over: true,
        withdrawn: Vec::new(),
        at: Time::from_millis(1),
        until: Time::from_millis(9),
    };
    store.commit(vec![Change::Purge(first.id.clone()), Change::Tombstone(tombstone.clone())]).await.unwrap();
    assert_eq!(store.get(&first.id).await.unwrap(), None);
    assert!(store.history(&first.id).await.unwrap().is_empty());
    assert!(store.key("alice", "k").await.unwrap().unwrap().purged);
    assert_eq!(store.tombstone(&first.id).await.unwrap(), Some(tombstone));
    store.commit(vec![Change::Purge(first.id)]).await.unwrap();
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
    assert_eq!(found.session, first.id);
    assert_eq!(store.get(&second.id).await.unwrap(), None);
}

async fn pages_are_in_order_and_stable(store: impl Store) {
    for number in 1..=25 {
        create(&store, &record(number)).await;
    }
    let mut query = ListQuery { limit: 10, ..ListQuery::default() };
    let mut seen = Vec::new();
    let mut newest = 100;
    loop {
        let page = store.list(&query).await.unwrap();
        let Some(last) = page.last() else { break };
        query.after = Some((last.created_at, last.id.clone()));
        seen.extend(page.iter().map(|record| record.created_at.millis()));
        // What comes meanwhile is newer: it moves nothing.
        create(&store, &record(newest)).await;
        newest += 1;
    }
    assert_eq!(seen, (1..=25).rev().collect::<Vec<i64>>());
}

async fn filters_hold_together(store: impl Store) {
    for number in 1..=6 {
        let template = if number % 2 == 0 { "even" } else { "odd" };
        create(&store, &Record { template: template.to_owned(), ..record(number) }).await;
    }
    create(&store, &ended(7, Time::from_millis(70))).await;
    let ids = async |query: ListQuery| -> Vec<i64> {
        let records = store.list(&ListQuery { limit: 100, ..query }).await.unwrap();
        records.iter().map(|record| record.created_at.millis()).collect()
    };
    assert_eq!(ids(ListQuery::default()).await, [6, 5, 4, 3, 2, 1], "live ones by default");
    assert_eq!(ids(ListQuery { states: vec![State::Ended], ..ListQuery::default() }).await, [7]);
    let even = ListQuery { template: Some("even".to_owned()), ..ListQuery::default() };
    assert_eq!(ids(even.clone()).await, [6, 4, 2]);
    let tag = vec![("number".to_owned(), "4".to_owned())];
    assert_eq!(ids(ListQuery { tags: tag.clone(), ..even.clone() }).await, [4]);
    let other = vec![tag[0].clone(), ("number".to_owned(), "5".to_owned())];
    assert!(ids(ListQuery { tags: other, ..even }).await.is_empty(), "tags are all needed");
    let some = ListQuery { ids: Some(vec![record(3).id, record(9).id]), ..ListQuery::default() };
    assert_eq!(ids(some).await, [3]);
    assert_eq!(ids(ListQuery { name: Some("name-2".to_owned()), ..ListQuery::default() }).await, [2]);
    assert_eq!(store.live().await.unwrap().records.len(), 6);
}

async fn the_sweep_keeps_what_is_needed(store: impl Store) {
    let (old, new) = (ended(1, Time::from_millis(10)), ended(2, Time::from_millis(90)));
    let live = record(3);
    for record in [&old, &new, &live] {
        store
            .commit(vec![
                Change::Create(Box::new(record.clone())),
                Change::History { id: record.id.clone(), entry: entry("created") },
                Change::ClaimKey(key(record, record.id.as_str())),
            ])
            .await
            .unwrap();
    }
    let tombstone = |number, until| {
        Change::Tombstone(Tombstone {
            id: record(number).id,
            over: true,
            withdrawn: Vec::new(),
            at: Time::from_millis(1),
            until: Time::from_millis(until),
        })
    };
    store.commit(vec![tombstone(11, 50), tombstone(12, 150)]).await.unwrap();
    let retention = Retention {
        ended_before: Time::from_millis(50),
        traces_before: Time::from_millis(50),
        keys_before: Time::from_millis(50),
        now: Time::from_millis(100),
    };
    assert_eq!(store.sweep(retention).await.unwrap(), std::slice::from_ref(&old.id));
    assert_eq!(store.get(&old.id).await.unwrap(), None);
    assert!(store.history(&old.id).await.unwrap().is_empty());
    assert!(store.key("alice", old.id.as_str()).await.unwrap().is_none(), "session and time are gone");
    assert!(store.key("alice", new.id.as_str()).await.unwrap().is_some(), "its session is there");
    assert!(store.get(&live.id).await.unwrap().is_some());
    assert!(store.tombstone(&record(11).id).await.unwrap().is_none());
    assert!(store.tombstone(&record(12).id).await.unwrap().is_some());
}

async fn tokens_and_values_come_and_go(store: impl Store) {
    let token = TokenRecord {
        id: TokenId::from_random([1; ENTROPY]),
        name: "laptop".to_owned(),
        user: "alice".to_owned(),
        scope: Scope::Read,
        share: None,
        hash: [3; 32],
        created_at: Time::from_millis(1),
        expires_at: Some(Time::from_millis(50)),
    };
    store.commit(vec![Change::AddToken(token.clone())]).await.unwrap();
    assert_eq!(store.tokens().await.unwrap(), std::slice::from_ref(&token));
    store.commit(vec![Change::RevokeToken(token.id)]).await.unwrap();
    assert!(store.tokens().await.unwrap().is_empty());
    let set = |value: Option<&str>| Change::Meta { name: "port".to_owned(), value: value.map(str::to_owned) };
    store.commit(vec![set(Some("1")), set(Some("2"))]).await.unwrap();
    assert_eq!(store.meta("port").await.unwrap().as_deref(), Some("2"));
    store.commit(vec![set(None)]).await.unwrap();
    assert_eq!(store.meta("port").await.unwrap(), None);
}
