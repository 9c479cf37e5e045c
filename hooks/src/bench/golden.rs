//! Runs golden cases against mocked commands, says what differs, and writes expectations anew.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wharf_core::hook::{Hook, HookError};
use wharf_protocol::template::Finding;

use super::case::{self, Case, Expect, Mock};
use super::rehearsal::{self, Mode, Seen};
use super::request;
use super::{Attempt, Bench, BenchError};
use crate::stage::{Reply, Step};

/// What came of one case.
#[derive(Debug, Clone)]
pub struct CaseReport {
    /// Its file.
    pub file: String,
    /// The hook.
    pub hook: Hook,
    /// What differs from what it expects; empty when it passed.
    pub differences: Vec<String>,
    /// What the hook wrote to its log.
    pub log: String,
    /// How long it took.
    pub took: Duration,
}

impl CaseReport {
    /// Whether everything was as expected.
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

impl Bench {
    /// The template's golden cases, and what is wrong with those that cannot be read.
    pub fn cases(&self) -> (Vec<Case>, Vec<Finding>) {
        case::all(&self.files)
    }

    /// Runs one case: every command is mocked, and the clock stands still.
    ///
    /// # Errors
    /// The template cannot be used, or there is no room for the stand-ins.
    pub async fn test(&self, case: &Case) -> Result<CaseReport, BenchError> {
        let began = Instant::now();
        let mode = Mode::Strict { mocks: case.commands.clone(), unordered: case.unordered };
        let (outcome, seen, log) = self.play(case, mode).await?;
        let mut differences = commands(case, &seen);
        differences.extend(documents(case, &seen));
        differences.extend(verdict(&case.expect, &outcome));
        Ok(CaseReport { file: case.file.clone(), hook: case.hook, differences, log, took: began.elapsed() })
    }

    /// The case with its expectations as the hook fulfils them now; commands keep the answers that they have.
    ///
    /// # Errors
    /// As [`Bench::test`].
    pub async fn renewed(&self, case: &Case) -> Result<Case, BenchError> {
        let (outcome, seen, _) = self.play(case, Mode::Lenient(case.commands.clone())).await?;
        let mut renewed = case.clone();
        let with_stdin = case.commands.iter().any(|mock| mock.stdin.is_some());
        let with_env = case.commands.iter().any(|mock| !mock.env.is_empty());
        let executable = Self::is_executable(self.version()?, case.hook);
        renewed.commands = seen
            .steps
            .iter()
            .map(|(step, reply)| {
                let mut mock = mocked(step, reply, executable && !with_env);
                if !with_stdin && executable {
                    mock.stdin = mock.stdin.filter(|stdin| !stdin.is_empty());
                }
                if executable && with_env {
                    // Only those that the case already looks at.
                    let looked_at: std::collections::BTreeSet<&String> =
                        case.commands.iter().flat_map(|mock| mock.env.keys()).collect();
                    mock.env.retain(|name, _| looked_at.contains(name));
                }
                mock
            })
            .collect();
        renewed.files = if case.files.is_empty() { case.files.clone() } else { texts(&seen) };
        renewed.expect = expected(&case.expect, outcome);
        Ok(renewed)
    }

    async fn play(
        &self,
        case: &Case,
        mode: Mode,
    ) -> Result<(Result<Value, Value>, Seen, String), BenchError> {
        let version = self.version()?;
        let request = request::filled(case.hook, &version.template, &case.request);
        #[expect(clippy::cast_precision_loss, reason = "seconds with milliseconds fit a float")]
        let pinned = case.now.unwrap_or_else(request::now).millis() as f64 / 1000.0;
        let attempt =
            Attempt { hook: case.hook, request: &request, mode, pinned: Some(pinned), hermetic: true };
        let (run, seen) = self.attempt(attempt).await?;
        let log = run.trace.log.clone();
        // A log that a mocked scheduler names is not on this host.
        let path =
            case.hook == Hook::Logs && seen.answer.as_ref().is_some_and(|logs| logs["path"].is_string());
        let outcome = match (run.outcome, &seen.answer) {
            (Ok(_), Some(answer)) => Ok(answer.clone()),
            (Ok(_), None) => Ok(json!({})),
            (Err(_), Some(answer)) if path => Ok(answer.clone()),
            (Err(error), _) => Err(error_value(&error)),
        };
        Ok((outcome, seen, log))
    }
}

/// An error as documents have it.
pub(crate) fn error_value(error: &HookError) -> Value {
    let mut value = json!({ "kind": error.kind.as_str(), "message": error.message });
    let mut set = |name: &str, member: Option<Value>| {
        if let Some(member) = member {
            value[name] = member;
        }
    };
    set("hint", error.hint.clone().map(Value::from));
    set("field", error.field.clone().map(Value::from));
    set("retry_after", error.retry_after.map(|after| Value::from(wharf_protocol::Dur(after).to_string())));
    value
}

/// A command that was seen, as a case has it.
pub(crate) fn mocked(step: &Step, reply: &Reply, without_env: bool) -> Mock {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Mock {
        argv: step.argv.clone(),
        stdin: (!step.stdin.is_empty()).then(|| text(&step.stdin)),
        env: if without_env { std::collections::BTreeMap::new() } else { step.env.clone() },
        status: reply.status,
        signal: reply.signal,
        stdout: text(&reply.stdout),
        stderr: text(&reply.stderr),
        kind: reply.kind,
    }
}

/// Documents as texts.
pub(crate) fn texts(seen: &Seen) -> std::collections::BTreeMap<String, String> {
    let texts = seen.documents.iter();
    texts.map(|(name, bytes)| (name.clone(), String::from_utf8_lossy(bytes).into_owned())).collect()
}

/// The expectation that an outcome fulfils; of an error only what was looked at before.
pub(crate) fn expected(before: &Expect, outcome: Result<Value, Value>) -> Expect {
    match (outcome, before) {
        (Ok(result), _) => Expect::Result(result),
        (Err(error), Expect::Error(before)) => {
            let mut kept = error.clone();
            if let (Some(kept), Some(before)) = (kept.as_object_mut(), before.as_object()) {
                kept.retain(|name, _| before.contains_key(name));
            }
            Expect::Error(kept)
        }
        (Err(error), _) => Expect::Error(error),
    }
}

fn shown(words: &[String]) -> String {
    let words: Vec<String> = words
        .iter()
        .map(|word| {
            let plain = !word.is_empty()
                && word
                    .chars()
                    .all(|letter| letter.is_ascii_graphic() && !"'\"\\$`;&|<>(){}*?!#~".contains(letter));
            if plain {
                word.clone()
            } else {
                format!("'{}'", word.replace('\'', r"'\''").escape_debug().to_string().replace("\\'", "'"))
            }
        })
        .collect();
    words.join(" ")
}

fn commands(case: &Case, seen: &Seen) -> Vec<String> {
    let mut differences = Vec::new();
    for fault in &seen.unexpected {
        let got = shown(&fault.got.argv);
        match &fault.wanted {
            None => differences.push(format!("a command that is not expected:\n  + {got}")),
            Some(wanted) if wanted.argv.first() == fault.got.argv.first() => {
                differences.push(command(wanted, &fault.got));
            }
            Some(wanted) => {
                differences
                    .push(format!("another command was expected:\n  - {}\n  + {got}", shown(&wanted.argv)));
            }
        }
    }
    let missing = seen.missing(&case.commands);
    for mock in missing {
        // Said already beside the command that came in its place.
        let said = seen.unexpected.iter().any(|fault| fault.wanted.as_ref() == Some(mock));
        if !said {
            differences.push(format!("an expected command did not run:\n  - {}", shown(&mock.argv)));
        }
    }
    differences
}

/// What differs between two calls of one command.
fn command(wanted: &Mock, got: &Step) -> String {
    let mut lines = vec![format!("{} was called otherwise:", wanted.argv.first().map_or("", String::as_str))];
    let mut line = |what: &str, wanted: &str, got: &str| {
        lines.push(format!("  - {what}{wanted}"));
        lines.push(format!("  + {what}{got}"));
    };
    if wanted.argv != got.argv {
        let one = |words: &[String], at: usize| {
            words.get(at).map_or("(no word)".to_owned(), |word| shown(std::slice::from_ref(word)))
        };
        line("", &shown(&wanted.argv), &shown(&got.argv));
        let at = (0..).find(|at| wanted.argv.get(*at) != got.argv.get(*at)).unwrap_or(0);
        line(&format!("argv[{at}]: "), &one(&wanted.argv, at), &one(&got.argv, at));
    }
    if let Some(stdin) = &wanted.stdin
        && stdin.as_bytes() != got.stdin
    {
        line("stdin: ", &format!("{stdin:?}"), &format!("{:?}", String::from_utf8_lossy(&got.stdin)));
    }
    for (name, value) in &wanted.env {
        if got.env.get(name) != Some(value) {
            let got = got.env.get(name).map_or("(not set)", String::as_str);
            line(&format!("env {name}: "), value, got);
        }
    }
    lines.join("\n")
}

fn documents(case: &Case, seen: &Seen) -> Vec<String> {
    if case.files.is_empty() {
        return Vec::new();
    }
    let got = texts(seen);
    let mut differences = Vec::new();
    for (name, wanted) in &case.files {
        match got.get(name) {
            None => differences.push(format!("the document {name} was not made")),
            Some(got) if got != wanted => {
                differences.push(format!("the document {name} is another:\n{}", lines(wanted, got)));
            }
            Some(_) => {}
        }
    }
    for name in got.keys().filter(|name| !case.files.contains_key(*name)) {
        differences.push(format!("a document that is not expected: {name}"));
    }
    differences
}

/// The lines in which two texts differ.
fn lines(wanted: &str, got: &str) -> String {
    let (wanted, got): (Vec<&str>, Vec<&str>) = (wanted.split('\n').collect(), got.split('\n').collect());
    let mut out = Vec::new();
    for at in 0..wanted.len().max(got.len()) {
        let (a, b) = (wanted.get(at), got.get(at));
        if a != b {
            out.extend(a.map(|line| format!("  {:>3} - {line}", at + 1)));
            out.extend(b.map(|line| format!("  {:>3} + {line}", at + 1)));
        }
        if out.len() > 40 {
            out.push("  …".to_owned());
            break;
        }
    }
    out.join("\n")
}

fn verdict(expect: &Expect, outcome: &Result<Value, Value>) -> Vec<String> {
    let pretty = |value: &Value| serde_json::to_string(value).unwrap_or_default();
    match (expect, outcome) {
        (Expect::Result(wanted), Ok(got)) if rehearsal::same(wanted, got) => Vec::new(),
        (Expect::Result(wanted), Ok(got)) => {
            vec![format!("the result is another:\n  - {}\n  + {}", pretty(wanted), pretty(got))]
        }
        (Expect::Result(wanted), Err(error)) => {
            vec![format!(
                "an error instead of a result:\n  - {}\n  + error {}",
                pretty(wanted),
                pretty(error)
            )]
        }
        (Expect::Error(wanted), Ok(got)) => {
            vec![format!("a result instead of an error:\n  - error {}\n  + {}", pretty(wanted), pretty(got))]
        }
        (Expect::Error(wanted), Err(got)) => {
            let members = wanted.as_object().into_iter().flatten();
            let differ = members.filter(|(name, value)| got.get(name.as_str()) != Some(*value));
            differ
                .map(|(name, value)| {
                    let got = got.get(name.as_str()).unwrap_or(&Value::Null);
                    format!("the error's {name} is another:\n  - {}\n  + {}", pretty(value), pretty(got))
                })
                .collect()
        }
        (Expect::Nothing, Ok(got)) => {
            vec![format!("the case expects nothing; write it, or use --update:\n  + result {}", pretty(got))]
        }
        (Expect::Nothing, Err(got)) => {
            vec![format!("the case expects nothing; write it, or use --update:\n  + error {}", pretty(got))]
        }
    }
}
