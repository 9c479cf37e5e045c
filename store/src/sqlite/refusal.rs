//! What an error of SQLite's means to the launcher.
//!
//! The question that matters is whether the datastore goes on by itself when there is space again (`Full`) or
//! something is broken. SQLite says "full" only where a plain write met no space; a quota, the log's index or a file
//! system that became read-only reach us as input/output errors, so the disk itself is asked then.
//!
//! An input/output error fails the commits it met, for good: their pages are written anew by the next transaction, and
//! a failed fsync is never repeated and believed.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use wharf_core::store::StoreError;

/// Less than that is no space: a commit needs several pages at once.
const LEAST: u64 = 256 * 1024;

/// Names a failure.
pub(super) fn refuse(error: &rusqlite::Error, path: &Path) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full("no space is left on its disk".to_owned()),
        Some(ErrorCode::ReadOnly) => StoreError::Full("its file is read-only".to_owned()),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StoreError::Corrupt { path: path.to_owned(), detail: error.to_string() }
        }
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => match shortage(path) {
            Some(words) => StoreError::Full(words.to_owned()),
            None => StoreError::Failed(format!("{}: {error}", path.display())),
        },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::Failed(format!("{}: another program holds it", path.display()))
        }
        Some(_) | None => StoreError::Failed(error.to_string()),
    }
}

/// The same for a file operation of our own.
pub(super) fn refuse_io(error: &io::Error, path: &Path) -> StoreError {
    match words(error.kind()) {
        Some(words) => StoreError::Full(format!("{}: {words}", path.display())),
        None => StoreError::Failed(format!("{}: {error}", path.display())),
    }
}

fn words(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::StorageFull => Some("no space is left on its disk"),
        io::ErrorKind::QuotaExceeded => Some("the disk quota is used up"),
        io::ErrorKind::ReadOnlyFilesystem => Some("its file system is read-only"),
        _ => None,
    }
}

/// Asks the disk whether it takes anything at all.
fn shortage(path: &Path) -> Option<&'static str> {
    let dir = dir_of(path);
    if rustix::fs::statvfs(dir).is_ok_and(|found| found.f_bavail.saturating_mul(found.f_frsize) < LEAST) {
        return words(io::ErrorKind::StorageFull);
    }
    let probe = beside(path, ".probe");
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&probe)
        .and_then(|mut file| file.write_all(&[0; 64 * 1024]).and_then(|()| file.sync_all()));
    let _ = fs::remove_file(&probe);
    written.err().and_then(|error| words(error.kind()))
}

/// The directory of a file, also of one that is named without any.
pub(super) fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// The file of that name with an ending of our own.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
