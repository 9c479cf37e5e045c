//! A call's directory, `DATA/calls/TRACE`: where its processes start, and the sign that it has not ended.
//!
//! ```text
//! made ─ first spawn ─ … ─ leftovers ended ─ removed
//!   └ a launcher that finds it at its start knows that the call never ended: `marks` ends what it left
//! ```
//!
//! A call that starts no process and writes no file needs none.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How the note beside a directory ends: the only group of that call that may be ended after a crash.
const NOTE: &str = "group";

/// The directory of one call.
#[derive(Debug)]
pub(crate) struct CallDir {
    path: PathBuf,
    keep: bool,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing needed it yet.
    Absent,
    /// It is there.
    Made,
    /// The call has ended: whatever still runs of it gets none.
    Over,
}

impl CallDir {
    /// Not made yet. With `keep`, what the call leaves behind may stay.
    pub(crate) fn new(calls: &Path, trace: &str, keep: bool) -> Self {
        Self { path: calls.join(trace), keep, state: Mutex::new(State::Absent) }
    }

    /// Makes it, 0700, unless it is there; whoever may start a process has to wait for that.
    pub(crate) fn make(&self) -> io::Result<&Path> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Made => {}
            State::Over => return Err(io::Error::other("the call has ended")),
            State::Absent => {
                std::fs::DirBuilder::new().mode(0o700).create(&self.path)?;
                *state = State::Made;
            }
        }
        Ok(&self.path)
    }

    /// With `leftovers = "keep"` only the hook's own group may be ended after a crash: notes which one that is.
    pub(crate) fn note_group(&self, group: i32) {
        if self.keep {
            // Without the note everything that carries the mark is ended, which is the rule for the others.
            let _ = std::fs::write(self.path.with_extension(NOTE), group.to_string());
        }
    }

    /// The call has ended and so have its leftovers: `false` when there is nothing to remove.
    pub(crate) fn end(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *state, State::Over) == State::Made
    }

    /// Removes it with all that is in it. Blocks.
    pub(crate) fn remove(&self) {
        remove(&self.path);
        if self.keep {
            // Not there when nothing was started.
            let _ = std::fs::remove_file(self.path.with_extension(NOTE));
        }
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

/// A call that had not ended when its launcher did.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) trace: String,
    /// The only group that may be ended; none: everything that carries the mark.
    pub(super) group: Option<i32>,
}

/// Those whose directories are there.
pub(super) fn open(calls: &Path) -> Vec<Open> {
    let entries = std::fs::read_dir(calls).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| {
            let note = std::fs::read_to_string(entry.path().with_extension(NOTE)).ok();
            let group = note.and_then(|text| text.trim().parse().ok());
            Some(Open { trace: entry.file_name().into_string().ok()?, group })
        })
        .collect()
}

/// Forgets them all.
pub(super) fn clear(calls: &Path) {
    for entry in std::fs::read_dir(calls).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        } else if let Err(error) = std::fs::remove_file(entry.path()) {
            tracing::warn!(file = %entry.path().display(), %error, "the note of an ended call stays");
        }
    }
}
