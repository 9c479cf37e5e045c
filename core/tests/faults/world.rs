//! What is outside of a launcher and outlives it: a scheduler with its jobs, the datastore's content, the clock; and
//! the plan of what goes wrong at which deed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use wharf_core::clock::Clock;
use wharf_protocol::Time;
use wharf_protocol::monitor::Bootstrap;

/// What goes wrong with one deed (a hook's run or a commit).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing happens, and its answer is lost.
    Undone,
    /// It is done, and its answer is lost.
    Unheard,
    /// It is refused as not possible now, and nothing happens.
    Refused,
    /// It is done twice.
    Twice,
    /// The launcher is killed before it is done.
    KilledBefore,
    /// The launcher is killed when it is done, before it knows.
    KilledAfter,
    /// As [`Fault::KilledBefore`], and the hook's process lives on and does it before the next launcher comes.
    KilledAndDone,
}

impl Fault {
    pub(crate) const ALL: [Self; 7] = [
        Self::Undone,
        Self::Unheard,
        Self::Refused,
        Self::Twice,
        Self::KilledBefore,
        Self::KilledAfter,
        Self::KilledAndDone,
    ];
}

/// A job: its processes end when it does.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) tag: String,
    pub(crate) taken: Time,
    pub(crate) alive: bool,
    pub(crate) bootstrap: Bootstrap,
    /// The monitor's resume token.
    pub(crate) resume: Option<String>,
    /// The monitor was told to end, and its command has.
    pub(crate) ended: bool,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) jobs: Vec<Job>,
    /// What was done so far, by name.
    pub(crate) deeds: Vec<String>,
    plan: Option<(usize, Fault)>,
    /// Killed: nothing that the launcher still does has an effect.
    dead: bool,
    /// A submit that the process of a killed launcher's hook has still to make.
    orphan: Option<Box<Job>>,
    base: Time,
    since: Option<Instant>,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct World {
    state: Mutex<State>,
    death: Notify,
}

impl World {
    pub(crate) fn new(plan: Option<(usize, Fault)>) -> Arc<Self> {
        let state = State {
            jobs: Vec::new(),
            deeds: Vec::new(),
            plan,
            dead: false,
            orphan: None,
            base: Time::from_millis(1_700_000_000_000),
            since: None,
        };
        Arc::new(Self { state: Mutex::new(state), death: Notify::new() })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A launcher's life begins, in a runtime whose time is new.
    pub(crate) fn begin(&self) {
        self.state().since = Some(Instant::now());
    }

    /// It is over: what was left of its hooks acts now.
    pub(crate) fn finish(&self) {
        let mut state = self.state();
        state.dead = false;
        if let Some(orphan) = state.orphan.take() {
            state.jobs.push(*orphan);
        }
    }

    pub(crate) async fn death(&self) {
        self.death.notified().await;
    }

    fn die(&self) {
        let now = self.now();
        let mut state = self.state();
        state.base = now;
        state.since = None;
        state.dead = true;
        drop(state);
        self.death.notify_one();
    }

    /// Nothing comes of what a dead launcher does.
    pub(crate) async fn alive(&self) {
        if self.state().dead {
            std::future::pending::<()>().await;
        }
    }

    /// One deed, with what is planned for it; `orphan` is what the hook's process would do on its own.
    pub(crate) async fn deed<T>(
        &self,
        name: &str,
        orphan: Option<Job>,
        mut act: impl FnMut() -> T,
    ) -> Result<T, Fault> {
        self.alive().await;
        let fault = {
            let mut state = self.state();
            state.deeds.push(name.to_owned());
            let at = state.deeds.len() - 1;
            state.plan.filter(|(planned, _)| *planned == at).map(|(_, fault)| fault)
        };
        match fault {
            None => Ok(act()),
            Some(Fault::Twice) => {
                act();
                Ok(act())
            }
            Some(fault @ (Fault::Undone | Fault::Refused)) => Err(fault),
            Some(fault @ Fault::Unheard) => {
                act();
                Err(fault)
            }
            Some(fault @ (Fault::KilledBefore | Fault::KilledAfter | Fault::KilledAndDone)) => {
                if fault == Fault::KilledAfter {
                    act();
                }
                if fault == Fault::KilledAndDone {
                    self.state().orphan = orphan.map(Box::new);
                }
                self.die();
                std::future::pending().await
            }
        }
    }
}

impl Clock for World {
    fn now(&self) -> Time {
        let state = self.state();
        let passed = state.since.map_or(Duration::ZERO, |since| since.elapsed());
        state.base.after(passed)
    }
}
