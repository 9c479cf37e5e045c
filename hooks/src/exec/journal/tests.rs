//! What the next launcher finds, whatever became of this one.

use super::*;

fn reopened(path: &Path) -> BTreeMap<String, Option<i32>> {
    Journal::new(path).unwrap().open()
}

#[test]
fn what_has_not_ended_is_found_with_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("calls.open");
    let journal = Journal::new(&path).unwrap();
    for trace in ["a", "b", "c"] {
        journal.begin(trace).unwrap();
    }
    journal.group("b", 17);
    journal.end("a");
    let open = BTreeMap::from([("b".to_owned(), Some(17)), ("c".to_owned(), None)]);
    assert_eq!(reopened(&path), open);
    let next = Journal::new(&path).unwrap();
    next.begin("d").unwrap();
    next.forget(&open);
    assert_eq!(reopened(&path), BTreeMap::from([("d".to_owned(), None)]), "and only those are forgotten");
}

#[test]
fn a_torn_or_foreign_line_spoils_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("calls.open");
    std::fs::write(&path, b"+a\n\n=a x\n?\n\xff\xfe\n=\n+b\n-").unwrap();
    let open: Vec<String> = reopened(&path).into_keys().collect();
    assert_eq!(open, ["a", "b"]);
}

#[test]
fn it_does_not_grow_with_the_calls_that_have_ended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("calls.open");
    let journal = Journal::new(&path).unwrap();
    journal.begin("long").unwrap();
    for at in 0..100_000 {
        let trace = format!("{at:020}");
        journal.begin(&trace).unwrap();
        journal.end(&trace);
    }
    assert!(std::fs::metadata(&path).unwrap().len() < LONG + 100);
    assert_eq!(reopened(&path).len(), 1);
}
