//! What every tree must keep to, looked at as a whole: all findings at once, each with its place.
//!
//! Must not change anything. One module per kind of rule:
//! [`arrows`] who may depend on whom · [`code`] what a Rust file may hold · [`pages`] a page for each error code ·
//! [`supply`] licences and sources of what we build on.

mod arrows;
mod code;
mod pages;
mod supply;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cargo_metadata::MetadataCommand;

/// Something that is against a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Fault {
    /// The file, below the workspace.
    path: String,
    /// The line, from 1.
    line: usize,
    message: String,
}

/// Something to tidy, as one line for people.
#[derive(Debug)]
pub(crate) struct Finding(Fault);

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.0.path, self.0.line, self.0.message)
    }
}

impl Fault {
    fn new(path: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.into(), line, message: message.into() }
    }
}

/// Looks at everything.
///
/// # Errors
/// When it cannot look: no `cargo metadata`, an unreadable file.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        // What is only built elsewhere need not be fetched to be judged: the lock file names its source.
        .other_options(["--locked", "--filter-platform", "x86_64-unknown-linux-gnu"].map(str::to_owned))
        .exec()
        .context("cargo metadata")?;
    let mut faults = arrows::check(&metadata, root)?;
    faults.extend(code::check(root)?);
    faults.extend(pages::check(root)?);
    faults.extend(supply::check(&metadata, root)?);
    faults.sort();
    faults.dedup();
    Ok(faults.into_iter().map(Finding).collect())
}

/// All files of that ending, below `root`, in order; nothing built and nothing hidden.
fn files(root: &Path, ending: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        let entries = std::fs::read_dir(&dir).with_context(|| dir.display().to_string())?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let kind = entry.file_type()?;
            if name.starts_with('.') || name == "target" || name == "node_modules" {
                continue;
            }
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() && entry.path().extension().is_some_and(|found| found == ending) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The path below the workspace, as findings show it.
fn below(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

/// The line, from 1, of the first one that holds that text.
fn line_of(text: &str, part: &str) -> usize {
    text.lines().position(|line| line.contains(part)).map_or(1, |at| at + 1)
}
