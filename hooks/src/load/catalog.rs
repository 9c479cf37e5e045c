//! Which templates there are, which version of each serves, and what happened at the last reload.
//!
//! `--templates` directories come first and replace a built-in template of the same name as a whole. A reload that
//! fails keeps the last good version. Nothing is read when no stamp has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use wharf_core::template::Entry;
use wharf_protocol::template::{Finding, Severity, TemplateState};

use super::endpoint::is_name;
use super::files::{self, File, Files, Signature};
use super::{Version, build, read_directory};
use crate::builtin::BuiltinFile;

/// All templates.
#[derive(Debug)]
pub(crate) struct Shelf {
    dirs: Vec<PathBuf>,
    builtin: BTreeMap<String, Files>,
    slots: RwLock<BTreeMap<String, Slot>>,
    reloading: Mutex<()>,
    /// Directories that could not be listed at the last reload: told once.
    unlisted: Mutex<BTreeSet<PathBuf>>,
    /// When a start found nothing new, by name.
    looked: Mutex<BTreeMap<String, Instant>>,
    /// All directories are on this host.
    near: bool,
}

/// How long the look of a start serves the hooks that it leads to.
const LOOKED: Duration = Duration::from_millis(20);

/// The origin of a template whose directory is not there any more.
const GONE: &str = "gone";

/// One template.
#[derive(Debug, Clone)]
struct Slot {
    origin: String,
    /// What the files looked like when they were last read.
    seen: Option<Seen>,
    /// Directories and names that its version was made of, for a reload of what it extends.
    state: TemplateState,
    findings: Vec<Finding>,
    good: Option<Arc<Version>>,
    /// Looking at its files is quick: they are built in, or on this host.
    near: bool,
}

/// What a template's files looked like; equal means nothing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// Refusals by the permission checks.
    refused: Vec<Finding>,
    signature: Signature,
}

impl Shelf {
    /// Reads everything for the first time.
    pub(crate) fn new(dirs: Vec<PathBuf>, builtin: &'static [BuiltinFile]) -> Self {
        let mut own: BTreeMap<String, Files> = BTreeMap::new();
        for (path, bytes, executable) in builtin {
            if let Some((name, file)) = path.split_once('/') {
                let file_entry = File { bytes: bytes.to_vec(), executable: *executable, stamp: None };
                own.entry(name.to_owned()).or_default().files.insert(file.to_owned(), file_entry);
            }
        }
        let near = !dirs.iter().any(|dir| wharf_core::filesystem::is_network(dir));
        let shelf = Self {
            near,
            dirs,
            builtin: own,
            slots: RwLock::default(),
            reloading: Mutex::default(),
            unlisted: Mutex::default(),
            looked: Mutex::default(),
        };
        shelf.reload();
        shelf
    }

    /// The version that serves.
    pub(crate) fn version(&self, name: &str) -> Option<Arc<Version>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).get(name)?.good.clone()
    }

    /// Why a template does not serve.
    pub(crate) fn entry(&self, name: &str) -> Option<Entry> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(name).map(|slot| slot.entry(name))
    }

    /// All of them.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.iter().map(|(name, slot)| slot.entry(name)).collect()
    }

    /// Whether looking at the files of that template, and of those it extends, is quick.
    pub(crate) fn is_near(&self, name: &str) -> bool {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        chain(&slots, name).all(|slot| slot.near)
    }

    /// Whether the files of that template, or of one it extends, look different.
    pub(crate) fn has_changed(&self, name: &str) -> bool {
        let seen: Vec<_> = {
            let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
            chain(&slots, name)
                .filter_map(|slot| slot.seen.clone().map(|seen| (PathBuf::from(&slot.origin), seen)))
                .collect()
        };
        seen.into_iter().any(|(dir, seen)| look(&dir) != seen)
    }

    /// Whether a reload would change nothing of that template, as far as can be told without blocking.
    pub(crate) fn is_current(&self, name: &str) -> bool {
        let here = {
            let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
            // What is missing or broken may lack a template that has turned up since.
            let good = |slot: &Slot| matches!(slot.state, TemplateState::Ok | TemplateState::Disabled);
            if !self.near || !slots.get(name).is_some_and(good) {
                return false;
            }
            chain(&slots, name).all(|slot| slot.near)
                && levels(&slots, name).all(|level| {
                    slots.get(level).is_some_and(|slot| slot.origin == origin(self.place(level).as_deref()))
                })
        };
        let began = Instant::now();
        let current = here && !self.has_changed(name);
        if current {
            self.looked().insert(name.to_owned(), began);
        }
        current
    }

    /// Whether a start has looked at that template a moment ago, and found nothing new.
    pub(crate) fn was_looked_at(&self, name: &str) -> bool {
        self.looked().get(name).is_some_and(|at| at.elapsed() < LOOKED)
    }

    fn looked(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory of a template: the first one wins; none for one that is built in or not there.
    fn place(&self, name: &str) -> Option<PathBuf> {
        self.dirs.iter().map(|dir| dir.join(name)).find(|dir| dir.is_dir())
    }

    /// Reads again what has changed, if that template has.
    pub(crate) fn refresh(&self, name: &str) {
        if self.has_changed(name) {
            self.reload();
        }
    }

    fn places(&self) -> BTreeMap<String, Option<PathBuf>> {
        let mut places: BTreeMap<String, Option<PathBuf>> = BTreeMap::new();
        for dir in &self.dirs {
            let mut unlisted = self.unlisted.lock().unwrap_or_else(PoisonError::into_inner);
            let Ok(entries) = std::fs::read_dir(dir) else {
                if unlisted.insert(dir.clone()) {
                    tracing::warn!(dir = %dir.display(), "the directory of templates cannot be listed");
                }
                continue;
            };
            unlisted.remove(dir);
            drop(unlisted);
            for entry in entries.flatten() {
                let Ok(name) = entry.file_name().into_string() else { continue };
                if is_name(&name) && entry.path().is_dir() {
                    // The first directory that has it wins.
                    places.entry(name).or_insert_with(|| Some(entry.path()));
                }
            }
        }
        for name in self.builtin.keys() {
            places.entry(name.clone()).or_insert(None);
        }
        places
    }

    /// Files of a template for `extends`: the one that serves, or, `skip` times, the next in line.
    fn resolve(&self, name: &str, skip: usize) -> Option<Result<Files, Vec<Finding>>> {
        let dirs = self.dirs.iter().map(|dir| dir.join(name)).filter(|dir| is_name(name) && dir.is_dir());
        let mut found = dirs.map(Some).chain(self.builtin.contains_key(name).then_some(None)).skip(skip);
        match found.next()? {
            Some(dir) => Some(read_directory(&dir)),
            None => self.builtin.get(name).cloned().map(Ok),
        }
    }

    /// Builds the template in any directory, with `extends` as the catalogue knows it.
    pub(crate) fn try_directory(&self, dir: &Path, name: &str) -> Result<Version, Vec<Finding>> {
        super::directory(dir, name, &|name, skip| self.resolve(name, skip))
    }

    /// Files of a shipped template.
    pub(crate) fn builtin_files(&self, name: &str) -> Option<&Files> {
        self.builtin.get(name)
    }

    /// Builds a template out of files that are in memory already.
    pub(crate) fn try_files(&self, name: &str, files: Files) -> Result<Version, Vec<Finding>> {
        build(name, files, &|name, skip| self.resolve(name, skip))
    }

    /// Reads what has changed.
    pub(crate) fn reload(&self) {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let places = self.places();
        let mut changed = BTreeMap::new();
        let before = self.slots.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut dirty: BTreeSet<String> = BTreeSet::new();
        for (name, place) in &places {
            let origin = origin(place.as_deref());
            let seen = place.as_ref().map(|dir| look(dir));
            let old = before.get(name);
            if old.is_none_or(|old| old.origin != origin || old.seen != seen) {
                dirty.insert(name.clone());
                changed.insert(name.clone(), (origin, seen));
            }
        }
        // What extends something that changed is made anew as well.
        for (name, slot) in &before {
            let Some(version) = &slot.good else { continue };
            let below = version.levels.iter().skip(1).any(|level| dirty.contains(&level.name));
            if below && places.contains_key(name) && !changed.contains_key(name) {
                changed.insert(name.clone(), (slot.origin.clone(), slot.seen.clone()));
            }
        }
        // A broken template may lack what it extends, which has turned up now.
        for (name, slot) in &before {
            let waits = slot.findings.iter().any(|finding| finding.code == "extends");
            if waits && !dirty.is_empty() && places.contains_key(name) {
                changed.entry(name.clone()).or_insert_with(|| (slot.origin.clone(), slot.seen.clone()));
            }
        }
        let mut fresh = BTreeMap::new();
        for (name, (origin, seen)) in changed {
            let place = places.get(&name).and_then(Option::as_ref);
            let made = match place {
                Some(dir) => super::directory(dir, &name, &|name, skip| self.resolve(name, skip)),
                None => {
                    let files = self.builtin.get(&name).cloned().unwrap_or_default();
                    build(&name, files, &|name, skip| self.resolve(name, skip))
                }
            };
            let old = before.get(&name);
            fresh.insert(name.clone(), Slot::new(&name, origin, seen, made, old));
        }
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.extend(fresh);
        // A template whose directory is gone still serves its sessions: it is stale until the launcher ends.
        for (name, slot) in slots.iter_mut().filter(|(name, _)| !places.contains_key(*name)) {
            if slot.origin != GONE {
                tracing::warn!(template = %name, "the template's directory is gone; the last good version serves");
            }
            slot.seen = None;
            slot.origin = GONE.to_owned();
            slot.state = if slot.good.is_some() { TemplateState::Stale } else { TemplateState::Broken };
            slot.findings = vec![Finding {
                file: ".".to_owned(),
                line: None,
                severity: Severity::Error,
                code: "gone".to_owned(),
                message: "the template's directory is gone".to_owned(),
            }];
        }
    }
}

fn origin(place: Option<&Path>) -> String {
    place.map_or_else(|| "builtin".to_owned(), |dir| dir.display().to_string())
}

/// The names of a template and of those it extends.
fn levels<'a>(slots: &'a BTreeMap<String, Slot>, name: &'a str) -> impl Iterator<Item = &'a str> {
    let good = slots.get(name).and_then(|slot| slot.good.as_ref());
    let below = good.into_iter().flat_map(|version| version.levels.iter().skip(1));
    std::iter::once(name).chain(below.map(|level| level.name.as_str()))
}

/// A template and those it extends.
fn chain<'a>(slots: &'a BTreeMap<String, Slot>, name: &'a str) -> impl Iterator<Item = &'a Slot> {
    levels(slots, name).filter_map(|name| slots.get(name))
}

fn look(dir: &Path) -> Seen {
    let mut refused = Vec::new();
    let signature =
        files::open(dir, &mut refused).map_or_else(Vec::new, |(_, handle)| files::signature(&handle));
    Seen { refused, signature }
}

impl Slot {
    fn new(
        name: &str,
        origin: String,
        seen: Option<Seen>,
        made: Result<Version, Vec<Finding>>,
        old: Option<&Self>,
    ) -> Self {
        let last = old.and_then(|old| old.good.clone());
        let near = seen.is_none() || !wharf_core::filesystem::is_network(Path::new(&origin));
        match made {
            Ok(version) => {
                let disabled = version.template.disabled.is_some();
                let state = if disabled { TemplateState::Disabled } else { TemplateState::Ok };
                let findings = version.findings.clone();
                Self { origin, seen, state, findings, good: Some(Arc::new(version)), near }
            }
            Err(findings) => {
                let first = findings.iter().find(|finding| finding.severity == Severity::Error);
                let first = first.map_or(String::new(), describe);
                let state = if last.is_some() { TemplateState::Stale } else { TemplateState::Broken };
                // Whoever saves again without having mended it does not want to be told again.
                if old.is_none_or(|old| old.state != state || old.findings != findings) {
                    tracing::warn!(template = %name, ?state, error = %first, "the template cannot be used as it is");
                }
                Self { origin, seen, state, findings, good: last, near }
            }
        }
    }

    fn entry(&self, name: &str) -> Entry {
        let message = match self.state {
            TemplateState::Ok => None,
            TemplateState::Disabled => {
                self.good.as_ref().and_then(|version| version.template.disabled.clone())
            }
            TemplateState::Stale | TemplateState::Broken => self.findings.first().map(describe),
        };
        Entry {
            name: name.to_owned(),
            state: self.state,
            origin: self.origin.clone(),
            message,
            findings: self.findings.clone(),
            template: self.good.as_ref().map(|version| Arc::clone(&version.template)),
        }
    }
}

/// A finding in one line.
pub(crate) fn describe(finding: &Finding) -> String {
    let line = finding.line.map_or(String::new(), |line| format!(":{line}"));
    format!("{}{line}: {}", finding.file, finding.message)
}
