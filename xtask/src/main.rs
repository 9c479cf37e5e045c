//! Chores of the workspace: `cargo xtask tidy`.
//!
//! No part of the product depends on this, and it builds nothing: it only looks. The rules are in [`tidy`];
//! `cargo test -p xtask` holds the tree to the same ones.

mod tidy;

use std::path::Path;
use std::process::ExitCode;

#[expect(clippy::print_stderr, reason = "its findings are what this program is for")]
fn main() -> anyhow::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words != ["tidy"] {
        eprintln!("usage: cargo xtask tidy");
        return Ok(ExitCode::from(2));
    }
    let findings = tidy::check(root())?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    if findings.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("{} to tidy", findings.len());
    Ok(ExitCode::FAILURE)
}

/// The workspace.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}
