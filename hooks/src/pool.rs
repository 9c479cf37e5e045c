//! How many hooks run at once: in all, of one template, and of one hook of one template.
//!
//! ```text
//! a hook's own queue ─┬─ ordinary:          its template's share ─ a place among all
//!                     ├─ terminate, find:   a place among all, or one of the reserve
//!                     └─ prepare:           a lane of its own, as it may take half an hour
//! ```
//!
//! A crowd waits in its own queue first, so that it stands in nobody's way. No template holds more than a share of all
//! places, nor of the reserve: two that hang do not stop a third.
//! A call that does not get a place in half of its time never starts, and says so: nothing has happened yet, so that
//! even a submit may be tried again. What does start has at least the other half.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wharf_core::hook::Hook;

/// Places kept for the hooks that end and look up jobs.
const RESERVE: usize = 8;
/// How many of them one template may hold.
const RESERVE_EACH: usize = 3;

/// What shares a semaphore.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Share {
    /// Calls of one hook of one template.
    Hook(String, Hook),
    /// Ordinary calls of one template.
    Template(String),
    /// Calls of one template on reserved places.
    Reserve(String),
}

/// All places.
#[derive(Debug)]
pub(crate) struct Pool {
    all: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    each_hook: usize,
    each_template: usize,
    shares: Mutex<HashMap<Share, Arc<Semaphore>>>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permits: Vec<OwnedSemaphorePermit>,
}

impl Pool {
    /// Room for `most` calls at once.
    pub(crate) fn new(most: usize) -> Self {
        let most = most.max(1);
        let each_hook = (most / 4).max(most.min(8));
        Self {
            all: Arc::new(Semaphore::new(most)),
            slow: Arc::new(Semaphore::new(most)),
            reserve: Arc::new(Semaphore::new(RESERVE)),
            each_hook,
            each_template: (most * 3 / 8).max(each_hook),
            shares: Mutex::new(HashMap::new()),
        }
    }

    fn share(&self, share: Share) -> Arc<Semaphore> {
        let most = match share {
            Share::Hook(..) => self.each_hook,
            Share::Template(_) => self.each_template,
            Share::Reserve(_) => RESERVE_EACH,
        };
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(shares.entry(share).or_insert_with(|| Arc::new(Semaphore::new(most))))
    }

    /// Waits for a place.
    pub(crate) async fn place(&self, template: &str, hook: Hook) -> Option<Place> {
        let name = template.to_owned();
        let mut permits = vec![self.share(Share::Hook(name.clone(), hook)).acquire_owned().await.ok()?];
        match hook {
            Hook::Prepare => permits.push(Arc::clone(&self.slow).acquire_owned().await.ok()?),
            Hook::Terminate | Hook::TerminateMany | Hook::Find => {
                let reserved = async {
                    let share = self.share(Share::Reserve(name)).acquire_owned().await.ok()?;
                    Some(vec![share, Arc::clone(&self.reserve).acquire_owned().await.ok()?])
                };
                tokio::select! {
                    biased;
                    place = Arc::clone(&self.all).acquire_owned() => permits.push(place.ok()?),
                    places = reserved => permits.extend(places?),
                }
            }
            Hook::Options
            | Hook::Validate
            | Hook::Select
            | Hook::Submit
            | Hook::Status
            | Hook::Logs
            | Hook::Extend
            | Hook::OnRunning
            | Hook::OnConnect
            | Hook::OnDisconnect
            | Hook::OnParams
            | Hook::OnEnded => {
                permits.push(self.share(Share::Template(name)).acquire_owned().await.ok()?);
                permits.push(Arc::clone(&self.all).acquire_owned().await.ok()?);
            }
        }
        Some(Place { _permits: permits })
    }
}

#[cfg(test)]
mod tests;
