use super::*;

/// As [`PACE`], in a hurry.
const HURRY: Pace = Pace {
    beat: Duration::from_millis(10),
    silence: Duration::from_secs(60),
    watch: Duration::from_millis(300),
    look: Duration::from_millis(5),
};

fn foreign(beat_at: Time) -> Owner {
    Owner { host: "another-host".to_owned(), boot_id: "b".to_owned(), pid: 4242, start: 1, beat_at }
}

fn seconds_ago(seconds: i64) -> Time {
    Time::from_millis(now().millis() - seconds * 1000)
}

/// Looks until the file says so.
fn until(path: &Path, holds: impl Fn(&Owner) -> bool) {
    let began = Instant::now();
    loop {
        let found = read(path);
        if found.as_ref().is_some_and(&holds) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "seen last: {found:?}");
        thread::yield_now();
    }
}

#[test]
fn a_second_claim_is_refused_and_names_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let first = Ownership::claim(dir.path()).unwrap();
    assert_eq!(first.taken_over, None);
    let refused = Ownership::claim(dir.path()).unwrap_err().to_string();
    assert!(refused.contains(&std::process::id().to_string()), "{refused}");
    assert!(refused.contains(&this_process().host), "{refused}");
    drop(first);
    let second = Ownership::claim(dir.path()).unwrap();
    assert_eq!(second.taken_over, None, "the first took its name away");
}

#[test]
fn a_holder_without_a_name_is_refused_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let first = Ownership::claim(dir.path()).unwrap();
    fs::write(dir.path().join("owner.json"), "{").unwrap();
    let refused = Ownership::claim_at(dir.path(), HURRY).unwrap_err();
    assert!(matches!(refused, OwnerError::Taken(owner) if owner.pid == 0));
    drop(first);
}

#[test]
fn another_hosts_beat_counts_for_a_minute() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("owner.json");
    write(&path, &foreign(seconds_ago(55))).unwrap();
    let refused = Ownership::claim_at(dir.path(), HURRY).unwrap_err().to_string();
    assert!(refused.contains("another-host") && refused.contains("4242"), "{refused}");
    // Its clock may be ahead of ours.
    write(&path, &foreign(seconds_ago(-3600))).unwrap();
    assert!(Ownership::claim_at(dir.path(), HURRY).is_err());
    write(&path, &foreign(seconds_ago(61))).unwrap();
    let taken = Ownership::claim_at(dir.path(), HURRY).unwrap();
    assert_eq!(taken.taken_over.as_ref().map(|owner| owner.host.as_str()), Some("another-host"));
}

#[test]
fn what_the_file_system_calls_old_is_not_watched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("owner.json");
    write(&path, &foreign(seconds_ago(3600))).unwrap();
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
    let began = Instant::now();
    Ownership::claim(dir.path()).unwrap();
    assert!(began.elapsed() < PACE.watch);
}

#[test]
fn an_owner_whose_clock_is_behind_is_seen_to_beat() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("owner.json");
    write(&path, &foreign(seconds_ago(600))).unwrap();
    let (stop, stopped) = mpsc::channel::<()>();
    let beaten = path.clone();
    let other = thread::spawn(move || {
        while stopped.recv_timeout(HURRY.beat) == Err(mpsc::RecvTimeoutError::Timeout) {
            write(&beaten, &foreign(seconds_ago(600))).unwrap();
        }
    });
    let slow = Pace { watch: Duration::from_secs(20), ..HURRY };
    assert!(matches!(Ownership::claim_at(dir.path(), slow), Err(OwnerError::Taken(_))));
    drop(stop);
    other.join().unwrap();
}

#[test]
fn one_of_this_host_that_is_gone_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("owner.json");
    let parent = i32::try_from(std::os::unix::process::parent_id()).unwrap();
    let alive = Owner { pid: parent, start: start_of(parent).unwrap(), ..this_process() };
    write(&path, &alive).unwrap();
    assert!(Ownership::claim_at(dir.path(), HURRY).is_err(), "it lives, whoever has the lock");
    let gone = [
        Owner { pid: i32::MAX - 1, ..this_process() },
        // The same number, another process.
        Owner { start: alive.start + 1, ..alive.clone() },
        // Before the host started anew.
        Owner { boot_id: "another boot".to_owned(), ..alive },
    ];
    for gone in gone {
        write(&path, &gone).unwrap();
        assert_eq!(Ownership::claim_at(dir.path(), HURRY).unwrap().taken_over, Some(gone));
    }
    fs::write(&path, "no owner at all").unwrap();
    assert_eq!(Ownership::claim_at(dir.path(), HURRY).unwrap().taken_over, None);
}

#[test]
fn an_owner_beats_and_its_files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("owner.json");
    let owner = Ownership::claim_at(dir.path(), HURRY).unwrap();
    let first = read(&path).unwrap();
    until(&path, |found| found.is(&first) && found.beat_at > first.beat_at);
    for name in ["owner.json", "owner.lock"] {
        assert_eq!(fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    fs::remove_file(&path).unwrap();
    until(&path, |found| found.is(&first));
    drop(owner);
    assert!(!path.exists());
}

#[tokio::test]
async fn an_owner_that_was_taken_over_hears_it_and_leaves_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("owner.json");
    let owner = Ownership::claim_at(dir.path(), HURRY).unwrap();
    let other = foreign(now());
    // A beat may come between our looking and our writing: the other one beats as well.
    let seen = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::select! {
            seen = owner.lost() => seen,
            () = async { loop { write(&path, &other).unwrap(); tokio::task::yield_now().await; } } => unreachable!(),
        }
    });
    assert!(seen.await.unwrap().is(&other));
    drop(owner);
    assert_eq!(read(&path), Some(other));
}

#[test]
fn a_beat_fits_into_the_space_that_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("owner.json");
    write(&path, &Owner { host: "a-much-longer-name-than-that".to_owned(), ..foreign(now()) }).unwrap();
    let next = foreign(seconds_ago(1));
    overwrite(&path, &next).unwrap();
    assert_eq!(read(&path), Some(next));
}
