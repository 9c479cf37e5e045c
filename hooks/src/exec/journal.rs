//! Which calls have started processes and have not ended: `DATA/calls.open`, for the launcher that comes after a crash.
//!
//! ```text
//! +TRACE          processes of that call may run from now on
//! =TRACE GROUP    only that group of it may be ended after a crash
//! -TRACE          the call has ended, and so has what it left behind
//! ```
//!
//! Appended and never synced: processes do not outlive their host, and what a killed launcher has written stays. A line
//! too many is harmless, as nothing carries that call's mark any more; a line that is missing is not, so nothing is
//! started before its line is written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Longer, it is written anew with what is still open.
const LONG: u64 = 1 << 20;

/// The journal of one launcher.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// Bytes of whole lines in it.
    len: u64,
    open: BTreeMap<String, Option<i32>>,
}

impl Journal {
    /// With whatever an earlier launcher has left in it.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let file = append(path)?;
        let state = State { len: file.metadata()?.len(), file, open: read(path) };
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    /// The calls that had not ended when an earlier launcher did, with the only group that may be ended, if there is one.
    pub(crate) fn open(&self) -> BTreeMap<String, Option<i32>> {
        self.lock().open.clone()
    }

    /// Processes of that call may run from now on.
    pub(crate) fn begin(&self, trace: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.line(&format!("+{trace}\n"))?;
        state.open.insert(trace.to_owned(), None);
        Ok(())
    }

    /// Only that group of the call may be ended after a crash.
    pub(crate) fn group(&self, trace: &str, group: i32) {
        let mut state = self.lock();
        // Without the line everything that carries the mark is ended, which is the rule for the others.
        if state.line(&format!("={trace} {group}\n")).is_ok() {
            state.open.insert(trace.to_owned(), Some(group));
        }
    }

    /// Nothing of that call runs any more.
    pub(crate) fn end(&self, trace: &str) {
        let mut state = self.lock();
        state.open.remove(trace);
        let written = state.line(&format!("-{trace}\n"));
        let renewed = if state.len > LONG { self.renew(&mut state) } else { Ok(()) };
        if let Err(error) = written.and(renewed) {
            tracing::warn!(file = %self.path.display(), %error, "that a call has ended cannot be written down");
        }
    }

    /// Forgets those calls, as nothing of them runs any more.
    pub(crate) fn forget(&self, calls: &BTreeMap<String, Option<i32>>) {
        let mut state = self.lock();
        state.open.retain(|trace, _| !calls.contains_key(trace));
        if let Err(error) = self.renew(&mut state) {
            tracing::warn!(file = %self.path.display(), %error, "the list of open calls cannot be written anew");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn renew(&self, state: &mut State) -> io::Result<()> {
        let draft = self.path.with_extension("new");
        let mut text = String::new();
        for (trace, group) in &state.open {
            text.push_str(&format!("+{trace}\n"));
            if let Some(group) = group {
                text.push_str(&format!("={trace} {group}\n"));
            }
        }
        // One that a crash has left is not added to.
        let _ = std::fs::remove_file(&draft);
        let mut file = append(&draft)?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&draft, &self.path)?;
        (state.file, state.len) = (file, text.len() as u64);
        Ok(())
    }
}

impl State {
    /// Writes a line whole or not at all.
    fn line(&mut self, line: &str) -> io::Result<()> {
        let written = self.file.write_all(line.as_bytes());
        match written {
            Ok(()) => self.len += line.len() as u64,
            // Half a line would spoil the next one.
            Err(_) => self.file.set_len(self.len)?,
        }
        written
    }
}

fn append(path: &Path) -> io::Result<File> {
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// What the lines of a file say is open; lines that say nothing are passed over.
fn read(path: &Path) -> BTreeMap<String, Option<i32>> {
    let text = std::fs::read(path).unwrap_or_default();
    let mut open = BTreeMap::new();
    for line in String::from_utf8_lossy(&text).lines() {
        match (line.get(..1), line.get(1..)) {
            (Some("+"), Some(trace)) => drop(open.insert(trace.to_owned(), None)),
            (Some("-"), Some(trace)) => drop(open.remove(trace)),
            (Some("="), Some(rest)) => {
                if let Some((trace, group)) = rest.split_once(' ')
                    && let Ok(group) = group.parse()
                {
                    open.insert(trace.to_owned(), Some(group));
                }
            }
            _ => {}
        }
    }
    open
}

#[cfg(test)]
mod tests;
