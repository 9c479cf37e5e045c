//! Where a launcher's own things lie below DATA: directories, the monitor program, the instance's name.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use sha2::Digest as _;

use super::AssembleError;
use crate::client::transport::Reachable;

/// The static monitor for this host's architecture.
pub(crate) const MONITOR: &[u8] = include_bytes!(env!("WHARF_MONITOR_BYTES"));

pub(super) fn make_dir(path: &Path, mode: u32) -> Result<(), AssembleError> {
    let failed = |source| AssembleError::Io { path: path.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)
}

/// Writes the monitor once, by its content; the path of the program.
pub(super) fn write_monitor(data_dir: &Path) -> Result<PathBuf, AssembleError> {
    let hash: String = sha2::Sha256::digest(MONITOR).iter().map(|byte| format!("{byte:02x}")).collect();
    let dir = data_dir.join("monitor").join(&hash[..16]);
    let path = dir.join("wharf-monitor");
    let failed = |source| AssembleError::Io { path: path.clone(), source };
    make_dir(&data_dir.join("monitor"), 0o755)?;
    make_dir(&dir, 0o755)?;
    if std::fs::read(&path).is_ok_and(|found| found == MONITOR) {
        return Ok(path);
    }
    let draft = dir.join(".wharf-monitor.new");
    let _ = std::fs::remove_file(&draft);
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(&draft).map_err(failed)?;
    io::Write::write_all(&mut file, MONITOR).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    drop(file);
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
    std::fs::rename(&draft, &path).map_err(failed)?;
    Ok(path)
}

/// A monitor of the site's own has to be one.
pub(crate) fn check_monitor(path: &Path) -> Result<PathBuf, AssembleError> {
    let unusable = |detail: String| AssembleError::Monitor { path: path.to_owned(), detail };
    let path = std::path::absolute(path).map_err(|error| unusable(error.to_string()))?;
    let output = std::process::Command::new(&path)
        .arg("--version")
        .output()
        .map_err(|error| unusable(error.to_string()))?;
    if output.status.success() && output.stdout.starts_with(b"wharf-monitor ") {
        Ok(path)
    } else {
        Err(unusable("it does not answer --version as a wharf-monitor does".to_owned()))
    }
}

/// Names the data directory, the same after every restart.
pub(super) fn instance(data_dir: &Path) -> Result<String, AssembleError> {
    let path = data_dir.join("instance");
    let failed = |source| AssembleError::Io { path: path.clone(), source };
    if let Ok(text) = std::fs::read_to_string(&path)
        && text.trim().len() >= 8
    {
        return Ok(text.trim().to_owned());
    }
    let made: String = wharf_core::random::bytes::<10>().iter().map(|byte| format!("{byte:02x}")).collect();
    let draft = path.with_extension("new");
    std::fs::write(&draft, &made).map_err(failed)?;
    std::fs::rename(&draft, &path).map_err(failed)?;
    Ok(made)
}

/// Makes `run/`, where the sockets lie. A file system that takes no sockets gets a link into the user's runtime
/// directory in its place.
pub(super) fn run_dir(data_dir: &Path, instance: &str) -> Result<(), AssembleError> {
    let run = data_dir.join("run");
    let failed = |source| AssembleError::Io { path: run.clone(), source };
    if let Ok(target) = std::fs::read_link(&run) {
        // Runtime directories go away with the login.
        return make_dir(&target, 0o700);
    }
    make_dir(&run, 0o700)?;
    let Err(error) = takes_sockets(&run) else { return Ok(()) };
    let base = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|base| base.is_absolute());
    let Some(base) = base else { return Err(failed(error)) };
    let target = base.join("wharf").join(instance);
    make_dir(&base.join("wharf"), 0o700)?;
    make_dir(&target, 0o700)?;
    takes_sockets(&target).map_err(failed)?;
    std::fs::remove_dir(&run).and_then(|()| std::os::unix::fs::symlink(&target, &run)).map_err(failed)?;
    tracing::warn!(%error, to = %target.display(), "the data directory takes no sockets: they lie elsewhere");
    Ok(())
}

fn takes_sockets(dir: &Path) -> io::Result<()> {
    let path = dir.join(".probe");
    let _ = std::fs::remove_file(&path);
    let bound = Reachable::new(&path).and_then(|reachable| UnixListener::bind(reachable.path()));
    let _ = std::fs::remove_file(&path);
    bound.map(drop)
}

#[cfg(test)]
mod tests;
