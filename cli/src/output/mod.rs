//! Results on standard output, everything else on standard error.
//!
//! This is the only place that prints. Text from outside goes through [`escape`] on its way.

pub(crate) mod escape;
pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod table;

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value;
use wharf_protocol::{ErrorCode, Problem};

use crate::args::Format;
use crate::failure::{Failure, Outcome};

/// How and where to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// What was asked for.
    pub(crate) format: Format,
    /// Standard output is a terminal.
    pub(crate) terminal: bool,
    /// Standard error is a terminal.
    pub(crate) error_terminal: bool,
}

impl Output {
    /// Looks at the standard streams.
    pub(crate) fn new(format: Format) -> Self {
        Self { format, terminal: io::stdout().is_terminal(), error_terminal: io::stderr().is_terminal() }
    }

    /// Whether results may have colour.
    pub(crate) fn colour(&self) -> bool {
        self.terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }

    /// Writes a result as it is.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Outcome<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| Failure::writing(&error))
    }

    /// Writes one line of a result.
    pub(crate) fn line(&self, text: &str) -> Outcome<()> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// One object: as JSON, as its id, or as `table` shows it.
    pub(crate) fn object(&self, raw: &Value, table: impl FnOnce() -> String) -> Outcome<()> {
        match self.format {
            Format::Table => self.block(&table()),
            Format::Json => self.line(&json::pretty(raw)),
            Format::Jsonl => self.line(&json::compact(raw)),
            Format::Id => self.line(&json::id(raw)),
        }
    }

    /// Several objects.
    pub(crate) fn list(&self, items: &[Value], table: impl FnOnce() -> String) -> Outcome<()> {
        match self.format {
            Format::Table => self.block(&table()),
            Format::Json => self.line(&json::pretty(&Value::from(items))),
            Format::Jsonl => items.iter().try_for_each(|item| self.line(&json::compact(item))),
            Format::Id => items.iter().try_for_each(|item| self.line(&json::id(item))),
        }
    }

    fn block(&self, text: &str) -> Outcome<()> {
        if text.is_empty() { Ok(()) } else { self.line(text.trim_end_matches('\n')) }
    }

    /// Says something beside the result.
    pub(crate) fn note(&self, text: &str) {
        // There is nobody left to tell when standard error is closed.
        let _ = writeln!(io::stderr().lock(), "{}", escape::lines(text));
    }

    /// A hint for people at a terminal; scripts do not get it.
    pub(crate) fn tip(&self, text: &str) {
        if self.error_terminal && self.format == Format::Table {
            self.note(text);
        }
    }

    /// Says why a command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        match failure {
            Failure::Problem(problem) | Failure::Coded(problem, _) => self.problem(problem),
            Failure::Unread => {}
        }
    }

    fn problem(&self, problem: &Problem) {
        let text = if matches!(self.format, Format::Json | Format::Jsonl) {
            let raw = serde_json::to_value(problem).unwrap_or_default();
            if self.format == Format::Json { json::pretty(&raw) } else { json::compact(&raw) }
        } else {
            self.words(problem)
        };
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    fn words(&self, problem: &Problem) -> String {
        let colour = self.error_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let label = |word: &str, code: &str| {
            if colour { format!("\u{1b}[{code}m{word}:\u{1b}[0m") } else { format!("{word}:") }
        };
        let mut text = format!("{} {}", label("error", "1;31"), escape::lines(&problem.detail));
        if problem.detail.trim().is_empty() {
            text.push_str(&escape::lines(&problem.title));
        }
        if let Some(seconds) = problem.retry_after {
            text.push_str(&format!(" (worth another try in {seconds} s)"));
        }
        if let Some(hint) = &problem.hint {
            text.push_str(&format!("\n{} {}", label("hint", "1;36"), escape::lines(hint)));
        }
        // Of everything else the launcher's log tells, under that id.
        let told = matches!(problem.code, ErrorCode::HookFailed | ErrorCode::HookTimeout);
        if let Some(trace) = problem.trace_id.as_ref().filter(|_| told) {
            let trace = escape::line(trace);
            text.push_str(&format!("\n{} wharf trace {trace}", label("more", "2")));
        }
        text
    }
}
