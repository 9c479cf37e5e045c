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
    assert_eq!(got, Some(Spent::On(Box::new(bootstrap(&id)))));
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

#[test]
fn of_a_session_that_is_over_only_that_word_stays() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path());
    let (id, other) = (record(1).id, record(2).id);
    files.end_session(&id).unwrap();
    assert!(!files.session(&id).exists(), "nothing is made for one that has no directory");
    files.write_session(&id, &bootstrap(&id), &["http://a".to_owned()]).unwrap();
    files.write_session(&other, &bootstrap(&other), &[]).unwrap();
    files.write_enrolment(&id, "hash".to_owned()).unwrap();
    fs::write(files.session(&id).join("job.log"), "printed").unwrap();
    files.end_session(&id).unwrap();
    let left = fs::read(files.bootstrap(&id)).unwrap();
    assert!(Over::is(&left) && left.len() < 100, "{}", String::from_utf8_lossy(&left));
    assert!(serde_json::from_slice::<Bootstrap>(&left).is_err(), "an older monitor cannot run it");
    assert_eq!(files.open_sessions(), [other]);
    // Whoever still runs finds the launcher, and whoever comes late is told.
    assert_eq!(fs::read_to_string(files.session(&id).join("mount/addresses")).unwrap(), "http://a\n");
    assert_eq!(files.enrol(&id, "other", "one").unwrap(), None, "a guess learns nothing");
    assert_eq!(files.enrol(&id, "hash", "one").unwrap(), Some(Spent::Over));
    files.remove_words(&id).unwrap();
    assert!(!files.session(&id).join("job.log").exists());
    assert_eq!(files.enrol(&id, "hash", "one").unwrap(), Some(Spent::Over));
}

#[test]
fn sessions_share_the_addresses_until_the_launcher_has_others() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (record(1).id, record(2).id);
    let place = |id: &SessionId| dir.path().join("sessions").join(id.as_str()).join("mount/addresses");
    let inode = |id: &SessionId| fs::metadata(place(id)).unwrap().ino();
    let told = |id: &SessionId| fs::read_to_string(place(id)).unwrap();
    let first = ["unix:/one".to_owned()];
    let files = Files::new(dir.path());
    files.write_session(&one, &bootstrap(&one), &first).unwrap();
    assert_eq!(files.write_addresses(&first).unwrap(), 1);
    // Again for another attempt, too.
    for id in [&one, &other, &other] {
        files.write_session(id, &bootstrap(id), &first).unwrap();
    }
    assert_eq!((inode(&one), told(&one)), (inode(&other), "unix:/one\n".to_owned()));
    // Who has it open keeps what it read; who opens it anew sees the new launcher's.
    let second = ["unix:/two".to_owned()];
    let files = Files::new(dir.path());
    files.write_session(&one, &bootstrap(&one), &second).unwrap();
    assert_eq!((told(&one), told(&other)), ("unix:/two\n".to_owned(), "unix:/one\n".to_owned()));
    assert_eq!(files.write_addresses(&second).unwrap(), 2);
    assert_eq!((told(&one), told(&other)), ("unix:/two\n".to_owned(), "unix:/two\n".to_owned()));
    assert_eq!(inode(&one), inode(&other));
    let left = fs::read_dir(place(&one).parent().unwrap()).unwrap().count();
    assert_eq!(left, 2, "no drafts");
}
