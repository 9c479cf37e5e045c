//! What we build on: under licences that allow it, and from crates.io alone.
//!
//! Licences are those of what is built on Linux; sources are those of all that the lock file names.

use std::path::Path;

use anyhow::Context as _;
use cargo_metadata::Metadata;

use super::{Fault, line_of};

/// Licences that ask for no more than a notice.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
const LOCK: &str = "Cargo.lock";

pub(super) fn check(metadata: &Metadata, root: &Path) -> anyhow::Result<Vec<Fault>> {
    let text = std::fs::read_to_string(root.join(LOCK)).context(LOCK)?;
    let mut faults = sources(&text)?;
    for package in
        metadata.packages.iter().filter(|package| !metadata.workspace_members.contains(&package.id))
    {
        if let Some(message) = licence(package.license.as_deref()) {
            let line = line_of(&text, &format!("name = \"{}\"", package.name));
            faults.push(Fault::new(LOCK, line, format!("{} {}: {message}", package.name, package.version)));
        }
    }
    Ok(faults)
}

/// Why a licence is not acceptable.
pub(super) fn licence(words: Option<&str>) -> Option<String> {
    let Some(words) = words else { return Some("it names no licence".to_owned()) };
    match spdx::Expression::parse_mode(words, spdx::ParseMode::LAX) {
        Err(error) => Some(format!("its licence cannot be read: {}", error.reason)),
        Ok(expression) => {
            let allowed = expression
                .evaluate(|wanted| wanted.license.id().is_some_and(|id| LICENCES.contains(&id.name)));
            (!allowed).then(|| format!("its licence is not among ours: {words}"))
        }
    }
}

/// Packages that come from elsewhere.
pub(super) fn sources(lock: &str) -> anyhow::Result<Vec<Fault>> {
    let table: toml::Table = lock.parse().context(LOCK)?;
    let packages = table.get("package").and_then(toml::Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut faults = Vec::new();
    for package in packages {
        let word = |name: &str| package.get(name).and_then(toml::Value::as_str);
        let name = word("name").unwrap_or_default();
        // A member of the workspace has none.
        if let Some(source) = word("source").filter(|source| *source != CRATES_IO) {
            let line = line_of(lock, &format!("name = \"{name}\""));
            faults.push(Fault::new(LOCK, line, format!("{name} comes from {source}, not from crates.io")));
        }
    }
    Ok(faults)
}
