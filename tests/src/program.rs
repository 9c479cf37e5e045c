//! Where the built programs are. The harness builds nothing: `./test` has.

use std::path::{Path, PathBuf};

/// The `wharf` program: `WHARF_BIN`, else beside the test binary's build, else the release build.
///
/// # Panics
/// When there is none.
pub fn wharf() -> PathBuf {
    if let Some(named) = std::env::var_os("WHARF_BIN") {
        return PathBuf::from(named);
    }
    let own = std::env::current_exe().expect("a running program has a path");
    // target/PROFILE/deps/it-HASH, or target/PROFILE/bench-launcher.
    let profile =
        own.ancestors().skip(1).find(|dir| !dir.ends_with("deps")).unwrap_or_else(|| Path::new("."));
    let beside = profile.parent().unwrap_or(profile);
    [profile.join("wharf"), beside.join("debug/wharf"), beside.join("release/wharf")]
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("no wharf beside {}: run `cargo build`, or set WHARF_BIN", own.display()))
}

/// The `wharf-monitor` that a launcher wrote below its data directory.
pub fn monitor(data: &Path) -> Option<PathBuf> {
    std::fs::read_dir(data.join("monitor"))
        .ok()?
        .flatten()
        .map(|entry| entry.path().join("wharf-monitor"))
        .find(|path| path.is_file())
}
