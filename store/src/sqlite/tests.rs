//! What the trait does not promise: damage, versions, a full file, two processes.

use wharf_core::testing::memory::MemoryStore;
use wharf_core::testing::store as conformance;

use super::*;

#[tokio::test]
async fn sqlite_keeps_the_promises() {
    let dir = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    conformance::all(|| {
        number.set(number.get() + 1);
        SqliteStore::open(&dir.path().join(format!("{}.db", number.get()))).unwrap()
    })
    .await;
}

#[tokio::test]
async fn memory_keeps_the_promises() {
    conformance::all(MemoryStore::new).await;
}

#[tokio::test]
async fn what_was_committed_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wharf.db");
    let record = conformance::record(1);
    SqliteStore::open(&path).unwrap().commit(vec![Change::Create(Box::new(record.clone()))]).await.unwrap();
    assert_eq!(SqliteStore::open(&path).unwrap().get(&record.id).await.unwrap(), Some(record));
}

#[test]
fn damage_is_never_started_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wharf.db");
    fs::write(&path, "").unwrap();
    assert!(matches!(SqliteStore::open(&path), Err(StoreError::Corrupt { .. })));
    fs::write(&path, "this is no database at all, whatever its name says".repeat(100)).unwrap();
    assert!(matches!(SqliteStore::open(&path), Err(StoreError::Corrupt { .. })));
    assert!(fs::read_to_string(&path).unwrap().starts_with("this is no"), "the file was left alone");
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wharf.db");
    drop(SqliteStore::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let Err(StoreError::TooNew { found, known, .. }) = SqliteStore::open(&path) else {
        panic!("it was opened")
    };
    assert_eq!((found, known), (99, schema::VERSION));
}

#[tokio::test]
async fn an_unreadable_row_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wharf.db");
    let store = SqliteStore::open(&path).unwrap();
    for number in 1..=3 {
        store.commit(vec![Change::Create(Box::new(conformance::record(number)))]).await.unwrap();
    }
    let spoiled = conformance::record(2).id;
    Connection::open(&path)
        .unwrap()
        .execute("UPDATE sessions SET record = '{' WHERE id = ?1", [spoiled.as_str()])
        .unwrap();
    let live = store.live().await.unwrap();
    assert_eq!((live.records.len(), live.unreadable.len()), (2, 1));
    let query = ListQuery { limit: 10, ..ListQuery::default() };
    assert_eq!(store.list(&query).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_backup_is_whole_private_and_never_overwrites() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("wharf.db")).unwrap();
    let record = conformance::record(1);
    store.commit(vec![Change::Create(Box::new(record.clone()))]).await.unwrap();
    let copy = dir.path().join("copy.db");
    store.backup(&copy).await.unwrap();
    assert!(store.backup(&copy).await.is_err());
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(SqliteStore::open(&copy).unwrap().get(&record.id).await.unwrap(), Some(record));
}

#[tokio::test]
async fn a_thousand_commits_at_once_all_answer() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("wharf.db")).unwrap();
    let work: Vec<_> = (0..1000)
        .map(|number| {
            let store = store.clone();
            // Every tenth collides with the one before: it fails alone.
            let number = if number % 10 == 9 { number - 1 } else { number };
            tokio::spawn(async move {
                store.commit(vec![Change::Create(Box::new(conformance::record(number)))]).await
            })
        })
        .collect();
    let mut refused = 0;
    for work in work {
        refused += usize::from(work.await.unwrap().is_err());
    }
    assert_eq!(refused, 100);
    assert_eq!(store.live().await.unwrap().records.len(), 900);
}
