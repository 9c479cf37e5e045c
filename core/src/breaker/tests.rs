//! Opening, trying, closing.

use std::time::{Duration, Instant};

use wharf_protocol::Time;

use super::{Breakers, Says, says};
use crate::hook::{Hook, HookError, HookErrorKind};

fn bad() -> Says {
    Says::Bad("no".to_owned())
}

#[test]
fn it_opens_waits_longer_each_time_and_closes_with_the_first_answer() {
    let (mut breakers, mut now, clock) = (Breakers::default(), Instant::now(), Time::from_millis(0));
    for _ in 0..4 {
        breakers.heard("t", Hook::Submit, bad(), now, clock);
        assert_eq!(breakers.admit("t", Hook::Submit, now), Ok(()));
    }
    breakers.heard("t", Hook::Submit, bad(), now, clock);
    let mut wait = Duration::from_secs(2);
    for _ in 0..8 {
        assert_eq!(breakers.admit("t", Hook::Submit, now), Err(wait));
        assert_eq!(breakers.of("t")[0].state, "open");
        assert_eq!(breakers.of("t")[0].next_try, Some(clock.after(wait)));
        // Late news of calls from before change nothing.
        breakers.heard("t", Hook::Submit, bad(), now, clock);
        assert_eq!(breakers.admit("t", Hook::Submit, now), Err(wait));
        now += wait;
        assert_eq!(breakers.admit("t", Hook::Submit, now), Ok(()), "one try");
        assert_eq!(breakers.of("t")[0].state, "half_open");
        assert!(breakers.admit("t", Hook::Submit, now).is_err(), "and no second one");
        breakers.heard("t", Hook::Submit, bad(), now, clock);
        wait = (wait * 2).min(Duration::from_secs(60));
    }
    now += wait;
    assert_eq!(breakers.admit("t", Hook::Submit, now), Ok(()));
    breakers.heard("t", Hook::Submit, Says::Good, now, clock);
    assert_eq!(breakers.of("t"), Vec::new());
    assert_eq!(breakers.admit("t", Hook::Submit, now), Ok(()));
}

#[test]
fn others_are_not_concerned_and_a_try_that_is_never_heard_of_does_not_close_the_door() {
    let (mut breakers, now, clock) = (Breakers::default(), Instant::now(), Time::from_millis(0));
    for _ in 0..5 {
        breakers.heard("t", Hook::Submit, bad(), now, clock);
    }
    assert_eq!(breakers.admit("t", Hook::Terminate, now), Ok(()));
    assert_eq!(breakers.admit("u", Hook::Submit, now), Ok(()));
    let later = now + Duration::from_secs(2);
    assert_eq!(breakers.admit("t", Hook::Submit, later), Ok(()));
    assert!(breakers.admit("t", Hook::Submit, later + Duration::from_secs(30)).is_err());
    assert_eq!(breakers.admit("t", Hook::Submit, later + Duration::from_secs(61)), Ok(()));
}

#[test]
fn answers_for_users_are_no_failures() {
    for kind in [HookErrorKind::Invalid, HookErrorKind::Denied, HookErrorKind::NotFound] {
        assert!(matches!(says(Err(&HookError::new(kind, "no"))), Says::Good));
    }
    let mut plain = HookError::new(HookErrorKind::Internal, "no");
    assert!(matches!(says(Err(&plain)), Says::Bad(_)));
    plain.plain_exit = true;
    assert!(matches!(says(Err(&plain)), Says::Nothing));
    assert!(matches!(says(Err(&HookError::new(HookErrorKind::Timeout, "late"))), Says::Bad(_)));
    assert!(matches!(says(Ok(())), Says::Good));
}
