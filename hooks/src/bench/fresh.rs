//! New templates: a copy of a shipped one, or a skeleton with every hook that a scheduler needs.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::editors;
use crate::builtin::BuiltinFile;

const SKELETON: &[BuiltinFile] = &[
    ("skeleton/template.toml", include_bytes!("skeleton/template.toml"), false),
    ("skeleton/hooks.lua", include_bytes!("skeleton/hooks.lua"), false),
    ("skeleton/tests/submit.toml", include_bytes!("skeleton/tests/submit.toml"), false),
    ("skeleton/tests/submit-refused.toml", include_bytes!("skeleton/tests/submit-refused.toml"), false),
    ("skeleton/tests/find.toml", include_bytes!("skeleton/tests/find.toml"), false),
    ("skeleton/tests/status.toml", include_bytes!("skeleton/tests/status.toml"), false),
    ("skeleton/tests/status-down.toml", include_bytes!("skeleton/tests/status-down.toml"), false),
    ("skeleton/tests/terminate.toml", include_bytes!("skeleton/tests/terminate.toml"), false),
    ("skeleton/tests/terminate-gone.toml", include_bytes!("skeleton/tests/terminate-gone.toml"), false),
];

/// Why there is no new template.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// Templates are named otherwise.
    #[error("\"{0}\" names no template: a-z, 0-9 and -, a letter first, at most 63")]
    Name(String),
    /// There is no such shipped template.
    #[error("there is no shipped template {name}; there are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// Something is there already.
    #[error("{0} is there already")]
    Exists(PathBuf),
    /// It cannot be written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Writes a new template below `dir`: a copy of the shipped one `from`, or the skeleton. Returns its directory; nothing
/// is left when it fails.
///
/// # Errors
/// See [`NewError`].
pub fn new_template(
    name: &str,
    from: Option<&str>,
    dir: &Path,
    builtin: &[BuiltinFile],
) -> Result<PathBuf, NewError> {
    if !crate::load::is_name(name) {
        return Err(NewError::Name(name.to_owned()));
    }
    let (source, prefix) = match from {
        None => (SKELETON, "skeleton/".to_owned()),
        Some(from) => (builtin, format!("{from}/")),
    };
    let files: Vec<_> = source
        .iter()
        .filter_map(|(path, bytes, run)| Some((path.strip_prefix(&prefix)?, *bytes, *run)))
        .collect();
    if files.is_empty() {
        let mut known: Vec<&str> =
            builtin.iter().filter_map(|(path, ..)| Some(path.split_once('/')?.0)).collect();
        known.dedup();
        return Err(NewError::Unknown { name: from.unwrap_or_default().to_owned(), known: known.join(", ") });
    }
    let place = dir.join(name);
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| NewError::Io { path, source }
    };
    if place.symlink_metadata().is_ok() {
        return Err(NewError::Exists(place));
    }
    std::fs::create_dir_all(dir).map_err(io(dir))?;
    // Made beside it and renamed: a half-written template is never seen.
    let fresh = tempfile::Builder::new().prefix(".new-").tempdir_in(dir).map_err(io(dir))?;
    let lua = files.iter().any(|(path, ..)| *path == "hooks.lua");
    let types = editors::lua_types();
    let more =
        [(".luarc.json", editors::LUARC.as_bytes(), false), ("types/wharf.lua", types.as_bytes(), false)];
    for (path, bytes, executable) in files.into_iter().chain(more.into_iter().filter(|_| lua)) {
        write(&fresh.path().join(path), bytes, executable).map_err(io(&place.join(path)))?;
    }
    std::fs::set_permissions(fresh.path(), std::fs::Permissions::from_mode(0o755)).map_err(io(&place))?;
    let fresh = fresh.keep();
    if let Err(source) = rustix::fs::renameat_with(
        rustix::fs::CWD,
        &fresh,
        rustix::fs::CWD,
        &place,
        rustix::fs::RenameFlags::NOREPLACE,
    ) {
        let _ = std::fs::remove_dir_all(&fresh);
        return Err(if source == rustix::io::Errno::EXIST {
            NewError::Exists(place)
        } else {
            NewError::Io { path: place, source: source.into() }
        });
    }
    Ok(place)
}

fn write(path: &Path, bytes: &[u8], executable: bool) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
        std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o755))?;
    }
    let mode = if executable { 0o755 } else { 0o644 };
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}
