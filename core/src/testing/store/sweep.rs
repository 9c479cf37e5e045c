//! What is forgotten by time, and what is not.

use super::*;
use crate::store::Retention;

pub(super) async fn all<S: Store>(make: &impl Fn() -> S) {
    the_sweep_keeps_what_is_needed(make()).await;
    a_key_outlives_its_session_for_a_while(make()).await;
    all_that_is_too_old_goes_at_once(make()).await;
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
    let kept = |number, until| Change::Tombstone(tombstone(number, until));
    store.commit(vec![kept(11, 50), kept(12, 150)]).await.unwrap();
    let until =
        |number, until| TokenRecord { expires_at: Some(Time::from_millis(until)), ..token(number, 1) };
    let (short, long, lasting) = (until(1, 99), until(2, 101), token(3, 1));
    let traces = [Change::Trace(Box::new(trace(1, 49))), Change::Trace(Box::new(trace(2, 50)))];
    store.commit([short, long, lasting].map(Change::AddToken).into()).await.unwrap();
    store.commit(traces.into()).await.unwrap();
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
    assert!(store.key("alice", live.id.as_str()).await.unwrap().is_some(), "its session is there");
    assert!(store.get(&live.id).await.unwrap().is_some());
    assert!(store.get(&new.id).await.unwrap().is_some());
    assert_eq!(store.history(&live.id).await.unwrap().len(), 1);
    assert_eq!(store.tokens().await.unwrap().len(), 2, "one has expired");
    assert!(store.trace("trace-1").await.unwrap().is_none());
    assert!(store.trace("trace-2").await.unwrap().is_some());
    assert!(store.tombstone(&record(11).id).await.unwrap().is_none());
    assert!(store.tombstone(&record(12).id).await.unwrap().is_some());
}

async fn a_key_outlives_its_session_for_a_while(store: impl Store) {
    let (over, gone) = (ended(1, Time::from_millis(10)), record(2));
    for record in [&over, &gone] {
        let claim = Change::ClaimKey(key(record, record.id.as_str()));
        store.commit(vec![Change::Create(Box::new(record.clone())), claim]).await.unwrap();
    }
    store.commit(vec![Change::Purge(gone.id.clone())]).await.unwrap();
    let before = Time::from_millis;
    let sweep = |keys| Retention {
        ended_before: before(50),
        traces_before: before(0),
        keys_before: before(keys),
        now: before(100),
    };
    assert_eq!(store.sweep(sweep(1)).await.unwrap(), std::slice::from_ref(&over.id));
    let found = store.key("alice", over.id.as_str()).await.unwrap().expect("it is too young to go");
    assert!(!found.purged, "a session that was forgotten was not purged");
    assert!(store.key("alice", gone.id.as_str()).await.unwrap().expect("it is too young to go").purged);
    assert!(store.sweep(sweep(3)).await.unwrap().is_empty());
    for record in [&over, &gone] {
        assert_eq!(store.key("alice", record.id.as_str()).await.unwrap(), None);
    }
}

async fn all_that_is_too_old_goes_at_once(store: impl Store) {
    let mut ids = Vec::new();
    for part in 0..6 {
        let records: Vec<Record> =
            (0..100).map(|number| ended(part * 100 + number, Time::from_millis(10))).collect();
        ids.extend(records.iter().map(|record| record.id.clone()));
        store
            .commit(records.into_iter().map(|record| Change::Create(Box::new(record))).collect())
            .await
            .unwrap();
    }
    let at = Time::from_millis(11);
    let retention = Retention { ended_before: at, traces_before: at, keys_before: at, now: at };
    let mut gone = store.sweep(retention).await.unwrap();
    gone.sort();
    ids.sort();
    assert_eq!(gone, ids);
}
