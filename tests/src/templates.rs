//! Templates of schedulers that do what a test orders: work, hang, lie, lose answers, print rubbish.
//!
//! Hooks are executables in sh. Each writes into the journal that it was called, so that a test can
//! count; the ready-made bodies below keep there what was submitted, so that "exactly one job" can be
//! seen. A queued job starts when the test says so ([`crate::Launcher::start_queued`]).
//!
//! ```text
//! journal/calls   HOOK ID            one line a call
//! journal/jobs    ID JOB             one line a job that was started
//! journal/queue   ID JOB MON FILE    one line a job that waits for the test
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// `submit`: starts the job and answers its id.
pub const RUN: &str = "run_job; echo \"$job\"";
/// `submit`: keeps the job for later and answers its id.
pub const QUEUE: &str = "queue_job; echo \"$job\"";
/// `terminate`: ends what carries the session's id, without mercy.
pub const END: &str = "end_job";
/// Any hook: does not come back.
pub const HANG: &str = "sleep 1000";
/// `find`: answers from the journal, `false` for what is not in it.
pub const FIND: &str = r#"out=
for s in $(ask '"id":"[a-z0-9]\{20\}"'); do
  j=$(cat "$J/jobs" "$J/queue" 2>/dev/null | grep "^$s " | head -n 1 | cut -d' ' -f2)
  if [ -n "$j" ]; then v="\"$j\""; else v=false; fi
  out="$out${out:+,}\"$s\":$v"
done
printf '{"result":{%s}}\n' "$out""#;
/// `status`: a process is running or gone, a job that waits is queued.
pub const STATUS: &str = r#"out=
for j in $(ask '"job_id":"[^"]*"'); do
  case $j in
    q-*) v=queued ;;
    *) if kill -0 "${j%%:*}" 2>/dev/null && ! grep -q '^State:.Z' "/proc/${j%%:*}/status"; then v=running; else v=gone; fi ;;
  esac
  out="$out${out:+,}\"$j\":{\"state\":\"$v\"}"
done
printf '{"result":{%s}}\n' "$out""#;

const PRELUDE: &str = r#"#!/bin/sh
J='@JOURNAL@'
hook=@HOOK@
req=$(cat)
id=${WHARF_SESSION_ID:-}
echo "$hook $id" >> "$J/calls"
ask() { printf '%s' "$req" | grep -o "$1" | cut -d'"' -f4; }
monitor() {
  printf '%s' "$req" | sed -n 's/.*"argv":\["\([^"]*\)","run","--bootstrap","\([^"]*\)"\].*/\1 \2/p'
}
run_job() {
  set -- $(monitor)
  job=$("$1" run --detach --bootstrap "$2") || exit 1
  echo "$id $job" >> "$J/jobs"
}
queue_job() {
  job="q-$id"
  echo "$id $job $(monitor)" >> "$J/queue"
}
end_job() {
  [ -n "$id" ] || exit 1
  for f in $(grep -lsz "^WHARF_SESSION_ID=$id\$" /proc/[0-9]*/environ; grep -lsz -- "$id" /proc/[0-9]*/cmdline); do
    d=${f%/*}
    if ! grep -qsz '^WHARF_HOOK=' "$d/environ"; then kill -9 "${d#/proc/}" 2>/dev/null; fi
  done
  true
}
"#;

/// A template to be written into a launcher's directory.
#[derive(Debug, Clone)]
pub struct Template {
    name: String,
    toml: String,
    hooks: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
}

impl Template {
    /// An empty one of the shell backend, asked about its jobs every second.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), toml: String::new(), hooks: BTreeMap::new(), files: BTreeMap::new() }
    }

    /// One that works: starts its jobs at once, finds them, knows their state, ends them.
    pub fn working(name: &str) -> Self {
        Self::new(name)
            .hook("submit", RUN)
            .hook("find", FIND)
            .hook("status", STATUS)
            .hook("terminate", END)
            .toml("[command]\ndefault = [\"sleep\", \"1000\"]\n")
    }

    /// One whose jobs wait until the test starts them.
    pub fn queueing(name: &str) -> Self {
        Self::working(name).hook("submit", QUEUE)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Appends to `template.toml`.
    #[must_use]
    pub fn toml(mut self, text: &str) -> Self {
        self.toml.push_str(text);
        self.toml.push('\n');
        self
    }

    /// Sets one executable hook's body, in sh.
    #[must_use]
    pub fn hook(mut self, name: &str, body: &str) -> Self {
        self.hooks.insert(name.to_owned(), body.to_owned());
        self
    }

    /// Leaves out a hook.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.hooks.remove(name);
        self
    }

    /// Sets a file as it stands, such as `hooks.lua`.
    #[must_use]
    pub fn file(mut self, name: &str, content: &str) -> Self {
        self.files.insert(name.to_owned(), content.to_owned());
        self
    }

    /// Writes it below that directory.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, below: &Path, journal: &Path) -> PathBuf {
        let directory = below.join(&self.name);
        let hooks = directory.join("hooks");
        make(&directory);
        if !self.hooks.is_empty() {
            make(&hooks);
        }
        let timeouts = if self.toml.contains("[timeouts]") {
            ""
        } else {
            "[timeouts]\npoll = \"1s\"\nsettle = \"2s\"\nsubmit = \"10s\"\nterminate = \"5s\"\n"
        };
        let head = if self.toml.contains("api =") { "" } else { "api = 1\nbackend = \"shell\"\n" };
        put(&directory.join("template.toml"), &format!("{head}{}{timeouts}", self.toml), 0o600);
        for (name, body) in &self.hooks {
            let prelude = PRELUDE.replace("@JOURNAL@", &journal.to_string_lossy()).replace("@HOOK@", name);
            put(&hooks.join(name), &format!("{prelude}{body}\n"), 0o700);
        }
        for (name, content) in &self.files {
            let path = directory.join(name);
            make(path.parent().unwrap_or(&directory));
            put(&path, content, 0o600);
        }
        directory
    }
}

fn make(directory: &Path) {
    fs::create_dir_all(directory).expect("the test's own directory takes directories");
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).expect("it is ours");
}

/// Written whole, then renamed: a launcher that reads at the same moment sees one or the other.
fn put(path: &Path, content: &str, mode: u32) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, content).expect("the test's own directory takes files");
    fs::set_permissions(&fresh, fs::Permissions::from_mode(mode)).expect("it is ours");
    fs::rename(&fresh, path).expect("the test's own directory takes files");
}

#[cfg(test)]
mod tests;
