//! From a directory to a version of a template that can run.
//!
//! ```text
//! directory ─ files (who may write? what is in it?) ─ node (TOML with lines) ─ overlay over `extends`
//!           ─ manifest (every mistake a finding) ─ hooks (Lua table, executables) ─▶ Version, or findings
//! ```
//!
//! A version never changes: what runs on it goes on with it. Which version serves is the catalogue's business.

pub(crate) mod catalog;
mod endpoint;
pub(crate) mod files;
pub(crate) mod manifest;
pub(crate) mod node;
mod param;
pub(crate) mod section;
mod wide;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wharf_core::hook::Hook;
use wharf_core::template::Template;
use wharf_protocol::template::{Finding, Severity};

use crate::lua::render::Documents;
pub(crate) use endpoint::is_name;
use files::Files;
use manifest::RunRules;
use node::Node;
pub(crate) use section::closest;

/// One template as it was at one moment, ready to run.
#[derive(Debug)]
pub(crate) struct Version {
    /// What the core knows.
    pub(crate) template: Arc<Template>,
    /// What only the runtime knows.
    pub(crate) run: RunRules,
    /// Its own files first, then those of what it extends.
    pub(crate) levels: Arc<Vec<Level>>,
    /// Who answers each hook: the first level that has it.
    pub(crate) hooks: BTreeMap<Hook, usize>,
    /// Warnings that came with it.
    pub(crate) findings: Vec<Finding>,
}

/// One template of a chain of overlays.
#[derive(Debug, Clone)]
pub(crate) struct Level {
    /// Its name, for messages.
    pub(crate) name: String,
    /// Its files.
    pub(crate) files: Arc<Files>,
    /// SHA-256 of them.
    pub(crate) hash: String,
    /// Hooks that its Lua table has.
    pub(crate) lua: Vec<Hook>,
    /// Hooks that are executables: file relative to the template.
    pub(crate) executables: BTreeMap<Hook, String>,
    /// Its documents.
    pub(crate) documents: Arc<Documents>,
}

impl Level {
    /// Whether it answers that hook.
    pub(crate) fn has(&self, hook: Hook) -> bool {
        self.lua.contains(&hook) || self.executables.contains_key(&hook)
    }
}

/// Finds the files that `extends` names; `None` when there is no such template.
pub(crate) type Resolve<'a> = &'a dyn Fn(&str, usize) -> Option<Result<Files, Vec<Finding>>>;

/// Most overlays on top of each other.
const LEVELS_MAX: usize = 8;

/// Builds a version out of files, or says everything that is wrong with them.
pub(crate) fn build(name: &str, files: Files, resolve: Resolve<'_>) -> Result<Version, Vec<Finding>> {
    let mut out = Vec::new();
    let mut chain = vec![(name.to_owned(), files)];
    let mut trees = Vec::new();
    while let Some((name, files)) = chain.last() {
        let depth = chain.len();
        let tree = tree(files, &mut out);
        let below = tree.as_ref().and_then(manifest::extends).map(str::to_owned);
        trees.push(tree);
        let Some(below) = below else { break };
        let why = if depth >= LEVELS_MAX {
            format!("`extends` goes round in a circle, or over more than {LEVELS_MAX} templates")
        } else {
            // A template may extend the built-in one of its own name.
            let skip = chain.iter().filter(|(known, _)| *known == below).count();
            match resolve(&below, skip) {
                Some(Ok(files)) => {
                    chain.push((below, files));
                    continue;
                }
                Some(Err(findings)) => {
                    let first = findings.first().map_or(String::new(), |first| first.message.clone());
                    format!("`extends = \"{below}\"`: that template cannot be used: {first}")
                }
                None if skip > 0 => "`extends` goes round in a circle".to_owned(),
                None => format!("`extends = \"{below}\"`: there is no such template"),
            }
        };
        out.push(problem(name, "extends", why));
        break;
    }
    let merged = trees.into_iter().rev().flatten().reduce(Node::overlay);
    let Some(merged) = merged else { return Err(out) };
    let mut manifest = manifest::read(name, &merged, &mut out);
    let levels: Vec<_> = chain
        .into_iter()
        .enumerate()
        .map(|(index, (name, files))| level(name, files, index == 0, &mut out))
        .collect();
    let mut hooks = BTreeMap::new();
    for hook in Hook::ALL {
        if let Some(index) = levels.iter().position(|level| level.has(hook)) {
            hooks.insert(hook, index);
        }
    }
    for hook in [Hook::Submit, Hook::Terminate] {
        // A table that could not be read says enough.
        let unread = out.iter().any(|finding| finding.code.starts_with("lua"));
        if !hooks.contains_key(&hook) && !unread {
            let word = hook.as_str();
            out.push(Finding {
                file: "template.toml".to_owned(),
                line: None,
                severity: Severity::Error,
                code: "missing_hook".to_owned(),
                message: format!(
                    "there is no `{word}` hook: add it to hooks.lua, or an executable hooks/{word}"
                ),
            });
        }
    }
    if out.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(out);
    }
    manifest.template.hooks = hooks.keys().copied().collect();
    manifest.template.version = levels
        .first()
        .filter(|_| levels.len() == 1)
        .map_or_else(|| chain_hash(&levels), |level| level.hash.clone());
    Ok(Version {
        template: Arc::new(manifest.template),
        run: manifest.run,
        levels: Arc::new(levels),
        hooks,
        findings: out,
    })
}

fn chain_hash(levels: &[Level]) -> String {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    for level in levels {
        hash.update(&level.hash);
    }
    files::hex(&hash.finalize())
}

fn problem(file: &str, code: &str, message: String) -> Finding {
    let file = if file.contains('.') || file.contains('/') { file } else { "template.toml" };
    Finding { file: file.to_owned(), line: None, severity: Severity::Error, code: code.to_owned(), message }
}

fn tree(files: &Files, out: &mut Vec<Finding>) -> Option<Node> {
    let Some(file) = files.files.get("template.toml") else {
        out.push(problem("template.toml", "missing", "there is no template.toml".to_owned()));
        return None;
    };
    let Ok(text) = std::str::from_utf8(&file.bytes) else {
        out.push(problem("template.toml", "syntax", "template.toml is not UTF-8".to_owned()));
        return None;
    };
    let (node, mut findings) = Node::parse("template.toml", text);
    let broken = !findings.is_empty();
    out.append(&mut findings);
    (!broken).then_some(node)
}

fn level(name: String, files: Files, own: bool, out: &mut Vec<Finding>) -> Level {
    let mut found = Vec::new();
    let mut executables = BTreeMap::new();
    for (path, file) in &files.files {
        let Some(word) = path.strip_prefix("hooks/") else { continue };
        // Files beside the hooks may be their libraries: only what is executable has to be a hook.
        match hook_of(word) {
            Some(_) if !file.executable => {
                found.push(problem(path, "not_executable", format!("{path} is not executable: chmod +x it")));
            }
            Some(hook) => {
                if !file.bytes.starts_with(b"#!") && !file.bytes.starts_with(b"\x7fELF") {
                    let message = "the first line names no interpreter: begin with #!/bin/sh or another one";
                    found.push(problem(path, "no_interpreter", message.to_owned()));
                }
                executables.insert(hook, path.clone());
            }
            None if file.executable && !word.contains('/') && !word.contains('.') => {
                found.push(problem(path, "unknown_hook", unknown_hook(word)));
            }
            None => {}
        }
    }
    let lua = match crate::lua::hooks_of(&files, &mut found) {
        Some(words) => words
            .iter()
            .filter_map(|word| {
                let hook = hook_of(word);
                if hook.is_none() {
                    found.push(problem("hooks.lua", "unknown_hook", unknown_hook(word)));
                }
                hook
            })
            .collect(),
        None => Vec::new(),
    };
    for hook in &lua {
        if executables.contains_key(hook) {
            let word = hook.as_str();
            let message = format!("`{word}` is both in hooks.lua and an executable hooks/{word}: keep one");
            found.push(problem("hooks.lua", "two_hooks", message));
        }
    }
    // What is wrong with a template below is that template's own finding, but it cannot be used either way.
    if !own {
        for finding in &mut found {
            finding.file = format!("{name}/{}", finding.file);
        }
    }
    out.append(&mut found);
    let hash = files.hash();
    Level { name, files: Arc::new(files), hash, lua, executables, documents: Arc::default() }
}

pub(crate) fn hook_of(word: &str) -> Option<Hook> {
    Hook::ALL.into_iter().find(|hook| hook.as_str() == word)
}

pub(crate) fn unknown_hook(word: &str) -> String {
    let hint = section::closest(word, Hook::ALL.into_iter().map(Hook::as_str))
        .map_or_else(|| "see the list of hooks".to_owned(), |near| format!("did you mean `{near}`?"));
    format!("`{word}` is no hook; {hint}")
}

/// Reads and builds the template in a directory.
pub(crate) fn directory(dir: &Path, name: &str, resolve: Resolve<'_>) -> Result<Version, Vec<Finding>> {
    build(name, read_directory(dir)?, resolve)
}

/// Reads the template in a directory.
pub(crate) fn read_directory(dir: &Path) -> Result<Files, Vec<Finding>> {
    let mut out = Vec::new();
    let Some((real, handle)) = files::open(dir, &mut out) else { return Err(out) };
    let files = files::read(&real, &handle, &mut out);
    if out.is_empty() { Ok(files) } else { Err(out) }
}

/// Where a file of a level can be executed from: in place while all is what was checked, else a private copy.
pub(crate) fn place(level: &Level, file: &str, copies: &Path) -> std::io::Result<PathBuf> {
    let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
    if !level.files.files.contains_key(file) {
        return Err(missing());
    }
    // All of them: a hook may read what lies beside it.
    let unchanged = |dir: &Path| {
        level.files.files.iter().all(|(name, content)| {
            content.stamp.is_some() && files::Stamp::now(&dir.join(name)) == content.stamp
        })
    };
    if let Some(dir) = level.files.dir.as_deref().filter(|dir| unchanged(dir)) {
        return Ok(dir.join(file));
    }
    let root = copies.join(&level.hash);
    if !root.is_dir() {
        write_copy(level, copies, &root)?;
    }
    Ok(root.join(file))
}

fn write_copy(level: &Level, copies: &Path, root: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let mut dirs = std::fs::DirBuilder::new();
    dirs.recursive(true).mode(0o700);
    dirs.create(copies)?;
    let fresh = tempfile::Builder::new().prefix(".new-").tempdir_in(copies)?;
    for (name, file) in &level.files.files {
        let path = fresh.path().join(name);
        if let Some(parent) = path.parent() {
            dirs.create(parent)?;
        }
        let mode = if file.executable { 0o700 } else { 0o600 };
        let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
        std::io::Write::write_all(&mut out, &file.bytes)?;
        out.sync_all()?;
    }
    let fresh = fresh.keep();
    match std::fs::rename(&fresh, root) {
        // Somebody else was faster with the same content.
        Err(_) if root.is_dir() => std::fs::remove_dir_all(&fresh),
        done => done,
    }
}
