//! How many hooks run at once: in all, and of one hook of one template, with places kept for `terminate` and `find`.
//!
//! A call that does not get a place in half of its time never starts, and says so: nothing has happened yet, so that
//! even a submit may be tried again. What does start has at least the other half.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wharf_core::hook::Hook;

/// Places kept for the hooks that end and look up jobs.
const RESERVE: usize = 8;

/// All places.
#[derive(Debug)]
pub(crate) struct Pool {
    all: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    each: usize,
    by_hook: Mutex<HashMap<(String, Hook), Arc<Semaphore>>>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl Pool {
    /// Room for `most` calls at once.
    pub(crate) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self {
            all: Arc::new(Semaphore::new(most)),
            reserve: Arc::new(Semaphore::new(RESERVE)),
            each: (most / 4).max(most.min(8)),
            by_hook: Mutex::new(HashMap::new()),
        }
    }

    /// Waits for a place.
    pub(crate) async fn place(&self, template: &str, hook: Hook) -> Option<Place> {
        let own = {
            let mut by_hook = self.by_hook.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (template.to_owned(), hook);
            Arc::clone(by_hook.entry(key).or_insert_with(|| Arc::new(Semaphore::new(self.each))))
        };
        // First one's own queue, so that a crowd of one hook does not stand in the way of all.
        let own = own.acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned();
        let urgent = matches!(hook, Hook::Terminate | Hook::TerminateMany | Hook::Find);
        let all = if urgent {
            let reserve = Arc::clone(&self.reserve).acquire_owned();
            tokio::select! { biased; all = all => all, reserve = reserve => reserve }
        } else {
            all.await
        };
        Some(Place { _all: all.ok()?, _own: own })
    }
}
