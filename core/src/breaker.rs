//! Hooks that fail again and again: counted by template and hook, shown, and not asked for a while.
//!
//! ```text
//! closed ── failures in a row ──▶ open until its next try ── one try ──▶ half open ── good ──▶ closed
//!                                   ▲                                        └─ bad: twice as long ─┐
//!                                   └───────────────────────────────────────────────────────────────┘
//! ```
//!
//! Only what is the hook's own fault counts: a refusal meant for the user is an answer. What an open breaker stops is
//! its callers' business: starts, sessions that are submitted again (`submit`, `prepare`), and rounds of `status`. Ending
//! and looking up jobs is never stopped. Nothing here is durable: a launcher that starts again asks again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wharf_protocol::Time;

use crate::hook::{Hook, HookError, HookErrorKind};

/// Failures in a row that open it.
const FAILURES: u32 = 5;
/// The same when each was a plain "no" of a small script, which may have been meant for the user.
const PLAIN: u32 = 20;
/// How long it stays open at first.
const FIRST: Duration = Duration::from_secs(2);
/// How long at most.
const MOST: Duration = Duration::from_secs(60);
/// How long a try may stay unheard of until another one is let through.
const UNHEARD: Duration = Duration::from_secs(60);
/// What a job needs to be submitted.
const SUBMIT: [Hook; 2] = [Hook::Prepare, Hook::Submit];

/// What a run says about its hook.
pub(crate) enum Says {
    /// It works.
    Good,
    /// It does not: in which words, and whether it may have been a refusal.
    Bad(String, bool),
}

/// What a failure says about the hook, as opposed to what was asked of it.
pub(crate) fn says(hook: Hook, outcome: Result<(), &HookError>) -> Says {
    let Err(error) = outcome else { return Says::Good };
    match error.kind {
        HookErrorKind::Invalid
        | HookErrorKind::Denied
        | HookErrorKind::NotFound
        | HookErrorKind::RateLimited
        | HookErrorKind::Unsupported => Says::Good,
        HookErrorKind::Unavailable
        | HookErrorKind::Misconfigured
        | HookErrorKind::Timeout
        | HookErrorKind::Memory
        | HookErrorKind::CommandFailed
        | HookErrorKind::Internal => {
            Says::Bad(crate::effects::public_words(error), error.plain_exit && hook == Hook::Submit)
        }
    }
}

#[derive(Debug)]
struct Breaker {
    /// Of the template; another one begins anew.
    version: String,
    failures: u32,
    error: String,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    /// Not before.
    next: Instant,
    /// The same for people.
    next_try: Time,
    wait: Duration,
    /// One was let through.
    trying: Option<Instant>,
}

impl Open {
    /// How long it is not asked yet.
    fn left(&self, now: Instant) -> Option<Duration> {
        if now < self.next {
            return Some(self.next - now);
        }
        self.trying.filter(|since| now < *since + UNHEARD).map(|_| Duration::from_secs(1))
    }
}

/// A failing hook as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) hook: Hook,
    pub(crate) failures: u32,
    pub(crate) error: String,
    /// `closed`, `open` or `half_open`.
    pub(crate) state: &'static str,
    pub(crate) next_try: Option<Time>,
}

/// All breakers that have something to say.
#[derive(Debug, Default)]
pub(crate) struct Breakers {
    by_hook: BTreeMap<(String, Hook), Breaker>,
}

impl Breakers {
    /// Hears how a run ended.
    pub(crate) fn heard(
        &mut self,
        (template, version): (&str, &str),
        hook: Hook,
        says: Says,
        (now, clock): (Instant, Time),
    ) {
        self.renew(template, version);
        let key = (template.to_owned(), hook);
        match says {
            Says::Good => drop(self.by_hook.remove(&key)),
            Says::Bad(error, plain) => {
                let breaker = self.by_hook.entry(key).or_insert_with(|| Breaker {
                    version: version.to_owned(),
                    failures: 0,
                    error: String::new(),
                    open: None,
                });
                breaker.failures = breaker.failures.saturating_add(1);
                breaker.error = error;
                let wait = match &breaker.open {
                    // Several that were under way already: one step for all of them.
                    Some(open) if open.trying.is_none() && now < open.next => return,
                    Some(open) => (open.wait * 2).min(MOST),
                    None if breaker.failures >= if plain { PLAIN } else { FAILURES } => FIRST,
                    None => return,
                };
                breaker.open =
                    Some(Open { next: now + wait, next_try: clock.after(wait), wait, trying: None });
            }
        }
    }

    /// Whether a hook may be asked now; else how long not. The one that may is the try of an open breaker.
    pub(crate) fn admit(
        &mut self,
        (template, version): (&str, &str),
        hook: Hook,
        now: Instant,
    ) -> Result<(), Duration> {
        self.renew(template, version);
        let breaker = self.by_hook.get_mut(&(template.to_owned(), hook));
        let Some(open) = breaker.and_then(|breaker| breaker.open.as_mut()) else { return Ok(()) };
        if let Some(left) = open.left(now) {
            return Err(left);
        }
        open.trying = Some(now);
        Ok(())
    }

    /// The same for all that a submit takes: nothing counts as a try when one of them may not be asked.
    pub(crate) fn admit_submit(
        &mut self,
        (template, version): (&str, &str),
        now: Instant,
    ) -> Result<(), (Hook, Duration)> {
        self.renew(template, version);
        for hook in SUBMIT {
            let breaker = self.by_hook.get(&(template.to_owned(), hook));
            let open = breaker.and_then(|breaker| breaker.open.as_ref());
            if let Some(left) = open.and_then(|open| open.left(now)) {
                return Err((hook, left));
            }
        }
        SUBMIT
            .into_iter()
            .try_for_each(|hook| self.admit((template, version), hook, now).map_err(|left| (hook, left)))
    }

    /// Forgets what was heard of other versions: whoever repaired a template need not wait.
    fn renew(&mut self, template: &str, version: &str) {
        self.by_hook.retain(|(name, _), breaker| name != template || breaker.version == version);
    }

    /// The failing hooks of a template.
    pub(crate) fn of(&self, template: &str) -> Vec<Trouble> {
        let own = self.by_hook.iter().filter(|((name, _), _)| name == template);
        own.map(|((_, hook), breaker)| Trouble {
            hook: *hook,
            failures: breaker.failures,
            error: breaker.error.clone(),
            state: match &breaker.open {
                None => "closed",
                Some(open) if open.trying.is_some() => "half_open",
                Some(_) => "open",
            },
            next_try: breaker.open.as_ref().map(|open| open.next_try),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests;
