//! What the trait does not promise: damage, versions, a full file, several programs at one file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use wharf_core::testing::memory::MemoryStore;
use wharf_core::testing::store as conformance;

use super::open::PATIENCE;
use super::refusal::beside;
use super::*;

async fn keeps_the_promises(sharing: Sharing) {
    let dir = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    conformance::all(|| {
        number.set(number.get() + 1);
        SqliteStore::open_as(&dir.path().join(format!("{}.db", number.get())), sharing).unwrap()
    })
    .await;
}

#[tokio::test]
async fn sqlite_keeps_the_promises() {
    keeps_the_promises(Sharing::Shared).await;
}

#[tokio::test]
async fn sqlite_on_a_network_file_system_keeps_them_too() {
    keeps_the_promises(Sharing::Alone).await;
}

#[tokio::test]
async fn memory_keeps_the_promises() {
    conformance::all(MemoryStore::new).await;
}

fn created(number: u32) -> Vec<Change> {
    vec![Change::Create(Box::new(conformance::record(number)))]
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wharf.db");
    (dir, path)
}

#[tokio::test]
async fn what_was_committed_is_there_after_opening_again() {
    for (first, second) in [
        (Sharing::Shared, Sharing::Shared),
        (Sharing::Alone, Sharing::Shared),
        (Sharing::Shared, Sharing::Alone),
    ] {
        let (_dir, path) = place();
        SqliteStore::open_as(&path, first).unwrap().commit(created(1)).await.unwrap();
        let again = SqliteStore::open_as(&path, second).unwrap();
        assert_eq!(again.get(&conformance::record(1).id).await.unwrap(), Some(conformance::record(1)));
    }
}

#[tokio::test]
async fn a_closed_datastore_is_one_private_file() {
    let (dir, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    // Nobody waits for the answer, and it is written all the same.
    let mut commit = Box::pin(store.commit(created(1)));
    assert!(futures_util::poll!(&mut commit).is_pending());
    drop(commit);
    for name in fs::read_dir(dir.path()).unwrap() {
        let mode = name.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    store.live().await.unwrap();
    drop(store);
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["wharf.db"]);
    assert_eq!(SqliteStore::open(&path).unwrap().live().await.unwrap().records.len(), 1);
}

#[test]
fn damage_is_never_started_over() {
    let (_dir, path) = place();
    for content in [
        Vec::new(),
        b"x".to_vec(),
        b"this is no database at all, whatever its name says".repeat(100),
        b"SQLite format 3\0".to_vec(),
    ] {
        fs::write(&path, &content).unwrap();
        let refused = SqliteStore::open(&path).unwrap_err();
        assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused}");
        let words = refused.to_string();
        assert!(words.contains("wharf.db") && words.contains("backup"), "the way out: {words}");
        assert_eq!(fs::read(&path).unwrap(), content, "the file was left alone");
    }
}

#[test]
fn another_programs_database_is_left_alone() {
    let (_dir, path) = place();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE sessions (id TEXT)").unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(SqliteStore::open(&path), Err(StoreError::Corrupt { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_file_with_any_damage_opens_whole_or_is_refused() {
    let (_dir, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    for number in 0..40 {
        store.commit(created(number)).await.unwrap();
    }
    drop(store);
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    for round in 0..60_usize {
        let mut bytes = whole.clone();
        if round % 3 == 0 {
            bytes.truncate(whole.len() * round / 60);
        } else {
            // A block of noise at a place that differs with each round.
            let at = (round * 7919 * 31) % (whole.len() - 64);
            bytes[at..at + 64].iter_mut().enumerate().for_each(|(at, byte)| *byte ^= (at * 37 + 1) as u8);
        }
        fs::write(&path, &bytes).unwrap();
        match SqliteStore::open(&path) {
            Ok(store) => {
                // What the pages say is in order; what stands in them may still be unreadable, row by row.
                match store.live().await {
                    Ok(live) => assert!(live.records.len() + live.unreadable.len() <= 40),
                    Err(error) => assert!(matches!(error, StoreError::Corrupt { .. }), "{error}"),
                }
            }
            Err(error) => {
                assert!(matches!(error, StoreError::Corrupt { .. } | StoreError::TooNew { .. }), "{error}");
                assert_eq!(fs::read(&path).unwrap(), bytes, "the file was left alone");
                refused += 1;
            }
        }
        for ending in ["-wal", "-shm"] {
            let _ = fs::remove_file(beside(&path, ending));
        }
    }
    assert!(refused >= 20, "{refused} of 60");
}

#[tokio::test]
async fn a_damaged_log_loses_no_more_than_its_end() {
    let (dir, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    for number in 0..10 {
        store.commit(created(number)).await.unwrap();
    }
    let copy = dir.path().join("copy.db");
    let log = fs::read(beside(&path, "-wal")).unwrap();
    for cut in (0..log.len()).step_by(log.len() / 20) {
        fs::copy(&path, &copy).unwrap();
        fs::write(beside(&copy, "-wal"), &log[..cut]).unwrap();
        let live = SqliteStore::open(&copy).unwrap().live().await.unwrap();
        let numbers: Vec<i64> = live.records.iter().rev().map(|record| record.created_at.millis()).collect();
        let wanted: Vec<i64> = (0..).take(numbers.len()).collect();
        assert_eq!(numbers, wanted, "an earlier state, without holes");
        for ending in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(beside(&copy, ending));
        }
    }
}

#[tokio::test]
async fn a_log_without_its_datastore_is_not_played_into_a_new_one() {
    let (dir, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    store.commit(created(1)).await.unwrap();
    let log = fs::read(beside(&path, "-wal")).unwrap();
    drop(store);
    fs::remove_file(&path).unwrap();
    fs::write(beside(&path, "-wal"), &log).unwrap();
    let fresh = SqliteStore::open(&path).unwrap();
    assert!(fresh.live().await.unwrap().records.is_empty());
    assert_eq!(fs::read(dir.path().join("wharf.db-wal.left-1")).unwrap(), log, "it is kept");
}

#[tokio::test]
async fn a_start_that_was_cut_off_leaves_nothing_in_the_way() {
    let (dir, path) = place();
    fs::write(beside(&path, ".new"), "half").unwrap();
    SqliteStore::open(&path).unwrap().commit(created(1)).await.unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// The version of today's files.
const KNOWN: u32 = 2;

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let (_dir, path) = place();
    drop(SqliteStore::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(&path).unwrap();
    let refused = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(refused, StoreError::TooNew { found: 99, known: KNOWN, .. }), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_migration_is_whole_and_leaves_a_copy() {
    let (_dir, path) = place();
    SqliteStore::open(&path).unwrap().commit(created(1)).await.unwrap();
    let mut db = open::writer(&path, Sharing::Shared).unwrap();
    let with = |more: &[&'static str]| [schema::MIGRATIONS, more].concat();
    let broken = with(&["CREATE TABLE more (a TEXT); CREATE TABLE more (a TEXT);"]);
    assert!(schema::migrate(&mut db, &broken, &path).is_err());
    assert_eq!(schema::version(&db, &path).unwrap(), KNOWN);
    assert!(db.prepare("SELECT * FROM more").is_err(), "nothing of it is there");
    let good = with(&["CREATE TABLE more (a TEXT)", "INSERT INTO more VALUES ('x')"]);
    schema::migrate(&mut db, &good, &path).unwrap();
    assert_eq!(schema::version(&db, &path).unwrap(), KNOWN + 2);
    let copy = SqliteStore::open(&beside(&path, &format!(".schema-{KNOWN}"))).unwrap();
    assert_eq!(copy.live().await.unwrap().records.len(), 1);
}

#[test]
fn a_read_only_file_is_told_at_the_start() {
    let (_dir, path) = place();
    drop(SqliteStore::open(&path).unwrap());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    let words = SqliteStore::open(&path).unwrap_err().to_string();
    assert!(words.contains("read-only") && words.contains("wharf.db"), "{words}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    drop(SqliteStore::open(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "it is private again");
}

#[tokio::test]
async fn a_full_datastore_refuses_reads_on_and_recovers() {
    let (_dir, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    store.commit(created(0)).await.unwrap();
    let limit = |pages: i64| {
        let set = move |db: &Connection| {
            db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, i64>(0)).unwrap()
        };
        store.on_writer(set)
    };
    // It cannot be less than what there is: the next page is one too many.
    let pages = limit(1).await.unwrap();
    let mut number = 1;
    let refused = loop {
        match store.commit(created(number)).await {
            Ok(()) => number += 1,
            Err(error) => break error,
        }
        assert!(number < 1000, "{pages} pages took {number} records");
    };
    assert!(matches!(refused, StoreError::Full(_)), "{refused}");
    assert_eq!(store.live().await.unwrap().records.len() as u32, number, "reads work, nothing half done");
    // Together with others that need no space: what fits is done.
    let large = (2000..2100).flat_map(created).collect();
    let small = vec![Change::Meta { name: "port".to_owned(), value: None }];
    let (large, small) = tokio::join!(store.commit(large), store.commit(small));
    assert!(matches!(large, Err(StoreError::Full(_))));
    small.unwrap();
    limit(100_000).await.unwrap();
    store.commit(created(number)).await.unwrap();
    drop(store);
    let again = SqliteStore::open(&path).unwrap();
    assert_eq!(again.live().await.unwrap().records.len() as u32, number + 1);
}

#[tokio::test]
async fn an_unreadable_row_hides_no_other() {
    let (_dir, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    for number in 1..=4 {
        store.commit(created(number)).await.unwrap();
    }
    let spoiled = conformance::record(3).id;
    let id = spoiled.clone();
    store
        .on_writer(move |db| {
            db.execute("UPDATE sessions SET record = '{' WHERE id = ?1", [id.as_str()]).unwrap()
        })
        .await
        .unwrap();
    let live = store.live().await.unwrap();
    assert_eq!((live.records.len(), live.unreadable.len()), (3, 1));
    assert!(live.unreadable[0].contains(spoiled.as_str()), "{:?}", live.unreadable);
    let query = ListQuery { limit: 2, ..ListQuery::default() };
    let page: Vec<i64> =
        store.list(&query).await.unwrap().iter().map(|record| record.created_at.millis()).collect();
    assert_eq!(page, [4, 2], "a page is full without it");
    assert!(store.get(&spoiled).await.is_err());
    store.commit(vec![Change::Purge(spoiled.clone())]).await.unwrap();
    assert_eq!(store.get(&spoiled).await.unwrap(), None);
}

#[tokio::test]
async fn what_was_purged_does_not_lie_about() {
    let (_dir, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    let mut record = conformance::record(1);
    record.command = vec!["a-canary-in-the-record".to_owned(); 500];
    let id = record.id.clone();
    let other = conformance::record(2);
    for record in [record, other] {
        store.commit(vec![Change::Create(Box::new(record))]).await.unwrap();
    }
    let log = path.with_extension("db-wal");
    let tells = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).contains("a-canary");
    assert!(tells(&log), "it is looked for where it was");
    store.commit(vec![Change::Purge(id)]).await.unwrap();
    // The next one is answered after the purge has been cleared away.
    store.commit(vec![Change::Create(Box::new(conformance::record(3)))]).await.unwrap();
    assert!(!tells(&log) && !tells(&path));
    drop(store);
    assert!(!tells(&path));
}

#[tokio::test]
async fn a_purge_waits_for_no_reader_and_is_cleared_away_after_it() {
    let (_dir, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    let mut record = conformance::record(1);
    record.command = vec!["a-canary-in-the-record".to_owned(); 500];
    let id = record.id.clone();
    store.commit(vec![Change::Create(Box::new(record))]).await.unwrap();
    let tells =
        || String::from_utf8_lossy(&fs::read(path.with_extension("db-wal")).unwrap()).contains("a-canary");
    let mut reader = Connection::open(&path).unwrap();
    let reading = reader.transaction().unwrap();
    let count: i64 = reading.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
    let began = std::time::Instant::now();
    store.commit(vec![Change::Purge(id)]).await.unwrap();
    store.commit(created(2)).await.unwrap();
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    assert!(tells(), "it is kept for who reads");
    drop(reading);
    store.commit(created(3)).await.unwrap();
    store.commit(created(4)).await.unwrap();
    assert!(!tells());
}

#[tokio::test]
async fn a_backup_is_whole_private_and_never_overwrites() {
    for sharing in [Sharing::Shared, Sharing::Alone] {
        let (dir, path) = place();
        let store = SqliteStore::open_as(&path, sharing).unwrap();
        store.commit(created(1)).await.unwrap();
        let copy = dir.path().join("copy.db");
        store.backup(&copy).await.unwrap();
        let refused = store.backup(&copy).await.unwrap_err().to_string();
        assert!(refused.contains("exists already"), "{refused}");
        assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
        store.commit(created(2)).await.unwrap();
        let copied = SqliteStore::open(&copy).unwrap();
        assert_eq!(copied.live().await.unwrap().records, [conformance::record(1)]);
        drop(copied);
        assert!(store.backup(&dir.path().join("no/such/directory")).await.is_err());
        drop(store);
        let mut names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["copy.db", "wharf.db"], "nothing is left over");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_one_moment_of_a_busy_datastore() {
    let (dir, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    let copied = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (busy, stop) = (store.clone(), Arc::clone(&copied));
    let work = tokio::spawn(async move {
        let mut number = 0;
        while !stop.load(std::sync::atomic::Ordering::Relaxed) || number < 20 {
            busy.commit(created(number)).await.unwrap();
            number += 1;
        }
        number
    });
    let copies = dir.path().to_owned();
    let file = path.clone();
    // As another program takes it, knowing nothing but the file.
    let rounds = tokio::task::spawn_blocking(move || {
        (0..5)
            .map(|round| copies.join(format!("copy-{round}")))
            .for_each(|to| backup_file(&file, &to).unwrap());
    });
    rounds.await.unwrap();
    copied.store(true, std::sync::atomic::Ordering::Relaxed);
    let written = work.await.unwrap();
    let mut last = 0;
    for round in 0..5 {
        let copy = SqliteStore::open(&dir.path().join(format!("copy-{round}"))).unwrap();
        let live = copy.live().await.unwrap();
        let numbers: Vec<i64> = live.records.iter().rev().map(|record| record.created_at.millis()).collect();
        assert_eq!(numbers, (0..).take(numbers.len()).collect::<Vec<i64>>(), "without holes");
        assert!(numbers.len() >= last && numbers.len() <= written as usize);
        last = numbers.len();
    }
}

#[test]
fn a_backup_needs_no_launcher_but_a_datastore() {
    let (dir, path) = place();
    drop(SqliteStore::open(&path).unwrap());
    backup_file(&path, &dir.path().join("copy.db")).unwrap();
    let words = backup_file(&dir.path().join("none.db"), &dir.path().join("b")).unwrap_err().to_string();
    assert!(words.contains("no datastore"), "{words}");
    fs::write(dir.path().join("text"), "no database").unwrap();
    assert!(backup_file(&dir.path().join("text"), &dir.path().join("b")).is_err());
    assert!(!dir.path().join("b").exists());
}

#[tokio::test]
async fn a_thousand_commits_at_once_all_answer() {
    let (_dir, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    let work: Vec<_> = (0..1000)
        .map(|number| {
            let store = store.clone();
            // Every tenth collides with the one before: it fails alone.
            let number = if number % 10 == 9 { number - 1 } else { number };
            tokio::spawn(async move { store.commit(created(number)).await })
        })
        .collect();
    let mut refused = 0;
    for work in work {
        refused += usize::from(work.await.unwrap().is_err());
    }
    assert_eq!(refused, 100);
    assert_eq!(store.live().await.unwrap().records.len(), 900);
}

#[tokio::test]
async fn a_panic_takes_the_datastore_from_nobody() {
    let (_dir, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    assert!(store.on_writer(|_| panic!("a defect")).await.is_err());
    assert!(store.read::<()>(|_| panic!("a defect")).await.is_err());
    store.commit(created(1)).await.unwrap();
    assert_eq!(store.live().await.unwrap().records.len(), 1);
}

/// How SQLite goes about a query with so many values.
async fn plan(store: &SqliteStore, sql: String, values: usize) -> Vec<String> {
    let explain = move |db: &Connection| {
        let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let values = rusqlite::params_from_iter(vec!["0"; values]);
        let rows = statement.query_map(values, |row| row.get::<_, String>(3)).unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>()
    };
    store.on_writer(explain).await.unwrap()
}

#[tokio::test]
async fn an_update_that_no_list_goes_by_writes_no_index() {
    let (_dir, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    let writes = |sql: &'static str| {
        store.on_writer(move |db: &Connection| {
            let mut statement = db.prepare(&format!("EXPLAIN {sql}")).unwrap();
            let steps = statement.raw_query().mapped(|row| row.get::<_, String>(1));
            steps.map(Result::unwrap).filter(|step| step == "IdxInsert").count()
        })
    };
    assert!(writes("UPDATE sessions SET state = 'ended'").await.unwrap() > 0);
    assert_eq!(writes(apply::UPDATE_IN_PLACE).await.unwrap(), 0);
}

#[tokio::test]
async fn a_bearer_is_found_without_a_look_at_the_others() {
    let (_dir, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    for sql in [read::TOKEN_BY_ID, read::TOKEN_BY_HASH] {
        let plan = plan(&store, sql.to_owned(), 1).await;
        assert!(plan.iter().all(|step| step.starts_with("SEARCH")), "{sql}: {plan:?}");
    }
}

#[tokio::test]
async fn pages_come_from_an_index_in_its_order() {
    let (_dir, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    use wharf_protocol::{State, Time};
    let after = Some((Time::from_millis(5), conformance::record(5).id));
    let base = ListQuery { limit: 100, after, ..ListQuery::default() };
    for query in [
        base.clone(),
        ListQuery { states: vec![State::Pending], ..base.clone() },
        ListQuery { states: vec![State::Ended], ..base.clone() },
        ListQuery { states: vec![State::Pending, State::Running, State::Ended], ..base.clone() },
        ListQuery { owner: Some("alice".to_owned()), template: Some("t".to_owned()), ..base.clone() },
        ListQuery { name: Some("n".to_owned()), ..base },
    ] {
        let (sql, values) = read::list_sql(&query);
        let plan = plan(&store, sql, values.len()).await;
        assert!(plan.iter().any(|step| step.contains("USING INDEX sessions_by_")), "{query:?}: {plan:?}");
        assert!(!plan.iter().any(|step| step.contains("ORDER BY")), "{query:?}: {plan:?}");
    }
}
