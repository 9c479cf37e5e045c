//! The bootstrap file: read once, whole, and checked.

use std::io;
use std::path::{Path, PathBuf};

use wharf_protocol::monitor::{Bootstrap, PROTOCOL};
use wharf_protocol::over::Over;

/// Largest file that is read.
const MAX: u64 = 4 << 20;

/// Reads it.
pub(crate) fn read(path: &Path) -> io::Result<Bootstrap> {
    let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let found = std::fs::metadata(path).map_err(told)?;
    if found.len() > MAX {
        return Err(told(io::Error::other("too large for a bootstrap file")));
    }
    let text = std::fs::read(path).map_err(told)?;
    if Over::is(&text) {
        return Err(told(io::Error::other("the session is over: nothing is run")));
    }
    let bootstrap: Bootstrap = serde_json::from_slice(&text).map_err(|error| told(error.into()))?;
    if bootstrap.version != PROTOCOL {
        let why = format!(
            "written for version {} of the protocol, this monitor speaks {PROTOCOL}",
            bootstrap.version
        );
        return Err(told(io::Error::other(why)));
    }
    if bootstrap.command.is_empty() {
        return Err(told(io::Error::other("it names no command")));
    }
    Ok(bootstrap)
}

/// The file with the launcher's addresses.
pub(crate) fn addresses(bootstrap: &Bootstrap, path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).join(&bootstrap.addresses)
}
