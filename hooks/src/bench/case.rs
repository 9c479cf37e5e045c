//! Golden cases: `tests/NAME.toml` read with a finding for every mistake, and written back.
//!
//! A case says what a hook is asked, what each command answers, which commands are expected, and what the hook has to
//! make of it. What may stand in one is described in `docs/writing-a-template.md`.
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else a TOML value is, it is a finding")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};
use wharf_core::hook::{Hook, HookErrorKind};
use wharf_protocol::Time;
use wharf_protocol::template::Finding;

use crate::load::files::Files;
use crate::load::node::{Kind, Node};
use crate::load::section::Section;

/// One case.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its file, relative to the template.
    pub file: String,
    /// Comments above the first line that is none.
    pub comment: String,
    /// The hook.
    pub hook: Hook,
    /// Members of the request that differ from the usual ones.
    pub request: Value,
    /// The clock, which stands still.
    pub now: Option<Time>,
    /// Commands may come in any order.
    pub unordered: bool,
    /// What is expected to run, and what it answers.
    pub commands: Vec<Mock>,
    /// Documents that the hook has to make, by name; compared when there are any.
    pub files: BTreeMap<String, String>,
    /// What has to come of it.
    pub expect: Expect,
}

/// A command that is expected, and what it answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mock {
    /// The command and its arguments; of a backend's module `["shell.list", "{…}"]`.
    pub argv: Vec<String>,
    /// What it has to be given on standard input; anything when absent.
    pub stdin: Option<String>,
    /// Variables that it has to be given; there may be others.
    pub env: BTreeMap<String, String>,
    /// Its exit status.
    pub status: i32,
    /// The signal that ends it.
    pub signal: Option<i32>,
    /// What it writes; of a module's function its result in JSON.
    pub stdout: String,
    /// What it writes to standard error; of a module's function its message.
    pub stderr: String,
    /// The kind of a failure of a module's function.
    pub kind: Option<HookErrorKind>,
}

/// What has to come of a case.
#[derive(Debug, Clone, PartialEq)]
pub enum Expect {
    /// The hook's result.
    Result(Value),
    /// Members of the hook's error: `kind`, and others when given.
    Error(Value),
    /// Not written yet: only `--update` accepts it.
    Nothing,
}

/// Reads every case of a template.
pub(crate) fn all(files: &Files) -> (Vec<Case>, Vec<Finding>) {
    let (mut cases, mut findings) = (Vec::new(), Vec::new());
    for (name, file) in &files.files {
        if !name.starts_with("tests/") || !name.ends_with(".toml") {
            continue;
        }
        let text = String::from_utf8_lossy(&file.bytes);
        match read(name, &text) {
            Ok(case) => cases.push(case),
            Err(mut wrong) => findings.append(&mut wrong),
        }
    }
    (cases, findings)
}

/// Reads one case.
pub(crate) fn read(file: &str, text: &str) -> Result<Case, Vec<Finding>> {
    let (root, mut out) = Node::parse(file, text);
    if !out.is_empty() {
        return Err(out);
    }
    let mut top = Section::new(file, &root, &mut out);
    let at = top.at.clone();
    let word = top.text("hook", &mut out);
    let hook = word.as_deref().and_then(crate::load::hook_of);
    match (&word, hook) {
        (None, _) => out.push(at.error("missing", "`hook` is missing: which hook is tried")),
        (Some(word), None) => out.push(at.error("unknown_hook", crate::load::unknown_hook(word))),
        (Some(_), Some(_)) => {}
    }
    let request = match top.take("request") {
        None => Value::Object(Map::new()),
        Some(node) => {
            if !matches!(node.kind, Kind::Table(_)) {
                out.push(node.at.error("type", "[request] has to be a table"));
            }
            node.to_json()
        }
    };
    let now = top.take("now").and_then(|node| match &node.kind {
        Kind::String(text) | Kind::Datetime(text) if text.parse::<Time>().is_ok() => text.parse().ok(),
        _ => {
            out.push(node.at.error("type", "`now` has to be a time such as \"2026-01-01T10:00:00Z\""));
            None
        }
    });
    let unordered = top.flag("unordered", &mut out).unwrap_or(false);
    let commands = match top.take("command").map(|node| (&node.kind, &node.at)) {
        None => Vec::new(),
        Some((Kind::Array(items), _)) => items.iter().map(|item| mock(item, &mut out)).collect(),
        Some((_, at)) => {
            out.push(at.error("type", "write each command as [[command]]"));
            Vec::new()
        }
    };
    let mut files = BTreeMap::new();
    if let Some(Kind::Array(items)) = top.take("file").map(|node| &node.kind) {
        for item in items {
            let mut section = Section::new("[[file]]", item, &mut out);
            let (name, text) = (section.text("name", &mut out), section.text("text", &mut out));
            section.finish(&mut out);
            match (name, text) {
                (Some(name), Some(text)) => drop(files.insert(name, text)),
                _ => out.push(item.at.error("missing", "[[file]] needs `name` and `text`")),
            }
        }
    }
    let expect = expect(&mut top, &mut out);
    top.finish(&mut out);
    match (hook, out.is_empty()) {
        (Some(hook), true) => Ok(Case {
            file: file.to_owned(),
            comment: comment(text),
            hook,
            request,
            now,
            unordered,
            commands,
            files,
            expect,
        }),
        _ => Err(out),
    }
}

fn comment(text: &str) -> String {
    text.lines().take_while(|line| line.trim().is_empty() || line.trim_start().starts_with('#')).fold(
        String::new(),
        |mut comment, line| {
            comment.push_str(line);
            comment.push('\n');
            comment
        },
    )
}

fn mock(node: &Node, out: &mut Vec<Finding>) -> Mock {
    let mut section = Section::new("[[command]]", node, out);
    let whole = |node: &Node| match node.kind {
        Kind::Integer(number) => i32::try_from(number).ok(),
        _ => None,
    };
    let mut mock = Mock {
        argv: section.texts("argv", out).unwrap_or_default(),
        stdin: section.text("stdin", out),
        env: section.pairs("env", out).unwrap_or_default(),
        status: 0,
        signal: section.take("signal").and_then(whole),
        stdout: section.text("stdout", out).unwrap_or_default(),
        stderr: section.text("stderr", out).unwrap_or_default(),
        kind: None,
    };
    if let Some(node) = section.take("status") {
        match whole(node) {
            Some(status) => mock.status = status,
            None => out.push(node.at.error("type", "`status` has to be an exit status from 0 to 255")),
        }
    }
    let at = section.at.clone();
    if let Some(kind) = section.text("kind", out) {
        match serde_json::from_value(Value::String(kind.clone())) {
            Ok(kind) => mock.kind = Some(kind),
            Err(_) => out.push(at.error("kind", format!("`{kind}` is no kind of error"))),
        }
    }
    if mock.argv.is_empty() {
        out.push(at.error("missing", "[[command]] needs `argv`: the command and its arguments"));
    }
    section.finish(out);
    mock
}

fn expect(top: &mut Section<'_>, out: &mut Vec<Finding>) -> Expect {
    let at = top.at.clone();
    let Some(mut section) = top.section("expect", out) else { return Expect::Nothing };
    let (result, error) = (section.take("result"), section.take("error"));
    section.finish(out);
    match (result, error) {
        (Some(result), None) => Expect::Result(result.to_json()),
        (None, Some(error)) => {
            if let Kind::String(kind) = &error.kind {
                return Expect::Error(serde_json::json!({ "kind": kind }));
            }
            let mut section = Section::new("[expect.error]", error, out);
            for key in ["kind", "message", "hint", "field", "retry_after"] {
                let _ = section.take(key);
            }
            section.finish(out);
            Expect::Error(error.to_json())
        }
        _ => {
            out.push(at.error("expect", "[expect] takes `result` or `error`, one of them"));
            Expect::Nothing
        }
    }
}

impl Case {
    /// The case as a file.
    pub fn to_toml(&self) -> String {
        let mut text = self.comment.clone();
        let mut line = |words: String| {
            text.push_str(&words);
            text.push('\n');
        };
        line(format!("hook = {}", quoted(self.hook.as_str())));
        if let Some(now) = self.now {
            line(format!("now = {}", quoted(&now.to_string())));
        }
        if self.unordered {
            line("unordered = true".to_owned());
        }
        if self.request.as_object().is_some_and(|members| !members.is_empty()) {
            line(format!("\n{}", tables("request", &self.request).trim_end()));
        }
        for command in &self.commands {
            line("\n[[command]]".to_owned());
            let words: Vec<String> = command.argv.iter().map(|word| quoted(word)).collect();
            line(format!("argv = [{}]", words.join(", ")));
            if let Some(stdin) = &command.stdin {
                line(format!("stdin = {}", quoted(stdin)));
            }
            if !command.env.is_empty() {
                line(format!("env = {}", inline(&serde_json::json!(command.env))));
            }
            match command.signal {
                Some(signal) => line(format!("signal = {signal}")),
                None => line(format!("status = {}", command.status)),
            }
            for (name, said) in [("stdout", &command.stdout), ("stderr", &command.stderr)] {
                if !said.is_empty() {
                    line(format!("{name} = {}", quoted(said)));
                }
            }
            if let Some(kind) = command.kind {
                line(format!("kind = {}", quoted(kind.as_str())));
            }
        }
        for (name, content) in &self.files {
            line(format!("\n[[file]]\nname = {}\ntext = {}", quoted(name), quoted(content)));
        }
        match &self.expect {
            Expect::Result(value) => line(format!("\n[expect]\nresult = {}", inline(value))),
            Expect::Error(value) => {
                line(format!("\n[expect]\nerror = {}", inline(value)));
            }
            Expect::Nothing => {}
        }
        text
    }
}

/// A text as TOML; several lines stay several lines.
fn quoted(text: &str) -> String {
    let plain = |letter: char| !letter.is_control() || letter == '\n';
    if text.contains('\n') && text.chars().all(plain) && !text.contains("'''") && !text.ends_with('\'') {
        return format!("'''\n{text}'''");
    }
    if text.contains('"') && !text.contains('\'') && text.chars().all(|letter| !letter.is_control()) {
        return format!("'{text}'");
    }
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            letter if letter.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04X}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

fn key(name: &str) -> String {
    let bare = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if bare { name.to_owned() } else { quoted(name) }
}

/// A value within one line; TOML knows no nothing, so such members are left out.
fn inline(value: &Value) -> String {
    match value {
        Value::Null => "\"\"".to_owned(),
        Value::String(text) => {
            // A table within one line takes no text of several lines.
            if text.contains('\n') { Value::from(text.as_str()).to_string() } else { quoted(text) }
        }
        Value::Array(items) => {
            format!(
                "[{}]",
                items.iter().filter(|item| !item.is_null()).map(inline).collect::<Vec<_>>().join(", ")
            )
        }
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            let members: Vec<_> =
                members.map(|(name, value)| format!("{} = {}", key(name), inline(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// A table, with tables of its own for the larger members.
fn tables(name: &str, value: &Value) -> String {
    let Value::Object(members) = value else { return String::new() };
    let mut text = format!("[{name}]\n");
    let mut below = String::new();
    for (member, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        match value {
            Value::Object(inner) if !inner.is_empty() && inline(value).len() > 80 => {
                below.push('\n');
                below.push_str(&tables(&format!("{name}.{}", key(member)), value));
            }
            value => {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{} = {}", key(member), inline(value));
            }
        }
    }
    text + &below
}

#[cfg(test)]
mod tests;
