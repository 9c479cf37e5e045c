//! Opening, trying, closing.

use std::time::{Duration, Instant};

use wharf_protocol::Time;

use super::{Breakers, Says, says};
use crate::hook::{Hook, HookError, HookErrorKind};

const T: (&str, &str) = ("t", "1");

fn bad() -> Says {
    Says::Bad("no".to_owned(), false)
}

#[test]
fn it_opens_waits_longer_each_time_and_closes_with_the_first_answer() {
    let (mut breakers, mut now, clock) = (Breakers::default(), Instant::now(), Time::from_millis(0));
    for _ in 0..4 {
        breakers.heard(T, Hook::Submit, bad(), (now, clock));
        assert_eq!(breakers.admit(T, Hook::Submit, now), Ok(()));
    }
    breakers.heard(T, Hook::Submit, bad(), (now, clock));
    let mut wait = Duration::from_secs(2);
    for _ in 0..8 {
        assert_eq!(breakers.admit(T, Hook::Submit, now), Err(wait));
        assert_eq!(breakers.of("t")[0].state, "open");
        assert_eq!(breakers.of("t")[0].next_try, Some(clock.after(wait)));
        // Late news of calls from before change nothing.
        breakers.heard(T, Hook::Submit, bad(), (now, clock));
        assert_eq!(breakers.admit(T, Hook::Submit, now), Err(wait));
        now += wait;
        assert_eq!(breakers.admit(T, Hook::Submit, now), Ok(()), "one try");
        assert_eq!(breakers.of("t")[0].state, "half_open");
        assert!(breakers.admit(T, Hook::Submit, now).is_err(), "and no second one");
        breakers.heard(T, Hook::Submit, bad(), (now, clock));
        wait = (wait * 2).min(Duration::from_secs(60));
    }
    now += wait;
    assert_eq!(breakers.admit(T, Hook::Submit, now), Ok(()));
    breakers.heard(T, Hook::Submit, Says::Good, (now, clock));
    assert_eq!(breakers.of("t"), Vec::new());
    assert_eq!(breakers.admit(T, Hook::Submit, now), Ok(()));
}

#[test]
fn others_are_not_concerned_and_a_try_that_is_never_heard_of_does_not_close_the_door() {
    let (mut breakers, now, clock) = (Breakers::default(), Instant::now(), Time::from_millis(0));
    for _ in 0..5 {
        breakers.heard(T, Hook::Submit, bad(), (now, clock));
    }
    assert_eq!(breakers.admit(T, Hook::Terminate, now), Ok(()));
    assert_eq!(breakers.admit(("u", "1"), Hook::Submit, now), Ok(()));
    let later = now + Duration::from_secs(2);
    assert_eq!(breakers.admit(T, Hook::Submit, later), Ok(()));
    assert!(breakers.admit(T, Hook::Submit, later + Duration::from_secs(30)).is_err());
    assert_eq!(breakers.admit(T, Hook::Submit, later + Duration::from_secs(61)), Ok(()));
}

#[test]
fn a_submit_is_no_try_of_prepare_while_it_may_not_be_asked_itself() {
    let (mut breakers, now, clock) = (Breakers::default(), Instant::now(), Time::from_millis(0));
    for _ in 0..5 {
        breakers.heard(T, Hook::Prepare, bad(), (now, clock));
    }
    let later = now + Duration::from_secs(2);
    for _ in 0..5 {
        breakers.heard(T, Hook::Submit, bad(), (later, clock));
    }
    let wait = Duration::from_secs(2);
    assert_eq!(breakers.admit_submit(T, now), Err((Hook::Prepare, wait)));
    assert_eq!(breakers.admit_submit(T, later), Err((Hook::Submit, wait)));
    assert!(breakers.of("t").iter().all(|trouble| trouble.state == "open"), "{:?}", breakers.of("t"));
    assert_eq!(breakers.admit_submit(T, later + wait), Ok(()));
    assert_eq!(breakers.admit_submit(T, later + wait), Err((Hook::Prepare, Duration::from_secs(1))));
}

#[test]
fn answers_for_users_are_no_failures() {
    for kind in [HookErrorKind::Invalid, HookErrorKind::Denied, HookErrorKind::NotFound] {
        assert!(matches!(says(Hook::Submit, Err(&HookError::new(kind, "no"))), Says::Good));
    }
    let mut plain = HookError::new(HookErrorKind::Internal, "no");
    assert!(matches!(says(Hook::Submit, Err(&plain)), Says::Bad(_, false)));
    plain.plain_exit = true;
    assert!(matches!(says(Hook::Submit, Err(&plain)), Says::Bad(_, true)));
    assert!(matches!(says(Hook::Status, Err(&plain)), Says::Bad(_, false)));
    assert!(matches!(
        says(Hook::Submit, Err(&HookError::new(HookErrorKind::Timeout, "late"))),
        Says::Bad(_, false)
    ));
    assert!(matches!(says(Hook::Submit, Ok(())), Says::Good));
}

#[test]
fn another_version_of_the_template_begins_anew() {
    let (mut breakers, now, clock) = (Breakers::default(), Instant::now(), Time::from_millis(0));
    for _ in 0..5 {
        breakers.heard(T, Hook::Submit, bad(), (now, clock));
    }
    assert!(breakers.admit(T, Hook::Submit, now).is_err());
    assert_eq!(breakers.admit(("t", "2"), Hook::Submit, now), Ok(()));
    assert_eq!(breakers.of("t"), Vec::new());
}

#[test]
fn plain_refusals_are_counted_and_open_it_late() {
    let (mut breakers, now, clock) = (Breakers::default(), Instant::now(), Time::from_millis(0));
    for failures in 1..20 {
        breakers.heard(T, Hook::Submit, Says::Bad("no".to_owned(), true), (now, clock));
        assert_eq!((breakers.of("t")[0].failures, breakers.of("t")[0].state), (failures, "closed"));
    }
    breakers.heard(T, Hook::Submit, Says::Bad("no".to_owned(), true), (now, clock));
    assert_eq!(breakers.of("t")[0].state, "open");
}
