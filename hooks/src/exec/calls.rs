//! A call as far as it leaves traces outside: its line in the journal, and its directory, `DATA/calls/TRACE`.
//!
//! ```text
//! nothing ─ a process may start: written down ─ … ─ leftovers ended ─ struck out
//!      └─ a process or a file needs a place: directory made ────────── removed
//! ```
//!
//! A call that starts no process and writes no file leaves none.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::journal::Journal;

/// What one call leaves outside.
#[derive(Debug)]
pub(crate) struct CallTraces {
    journal: Arc<Journal>,
    trace: String,
    dir: PathBuf,
    /// What it leaves running may stay.
    keep: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_written: bool,
    has_dir: bool,
    /// The call has ended: whatever still runs of it gets nothing more.
    is_over: bool,
}

impl CallTraces {
    /// None yet. With `keep`, what the call leaves behind may stay.
    pub(crate) fn new(journal: Arc<Journal>, calls: &Path, trace: &str, keep: bool) -> Self {
        Self { journal, trace: trace.to_owned(), dir: calls.join(trace), keep, state: Mutex::default() }
    }

    /// Writes the call down, unless it is; whoever may start a process has to wait for that.
    pub(crate) fn write_down(&self) -> io::Result<()> {
        let mut state = self.live()?;
        if !state.is_written {
            self.journal.begin(&self.trace)?;
            state.is_written = true;
        }
        Ok(())
    }

    /// Its directory, made 0700 unless it is there.
    pub(crate) fn directory(&self) -> io::Result<&Path> {
        let mut state = self.live()?;
        if !state.has_dir {
            std::fs::DirBuilder::new().mode(0o700).create(&self.dir)?;
            state.has_dir = true;
        }
        Ok(&self.dir)
    }

    fn live(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.is_over { Err(io::Error::other("the call has ended")) } else { Ok(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With `leftovers = "keep"` only the hook's own group may be ended after a crash: notes which one that is.
    pub(crate) fn note_group(&self, group: i32) {
        if self.keep {
            self.journal.group(&self.trace, group);
        }
    }

    /// The call has ended and so have its leftovers; whether there is a directory to remove.
    pub(crate) fn end(&self) -> bool {
        let state = std::mem::replace(&mut *self.lock(), State { is_over: true, ..State::default() });
        if state.is_written {
            self.journal.end(&self.trace);
        }
        state.has_dir
    }

    /// Removes the directory with all that is in it. Blocks.
    pub(crate) fn remove(&self) {
        remove(&self.dir);
    }
}

/// Most are empty, which one call of the system finds out.
fn remove(path: &Path) {
    if std::fs::remove_dir(path).is_err()
        && let Err(error) = std::fs::remove_dir_all(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(dir = %path.display(), %error, "the directory of an ended call stays");
    }
}

/// Removes the directories of all calls, when none is under way.
pub(super) fn clear(calls: &Path) {
    for entry in std::fs::read_dir(calls).into_iter().flatten().flatten() {
        remove(&entry.path());
    }
}
