//! The stage of a rehearsed call: answers out of a case, withholds everything, or watches what really runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use regex::Regex;
use serde_json::Value;

use super::case::Mock;
use crate::stage::{Reply, Stage, Step};

/// Most bytes of a document that are kept.
const DOCUMENT_MAX: u64 = 4 << 20;
/// Most things that are said of commands nobody expected.
const FAULTS_MAX: usize = 20;

/// What a rehearsed call does with the commands of its hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Exactly these, in this order or in any.
    Strict { mocks: Vec<Mock>, unordered: bool },
    /// The answer of the command that is most alike, or one that goes on: for looking at what a hook would do.
    Lenient(Vec<Mock>),
    /// Nothing runs, and every command answers empty, with status 0.
    Withhold,
    /// Everything runs.
    Watch,
}

/// A command that was not expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unexpected {
    /// What came.
    pub(crate) got: Step,
    /// What had its turn.
    pub(crate) wanted: Option<Mock>,
}

/// What a rehearsed call did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Commands and calls of modules, in order, with their answers.
    pub(crate) steps: Vec<(Step, Reply)>,
    /// Documents by name.
    pub(crate) documents: BTreeMap<String, Vec<u8>>,
    /// What the hook answered, before it was validated.
    pub(crate) answer: Option<Value>,
    /// Commands that were not expected.
    pub(crate) unexpected: Vec<Unexpected>,
    /// Which expected commands came.
    used: Vec<bool>,
    slept: Duration,
}

impl Seen {
    /// Expected commands that did not come.
    pub(crate) fn missing<'a>(&self, mocks: &'a [Mock]) -> Vec<&'a Mock> {
        mocks
            .iter()
            .enumerate()
            .filter(|(at, _)| !self.used.get(*at).copied().unwrap_or(false))
            .map(|(_, mock)| mock)
            .collect()
    }
}

/// Paths of this run, and how a case spells them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Vec<(Spelling, String)>);

#[derive(Debug, Clone)]
enum Spelling {
    Plain(String),
    Pattern(Regex),
}

impl Names {
    pub(crate) fn plain(&mut self, here: &Path, spelled: &str) {
        self.0.push((Spelling::Plain(here.display().to_string()), spelled.to_owned()));
    }

    /// A directory with names that nobody can foresee.
    pub(crate) fn below(&mut self, here: &Path, pattern: &str, spelled: &str) {
        let pattern = format!("{}/{pattern}", regex::escape(&here.display().to_string()));
        if let Ok(pattern) = Regex::new(&pattern) {
            self.0.push((Spelling::Pattern(pattern), spelled.to_owned()));
        }
    }

    /// A text as cases spell it.
    pub(crate) fn spell(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (spelling, spelled)| match spelling {
            Spelling::Plain(here) if text.contains(here.as_str()) => text.replace(here.as_str(), spelled),
            Spelling::Plain(_) => text,
            Spelling::Pattern(pattern) => pattern.replace_all(&text, regex::NoExpand(spelled)).into_owned(),
        })
    }

    fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        std::str::from_utf8(bytes).map_or_else(|_| bytes.to_vec(), |text| self.spell(text).into_bytes())
    }

    pub(crate) fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.spell(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(members) => {
                members.iter().map(|(name, value)| (self.spell(name), self.value(value))).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }
}

/// The stage of one call.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    mode: Mode,
    names: Names,
    /// The only path of executables; none lets them have their own.
    path: Option<PathBuf>,
    pinned: Option<f64>,
    seen: Mutex<Seen>,
}

impl Rehearsal {
    pub(crate) fn new(mode: Mode, names: Names, path: Option<PathBuf>, pinned: Option<f64>) -> Self {
        Self { mode, names, path, pinned, seen: Mutex::default() }
    }

    /// What happened until now.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn spelled(&self, step: &Step) -> Step {
        Step {
            argv: step.argv.iter().map(|word| self.names.spell(word)).collect(),
            stdin: self.names.bytes(&step.stdin),
            env: step.env.iter().map(|(name, value)| (name.clone(), self.names.spell(value))).collect(),
            effect: step.effect.clone(),
        }
    }
}

impl Seen {
    fn strict(&mut self, step: &Step, mocks: &[Mock], unordered: bool) -> Reply {
        self.used.resize(mocks.len(), false);
        let open: Vec<usize> =
            self.used.iter().enumerate().filter(|(_, used)| !**used).map(|(at, _)| at).collect();
        let mut open = open.into_iter();
        let found = if unordered {
            open.clone().find(|at| mocks.get(*at).is_some_and(|mock| matches(mock, step)))
        } else {
            open.clone().next().filter(|at| mocks.get(*at).is_some_and(|mock| matches(mock, step)))
        };
        if let Some(at) = found
            && let (Some(used), Some(mock)) = (self.used.get_mut(at), mocks.get(at))
        {
            *used = true;
            return reply(mock);
        }
        let wanted = open.next().and_then(|at| mocks.get(at)).cloned();
        if self.unexpected.len() < FAULTS_MAX {
            self.unexpected.push(Unexpected { got: step.clone(), wanted });
        }
        Reply {
            status: 97,
            stderr: format!("{}: this case does not expect it", step.argv.first().map_or("", String::as_str))
                .into_bytes(),
            ..Reply::default()
        }
    }

    fn lenient(&mut self, step: &Step, mocks: &[Mock]) -> Reply {
        self.used.resize(mocks.len(), false);
        let same = |at: &usize| mocks.get(*at).is_some_and(|mock| mock.argv.first() == step.argv.first());
        let all: Vec<usize> = (0..mocks.len()).collect();
        let exact = |at: &&usize| mocks.get(**at).is_some_and(|mock| matches(mock, step));
        let free = |at: &&usize| !self.used.get(**at).copied().unwrap_or(true);
        let at = all
            .iter()
            .find(|at| exact(at) && free(at))
            .or_else(|| all.iter().find(|at| same(at) && free(at)))
            .or_else(|| all.iter().rfind(|at| same(at)))
            .copied();
        let Some((at, mock)) = at.and_then(|at| Some((at, mocks.get(at)?))) else {
            return plausible(step);
        };
        if let Some(used) = self.used.get_mut(at) {
            *used = true;
        }
        reply(mock)
    }
}

/// An answer with which most hooks go on.
fn plausible(step: &Step) -> Reply {
    let job = super::request::JOB;
    let module = step.argv.len() == 2 && step.argv[0].contains('.') && step.argv[1].starts_with('{');
    let stdout = match (module, step.effect.as_str()) {
        (true, "write") => format!("{{\"job_id\":\"{job}\"}}"),
        (true, _) => "{}".to_owned(),
        (false, _) => format!("{job}\n"),
    };
    Reply { stdout: stdout.into_bytes(), ..Reply::default() }
}

fn reply(mock: &Mock) -> Reply {
    Reply {
        status: mock.status,
        signal: mock.signal,
        stdout: mock.stdout.clone().into_bytes(),
        stderr: mock.stderr.clone().into_bytes(),
        kind: mock.kind,
    }
}

/// Whether a command is the one that a case expects.
pub(crate) fn matches(mock: &Mock, step: &Step) -> bool {
    let words = mock.argv == step.argv || module_call(&mock.argv, &step.argv);
    let stdin = mock.stdin.as_ref().is_none_or(|stdin| stdin.as_bytes() == step.stdin);
    let env = mock.env.iter().all(|(name, value)| step.env.get(name) == Some(value));
    words && stdin && env
}

/// Calls of modules are the same when their arguments are, however they are written.
fn module_call(mock: &[String], step: &[String]) -> bool {
    let ([mock, mocked], [name, given]) = (mock, step) else { return false };
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
    match (parse(mocked), parse(given)) {
        (Some(mocked), Some(given)) => mock == name && name.contains('.') && same(&mocked, &given),
        (_, _) => false,
    }
}

/// Whether two values say the same; Lua knows one empty table, and TOML no nothing.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    let empty = |value: &Value| match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(Value::is_null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let names = a.keys().chain(b.keys());
            let null = Value::Null;
            names.into_iter().all(|name| same(a.get(name).unwrap_or(&null), b.get(name).unwrap_or(&null)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (a, b) => a == b || empty(a) && empty(b),
    }
}

impl Stage for Rehearsal {
    fn step(&self, step: &Step) -> Option<Reply> {
        let step = self.spelled(step);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let reply = match &self.mode {
            Mode::Strict { mocks, unordered } => seen.strict(&step, mocks, *unordered),
            Mode::Lenient(mocks) => seen.lenient(&step, mocks),
            Mode::Withhold => Reply::default(),
            Mode::Watch => return None,
        };
        seen.steps.push((step, reply.clone()));
        Some(reply)
    }

    fn ended(&self, step: &Step, reply: &Reply) {
        let step = self.spelled(step);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).steps.push((step, reply.clone()));
    }

    fn document(&self, name: &str, bytes: &[u8]) {
        let bytes = self.names.bytes(bytes);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.documents.insert(name.to_owned(), bytes);
    }

    fn directory(&self, dir: &Path) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let small = entry.metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= DOCUMENT_MAX);
            if small && let Ok(bytes) = std::fs::read(entry.path()) {
                self.document(&entry.file_name().to_string_lossy(), &bytes);
            }
        }
    }

    fn answered(&self, answer: &Value) {
        let answer = self.names.value(answer);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).answer = Some(answer);
    }

    fn now(&self) -> Option<f64> {
        let slept = self.seen.lock().unwrap_or_else(PoisonError::into_inner).slept;
        self.pinned.map(|pinned| pinned + slept.as_secs_f64())
    }

    fn slept(&self, time: Duration) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).slept += time;
        self.mode != Mode::Watch
    }

    fn secret(&self, name: &str) -> Option<String> {
        (self.mode != Mode::Watch).then(|| format!("secret-{name}"))
    }

    fn environment(&self, env: &mut BTreeMap<String, String>) {
        if let Some(path) = &self.path {
            env.insert("PATH".to_owned(), path.display().to_string());
        }
    }
}
