//! Where per-user things are: configuration, data, and the launcher's socket.

use std::path::{Path, PathBuf};

use crate::args::Global;
use crate::failure::{Failure, Outcome};

fn base(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |text: std::ffi::OsString| Some(PathBuf::from(text)).filter(|path| path.is_absolute());
    std::env::var_os(variable)
        .and_then(absolute)
        .or_else(|| std::env::var_os("HOME").and_then(absolute).map(|home| home.join(below_home)))
}

fn nowhere(option: &str) -> Failure {
    Failure::usage(format!("HOME is not set, so there is no default for {option}: name it"))
}

/// The data directory (DATA).
pub(crate) fn data_dir(global: &Global) -> Outcome<PathBuf> {
    match &global.data_dir {
        Some(dir) => std::path::absolute(dir).map_err(|error| Failure::local("the data directory", &error)),
        None => base("XDG_DATA_HOME", ".local/share")
            .map(|base| base.join("wharf"))
            .ok_or_else(|| nowhere("--data-dir")),
    }
}

/// The configuration file, and whether it was named.
pub(crate) fn config_file(global: &Global) -> Outcome<(PathBuf, bool)> {
    match &global.config {
        Some(file) => std::path::absolute(file)
            .map(|file| (file, true))
            .map_err(|error| Failure::local("the configuration file", &error)),
        None => base("XDG_CONFIG_HOME", ".config")
            .map(|base| (base.join("wharf/wharf.toml"), false))
            .ok_or_else(|| nowhere("--config")),
    }
}

/// The launcher's own socket.
pub(crate) fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("run/wharf.sock")
}
