//! Whose turn it is to be asked about one by one: jobs that the one answer for all did not have.
//!
//! Those that were never asked about come first, then those that have waited longest, a portion of them in each round. One that
//! nobody could tell anything of, for a reason of its own, is asked about less and less often. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Jobs in one round.
const PORTION: usize = 40;
/// The first pause of one that nobody could tell anything of.
const FIRST: Duration = Duration::from_secs(15);
/// The longest, in doublings of the first: sixteen minutes.
const MOST_DOUBLINGS: u32 = 6;
/// Who was not asked about for so long is over.
const OLD: Duration = Duration::from_secs(3600);

#[derive(Debug)]
struct Turn {
    asked: Instant,
    failures: u32,
}

#[derive(Debug, Default)]
pub(super) struct Turns(HashMap<String, Turn>);

impl Turns {
    /// Of these the ones to ask about now.
    pub(super) fn portion<'a>(&mut self, missing: &[&'a str], now: Instant) -> Vec<&'a str> {
        self.0.retain(|_, turn| now.duration_since(turn.asked) < OLD);
        let last = |id: &str| self.0.get(id).map(|turn| turn.asked);
        let mut portion: Vec<&str> = missing.iter().copied().filter(|id| !self.rests(id, now)).collect();
        portion.sort_by_key(|id| last(id));
        portion.truncate(PORTION);
        portion
    }

    fn rests(&self, id: &str, now: Instant) -> bool {
        self.0.get(id).is_some_and(|turn| {
            let doublings = turn.failures.saturating_sub(1).min(MOST_DOUBLINGS);
            turn.failures > 0 && now.duration_since(turn.asked) < FIRST * (1 << doublings)
        })
    }

    pub(super) fn told(&mut self, id: &str, now: Instant) {
        self.0.insert(id.to_owned(), Turn { asked: now, failures: 0 });
    }

    pub(super) fn failed(&mut self, id: &str, now: Instant) {
        let turn = self.0.entry(id.to_owned()).or_insert(Turn { asked: now, failures: 0 });
        (turn.asked, turn.failures) = (now, turn.failures + 1);
    }
}

#[cfg(test)]
mod tests;
