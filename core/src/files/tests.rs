//! One-use secrets on disk: who gets what for them, also across crashes.

use super::*;
use crate::testing::store::record;

fn bootstrap(id: &SessionId) -> Bootstrap {
    serde_json::from_value(serde_json::json!({
        "version": 1, "addresses": "addresses", "session": id, "credential": "c", "snapshot": "s", "keys": [],
        "command": ["true"], "tty": false, "env": {}, "limits": {"grace": "10s", "on_orphan": "run"},
    }))
    .unwrap()
}

#[test]
fn the_first_monitor_spends_a_secret_and_only_it_is_answered_again() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path());
    let id = record(1).id;
    assert_eq!(files.enrol(&id, "hash", "one").unwrap(), None, "none was given out");
    files.write_session(&id, &bootstrap(&id), &[]).unwrap();
    files.write_enrolment(&id, "hash".to_owned()).unwrap();
    assert_eq!(files.enrol(&id, "other", "one").unwrap(), None, "a guess");
    let got = files.enrol(&id, "hash", "one").unwrap();
    assert_eq!(got, Some(bootstrap(&id)));
    assert_eq!(files.enrol(&id, "hash", "two").unwrap(), None, "a second monitor");
    // The launcher died before its answer arrived, and another one has started.
    let files = Files::new(dir.path());
    assert_eq!(files.enrol(&id, "hash", "two").unwrap(), None);
    assert_eq!(files.enrol(&id, "hash", "one").unwrap(), got);
    files.write_enrolment(&id, "next".to_owned()).unwrap();
    assert_eq!(files.enrol(&id, "hash", "one").unwrap(), None, "of an earlier attempt");
    assert_eq!(files.enrol(&id, "next", "two").unwrap(), got);
}

#[test]
fn of_many_that_come_together_one_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path());
    let id = record(1).id;
    files.write_session(&id, &bootstrap(&id), &[]).unwrap();
    files.write_enrolment(&id, "hash".to_owned()).unwrap();
    let answered: usize = std::thread::scope(|scope| {
        let all: Vec<_> = (0..16)
            .map(|at| {
                let (files, id) = (files.clone(), id.clone());
                scope.spawn(move || files.enrol(&id, "hash", &format!("monitor {at}")).unwrap())
            })
            .collect();
        all.into_iter().filter_map(|one| one.join().unwrap()).count()
    });
    assert_eq!(answered, 1);
}
