//! Whatever was acknowledged is there after SIGKILL at any moment.
//!
//! The test runs itself again as the one to be killed: that process commits numbered records, several at a time, and
//! prints each number that was acknowledged. All rounds use one file, so that each start also recovers the one before.

#![expect(clippy::unwrap_used, reason = "test code: a failure is to stop the test")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use wharf_core::store::{Change, Store as _};
use wharf_core::testing::store as fixtures;
use wharf_protocol::api::HistoryEntry;
use wharf_store::{SqliteStore, backup_file};

const ROUNDS: u32 = 20;
/// Numbers of one round begin at its number times this.
const SPAN: u32 = 100_000;
/// Commits under way at the same time.
const LANES: u32 = 4;
/// What makes a process the one to be killed: its file and its round.
const VARIABLE: &str = "WHARF_STORE_KILL_TEST";

/// The one to be killed; without its variable it is a test of nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_until_it_is_killed() {
    let Ok(task) = std::env::var(VARIABLE) else { return };
    let (round, path) = task.split_once(':').unwrap();
    let round: u32 = round.parse().unwrap();
    say("begin");
    let store = SqliteStore::open(Path::new(path)).unwrap();
    let lanes = (0..LANES).map(|lane| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in (round * SPAN..).skip(lane as usize).step_by(LANES as usize) {
                let record = fixtures::record(number);
                let id = record.id.clone();
                let entry = HistoryEntry {
                    at: record.created_at,
                    event: "created".to_owned(),
                    actor: "test".to_owned(),
                    detail: "x".repeat(number as usize % 3000),
                    trace_id: None,
                };
                let changes = vec![Change::Create(Box::new(record)), Change::History { id, entry }];
                store.commit(changes).await.unwrap();
                say(&format!("acknowledged {number}"));
            }
        })
    });
    futures_util::future::join_all(lanes).await;
}

/// One line in one write, past the harness's own capture.
fn say(words: &str) {
    std::io::stderr().write_all(format!("{words}\n").as_bytes()).unwrap();
}

struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets it write until so many were acknowledged, kills it, and returns all that it acknowledged.
fn round(number: u32, path: &Path, acknowledgements: usize) -> BTreeSet<u32> {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writes_until_it_is_killed", "--nocapture"])
        .env(VARIABLE, format!("{number}:{}", path.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut victim = Victim(child);
    let output = BufReader::new(victim.0.stderr.take().unwrap());
    let mut acknowledged = BTreeSet::new();
    let mut has_begun = false;
    let mut is_killed = false;
    for line in output.lines() {
        let line = line.unwrap();
        assert!(!line.contains("panicked"), "{line}");
        has_begun |= line == "begin";
        if let Some(number) = line.strip_prefix("acknowledged ") {
            acknowledged.insert(number.parse().unwrap());
        }
        if has_begun && !is_killed && acknowledged.len() >= acknowledgements {
            victim.0.kill().unwrap();
            is_killed = true;
        }
    }
    assert!(is_killed, "it ended by itself after {} commits", acknowledged.len());
    acknowledged
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wharf.db");
    let mut acknowledged = BTreeSet::new();
    for number in 0..ROUNDS {
        // Some are killed while they open the file, some after a few commits, some after many.
        let acknowledgements = [0, 1, 7, 0, 40, 3, 150][number as usize % 7] + number as usize % 5;
        let mut file: PathBuf = path.clone();
        acknowledged.extend(round(number, &path, acknowledgements));
        if number % 4 == 3 && path.exists() {
            // As `wharf backup` finds it after a crash.
            file = dir.path().join(format!("copy-{number}.db"));
            backup_file(&path, &file).unwrap();
        }
        let store = SqliteStore::open(&file).unwrap();
        let live = store.live().await.unwrap();
        assert!(live.unreadable.is_empty(), "{:?}", live.unreadable);
        let found: BTreeSet<u32> =
            live.records.iter().map(|record| u32::try_from(record.created_at.millis()).unwrap()).collect();
        let missing: Vec<_> = acknowledged.difference(&found).collect();
        assert!(missing.is_empty(), "round {number}: {missing:?}");
        // Of each round no more than what was under way may be there without an acknowledgement.
        let unasked = found.difference(&acknowledged).count();
        assert!(unasked <= (LANES * (number + 1)) as usize, "round {number}: {unasked}");
        for record in &live.records {
            assert_eq!(store.history(&record.id).await.unwrap().len(), 1, "a batch is whole");
        }
    }
    assert!(acknowledged.len() > 300, "{}", acknowledged.len());
}
