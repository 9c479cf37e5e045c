//! Live sessions: where the mail of each driver goes, what the outside sees of it, and how many each template has.
//!
//! A session is in it from its driver's first step to its last. Looks are short and under one lock: what is called
//! under it must not come back here.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use wharf_protocol::{SessionId, Time};

use crate::driver::Mail;
use crate::record::{LinkState, Record};

/// What the outside sees of a live session.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) record: Arc<Record>,
    pub(crate) link: LinkState,
    /// The link's serial while connected.
    pub(crate) serial: Option<u64>,
    /// A monitor of it was linked in this launcher's life.
    pub(crate) linked_here: bool,
    /// When the scheduler was last heard about its job.
    pub(crate) checked_at: Option<Time>,
    /// It was purged.
    pub(crate) gone: bool,
}

/// A live session's mailbox and window.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(crate) mail: Mail,
    pub(crate) view: watch::Receiver<View>,
}

/// All live sessions.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<Live>);

#[derive(Debug, Default)]
struct Live {
    sessions: HashMap<SessionId, Entry>,
    /// So that a start need not look at all of them.
    of_template: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct Entry {
    handle: Handle,
    template: String,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Live> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, id: &SessionId) -> Option<Handle> {
        self.lock().sessions.get(id).map(|entry| entry.handle.clone())
    }

    /// Enters a session; `false` when it is there already.
    pub(crate) fn enter(&self, id: &SessionId, handle: Handle) -> bool {
        let template = handle.view.borrow().record.template.clone();
        let mut live = self.lock();
        if live.sessions.contains_key(id) {
            return false;
        }
        *live.of_template.entry(template.clone()).or_default() += 1;
        live.sessions.insert(id.clone(), Entry { handle, template });
        true
    }

    /// Takes out the session of that driver; one that has come back meanwhile has another, and stays.
    pub(crate) fn leave(&self, id: &SessionId, mail: &Mail) {
        let mut live = self.lock();
        if !live.sessions.get(id).is_some_and(|entry| entry.handle.mail.same_channel(mail)) {
            return;
        }
        let Some(entry) = live.sessions.remove(id) else { return };
        if let Some(count) = live.of_template.get_mut(&entry.template) {
            *count -= 1;
            if *count == 0 {
                live.of_template.remove(&entry.template);
            }
        }
    }

    /// How many there are, of that template and of all.
    pub(crate) fn count(&self, template: &str) -> (usize, usize) {
        let live = self.lock();
        (live.of_template.get(template).copied().unwrap_or(0), live.sessions.len())
    }

    /// Names of the templates that have any.
    pub(crate) fn templates(&self) -> Vec<String> {
        self.lock().of_template.keys().cloned().collect()
    }

    /// What a look at each gives.
    pub(crate) fn each<T, Of: FromIterator<T>>(
        &self,
        look: impl FnMut((&SessionId, &Handle)) -> Option<T>,
    ) -> Of {
        self.lock().sessions.iter().map(|(id, entry)| (id, &entry.handle)).filter_map(look).collect()
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests;
