//! What a Rust file may hold: its length, its opening words, its names, and what no test may do.
//!
//! Files are read as tokens, so that a word in a text or a comment is no finding. Tests are told by their place
//! (`tests.rs`, below `tests/` or `testing/`) and by `#[cfg(test)]`.

use std::ops::RangeInclusive;
use std::path::Path;

use anyhow::Context as _;
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use super::{Fault, below, files};

/// Lines that no file may have, tests aside.
const MOST: usize = 800;
/// Lines that need a reason.
const LONG: usize = 500;
/// Files that are longer than [`LONG`], and why they are not taken apart.
const REASONS: &[(&str, &str)] = &[];
/// Names that say nothing about what a module is responsible for.
const EMPTY_NAMES: [&str; 5] = ["utils", "helpers", "common", "manager", "types"];
/// Where tests wait: polling to a deadline, and the pauses that choose when a fault strikes.
const WAITING: &str = "wait.rs";
/// The function that polls, where one is enough.
const POLLING: &str = "until";
/// On the line of a sleep, or on the one above it: a reason, for instance a clock that is paused.
const EXCUSE: &str = "// tidy: sleeps because ";

pub(super) fn check(root: &Path) -> anyhow::Result<Vec<Fault>> {
    let mut faults = Vec::new();
    let mut long = Vec::new();
    for path in files(root, "rs")? {
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let name = below(root, &path);
        let (found, length) = judge(&name, &text);
        faults.extend(found);
        if length > LONG {
            long.push(name);
        }
    }
    for (path, _) in REASONS.iter().filter(|(path, _)| !long.iter().any(|name| name == path)) {
        let here = below(root, Path::new(file!()));
        faults.push(Fault::new(here, 1, format!("{path} needs no reason for its length any more")));
    }
    Ok(faults)
}

/// Whether all of the file is test code.
fn is_test(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    parts.ends_with(&["tests.rs"]) || parts.iter().any(|part| ["tests", "testing", "benches"].contains(part))
}

/// Whether the module above it says what it is for.
fn is_part_of_tests(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/src/") && path.contains("/tests/")
}

/// Judges one file; its faults, and how long it is without its tests.
pub(super) fn judge(path: &str, text: &str) -> (Vec<Fault>, usize) {
    let mut faults = Vec::new();
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if !first.starts_with("//!") && !is_part_of_tests(path) {
        faults.push(Fault::new(path, 1, "a module opens with //!: what it is responsible for, and what not"));
    }
    for name in EMPTY_NAMES {
        if path.split('/').any(|part| part == name || part.strip_suffix(".rs") == Some(name)) {
            faults.push(Fault::new(path, 1, format!("{name} says nothing: name it by what it is for")));
        }
    }
    let tokens: TokenStream = match text.parse() {
        Ok(tokens) => tokens,
        Err(error) => {
            faults.push(Fault::new(path, 1, format!("these are no Rust tokens: {error}")));
            return (faults, 0);
        }
    };
    let mut walk = Walk { path, lines: text.lines().collect(), faults, tests: Vec::new() };
    walk.stream(tokens, is_test(path));
    let Walk { mut faults, tests, lines, .. } = walk;
    let length = if is_test(path) {
        0
    } else {
        let in_tests = |line: usize| tests.iter().any(|range| range.contains(&line));
        (1..=lines.len()).filter(|line| !in_tests(*line)).count()
    };
    if length > MOST {
        faults.push(Fault::new(path, 1, format!("{length} lines without tests, {MOST} is the most")));
    } else if length > LONG && !REASONS.iter().any(|(known, _)| *known == path) {
        let message = format!("{length} lines without tests: take it apart, or give a reason to {}", file!());
        faults.push(Fault::new(path, 1, message));
    }
    (faults, length)
}

struct Walk<'a> {
    path: &'a str,
    lines: Vec<&'a str>,
    faults: Vec<Fault>,
    /// Lines that `#[cfg(test)]` takes out of the product.
    tests: Vec<RangeInclusive<usize>>,
}

impl Walk<'_> {
    fn fault(&mut self, token: &TokenTree, message: impl Into<String>) {
        self.faults.push(Fault::new(self.path, token.span().start().line, message));
    }

    fn stream(&mut self, tokens: TokenStream, in_tests: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        // The line of a `#[cfg(test)]` whose item has not ended yet.
        let mut only_tests: Option<usize> = None;
        // Between `fn until` and its body.
        let mut polls = false;
        for (at, token) in tokens.iter().enumerate() {
            let next = tokens.get(at + 1);
            match token {
                TokenTree::Punct(mark) if mark.as_char() == '#' => {
                    if let Some(TokenTree::Group(attribute)) = next
                        && attribute.delimiter() == Delimiter::Bracket
                    {
                        match words(attribute).as_str() {
                            "cfg(test)" => only_tests = Some(token.span().start().line),
                            "ignore" => self.fault(token, "no test is ignored"),
                            other if other.starts_with("ignore=") => self.fault(token, "no test is ignored"),
                            _ => {}
                        }
                    }
                }
                TokenTree::Punct(mark) if mark.as_char() == ';' => {
                    polls = false;
                    if let Some(begin) = only_tests.take() {
                        self.tests.push(begin..=token.span().end().line);
                    }
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
                TokenTree::Ident(name) => {
                    let name = name.to_string();
                    polls |= name == "fn" && next.is_some_and(|next| next.to_string() == POLLING);
                    self.word(&name, token, at.checked_sub(1).and_then(|at| tokens.get(at)), next);
                    let is_call = matches!(next, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis);
                    if is_call && ["sleep", "sleep_until"].contains(&name.as_str()) {
                        self.sleep(token, in_tests || only_tests.is_some());
                    }
                }
                TokenTree::Group(group) => {
                    let is_body = group.delimiter() == Delimiter::Brace;
                    let judged = (in_tests || only_tests.is_some()) && !(is_body && polls);
                    self.stream(group.stream(), judged);
                    polls &= !is_body;
                    if is_body && let Some(begin) = only_tests.take() {
                        self.tests.push(begin..=group.span().end().line);
                    }
                }
            }
        }
    }

    fn word(&mut self, name: &str, token: &TokenTree, before: Option<&TokenTree>, next: Option<&TokenTree>) {
        let is = |token: Option<&TokenTree>, text: &str| token.is_some_and(|token| token.to_string() == text);
        if ["todo", "unimplemented"].contains(&name) && is(next, "!") {
            self.fault(token, format!("{name}!: nothing half done is kept"));
        }
        if EMPTY_NAMES.contains(&name) && is(before, "mod") {
            self.fault(token, format!("{name} says nothing: name the module by what it is for"));
        }
    }

    fn sleep(&mut self, token: &TokenTree, in_tests: bool) {
        let line = token.span().start().line;
        let excused = [line, line.saturating_sub(1)]
            .iter()
            .filter_map(|line| self.lines.get(line.checked_sub(1)?))
            .any(|line| line.split_once(EXCUSE).is_some_and(|(_, reason)| !reason.trim().is_empty()));
        if in_tests && !excused && !self.path.ends_with(&format!("/{WAITING}")) {
            self.fault(
                token,
                format!("a test that sleeps to be right: poll, in fn {POLLING} or in {WAITING}"),
            );
        }
    }
}

/// The words of an attribute, without blanks.
fn words(attribute: &Group) -> String {
    attribute.stream().to_string().split_whitespace().collect()
}
