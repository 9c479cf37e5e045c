//! Intervals that a template may ask for.

use std::time::Duration;

use tokio::time::Instant;
use wharf_protocol::SessionId;

use super::pauses::{Pauses, Told};
use super::{MOST_BACKOFF, Rhythm, SELDOM, interval, jittered};
use crate::inner::When;

#[test]
fn the_longest_interval_and_all_its_multiples_are_points_in_time() {
    let now = Instant::now();
    for poll in [Duration::MAX, Duration::from_secs(99_999_999_999 * 86_400)] {
        let poll = interval(poll);
        assert!(now + jittered(poll) * (1 << MOST_BACKOFF.min(3)) > now);
        assert!(now + jittered(poll * SELDOM) > now);
        let mut pauses = Pauses::default();
        let session = SessionId::from_random([0; 20]);
        for _ in 0..20 {
            let told = Told { session: session.clone(), connected: true, known: false };
            pauses.heard(told, poll * SELDOM, now);
        }
        assert!(pauses.rests(&session, now));
    }
    assert_eq!(interval(Duration::ZERO), Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn new_jobs_are_asked_about_together_a_moment_later() {
    let poll = Duration::from_secs(15);
    let mut rhythm = Rhythm::default();
    rhythm.ask(When::Later, poll);
    assert!(!rhythm.is_asked(), "the scheduler has had no time to look at it");
    tokio::time::advance(Duration::from_millis(900)).await;
    // Whoever comes after it does not put it off.
    rhythm.ask(When::Later, poll);
    tokio::time::advance(Duration::from_millis(100)).await;
    assert!(rhythm.is_asked());

    let mut quick = Rhythm::default();
    quick.ask(When::Later, Duration::from_secs(1));
    tokio::time::advance(Duration::from_millis(250)).await;
    assert!(quick.is_asked(), "a quarter of a short interval is enough");

    let mut urgent = Rhythm::default();
    urgent.ask(When::Later, poll);
    urgent.ask(When::Soon, poll);
    assert!(urgent.is_asked(), "an event does not wait for a new job's moment");
}
