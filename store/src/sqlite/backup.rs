//! A consistent copy of a datastore, while work goes on.
//!
//! ```text
//! a snapshot is held ──▶ pages into a file beside the target ──▶ checked, synced ──▶ named, if the name is still free
//! ```
//!
//! A copy that was cut off never has the target's name.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode};
use rustix::fs::{CWD, RenameFlags};
use wharf_core::store::StoreError;

use super::refusal::{beside, dir_of, refuse, refuse_io};
use super::{open, schema};

/// Writes a consistent copy of a datastore, also while a launcher works on it.
///
/// # Errors
/// When the target exists, or either file fails. On a network file system the launcher holds the file for itself:
/// there this works only while none runs.
pub fn backup_file(from: &Path, to: &Path) -> Result<(), StoreError> {
    if !from.is_file() {
        return Err(StoreError::Failed(format!("there is no datastore at {}", from.display())));
    }
    let source = open::reader(from)?;
    let found: i32 = source
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .map_err(|error| refuse(&error, from))?;
    if found != schema::APPLICATION {
        let detail = "it is no datastore of Wharf".to_owned();
        return Err(StoreError::Corrupt { path: from.to_owned(), detail });
    }
    // Held until the end: else each commit of the launcher would make the copy begin anew.
    source
        .execute_batch("BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1;")
        .map_err(|error| refuse(&error, from))?;
    copy(&source, from, to)
}

/// A file that goes, unless it was given its name.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        for ending in ["", "-journal", "-wal", "-shm"] {
            let _ = fs::remove_file(beside(&self.0, ending));
        }
    }
}

/// Copies what that connection sees.
pub(super) fn copy(source: &Connection, from: &Path, to: &Path) -> Result<(), StoreError> {
    let taken = || StoreError::Failed(format!("{} exists already", to.display()));
    if fs::symlink_metadata(to).is_ok() {
        return Err(taken());
    }
    let draft = Draft(beside(to, &format!(".{}.partial", std::process::id())));
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft.0)
        .map_err(|error| refuse_io(&error, to))?;
    let target = fill(source, &draft.0).map_err(|error| {
        let ours =
            matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase));
        refuse(&error, if ours { from } else { to })
    })?;
    open::examine(&target, from)?;
    target.close().map_err(|(_, error)| refuse(&error, to))?;
    file.sync_all().map_err(|error| refuse_io(&error, to))?;
    name(&draft.0, to).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => taken(),
        _ => refuse_io(&error, to),
    })?;
    fs::File::open(dir_of(to)).and_then(|dir| dir.sync_all()).map_err(|error| refuse_io(&error, to))
}

fn fill(source: &Connection, draft: &Path) -> rusqlite::Result<Connection> {
    let mut target = Connection::open(draft)?;
    // Nobody reads it before it is whole.
    target.pragma_update(None, "synchronous", "OFF")?;
    let outcome = Backup::new(source, &mut target)?.step(-1)?;
    if outcome != StepResult::Done {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(busy, None));
    }
    // One file, with no log beside it, that can lie on a read-only disk.
    target.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    Ok(target)
}

/// Gives a file its name unless it is taken, in one step.
fn name(draft: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, draft, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system knows how; a second name can be had nearly everywhere.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            fs::hard_link(draft, to)
        }
        done => Ok(done?),
    }
}
