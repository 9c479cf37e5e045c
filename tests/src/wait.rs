//! Waiting until something is so: the only place of the tests that sleeps.
//!
//! A wait polls, stops at once when what it waits for can no longer come true, and on its deadline says
//! what it saw last.

use std::time::{Duration, Instant};

/// What one look found.
#[derive(Debug)]
pub enum Probe<T> {
    /// It is so.
    Ready(T),
    /// Not yet; what was seen instead.
    NotYet(String),
    /// It can no longer come true; why.
    Never(String),
}

impl<T> Probe<T> {
    /// Ready when the condition holds.
    pub fn when(holds: bool, value: T, seen: impl FnOnce() -> String) -> Self {
        if holds { Self::Ready(value) } else { Self::NotYet(seen()) }
    }
}

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until it is so, and returns what the look found.
///
/// # Panics
/// When it is not so within that long, or can no longer come true.
#[track_caller]
pub fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Probe<T>) -> T {
    let began = Instant::now();
    loop {
        let seen = match look() {
            Probe::Ready(value) => return value,
            Probe::Never(why) => panic!("can no longer come true: {what}: {why}"),
            Probe::NotYet(seen) => seen,
        };
        assert!(began.elapsed() < within, "not within {within:?}: {what}\nseen last: {seen}");
        std::thread::sleep(PAUSE);
    }
}

/// Looks all the time for that long, and fails as soon as the look finds something.
///
/// For claims that something does *not* happen: no sleep can prove it, a watch can refute it.
///
/// # Panics
/// When the look finds something.
#[track_caller]
pub fn never(what: &str, during: Duration, mut look: impl FnMut() -> Option<String>) {
    let began = Instant::now();
    while began.elapsed() < during {
        if let Some(seen) = look() {
            panic!("{what}, after {:?}: {seen}", began.elapsed());
        }
        std::thread::sleep(PAUSE);
    }
}

/// Lets a moment pass, to choose when a fault strikes. Never to be right.
pub fn pause(moment: Duration) {
    std::thread::sleep(moment);
}

/// Runs it and tells how long it took.
pub fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let value = run();
    (value, began.elapsed())
}

/// Whether there was exactly one in each interval: `moments` are when each came. Intervals may be a tenth shorter or
/// longer, as the launcher spreads them, and on a starved machine one comes late.
///
/// # Panics
/// When there were two in one interval, or one was left out.
#[track_caller]
pub fn one_each(what: &str, interval: Duration, moments: &[Duration]) {
    /// A clock's and a scheduler's.
    const GRAIN: Duration = Duration::from_millis(100);
    const LATE: Duration = Duration::from_secs(1);
    assert!(moments.len() > 2, "too few to tell: {what}: {moments:?}");
    for pair in moments.windows(2) {
        let gap = pair[1].saturating_sub(pair[0]);
        let (least, most) = (interval.mul_f64(0.9).saturating_sub(GRAIN), interval.mul_f64(1.1) + LATE);
        assert!(
            gap >= least && gap <= most,
            "{what}: {gap:?} after the one before, not {interval:?}: {moments:?}"
        );
    }
}
