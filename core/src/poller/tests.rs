//! Intervals that a template may ask for.

use std::time::Duration;

use tokio::time::Instant;
use wharf_protocol::SessionId;

use super::pauses::{Pauses, Told};
use super::{MOST_BACKOFF, SELDOM, interval, jittered};

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
