//! Executables and documents: what a shell will read as code.

use std::path::Path;
use std::sync::OnceLock;

use regex::Regex;
use wharf_protocol::template::{Finding, Severity};

use super::{PRIVILEGED, SHELLS, finding};

/// What an engine's client is told to give a container beyond the least.
const WIDER: &str = concat!(
    r"(^|\s)--(privileged|cap-add|device|gpus|volumes-from|security-opt[= ]\S*(unconfined|disable)",
    r"|(pid|ipc|uts|userns|cgroupns|network|net)[= ]host)\b",
    r"|\S*(docker|podman|containerd)\.sock\b",
);

fn expression(kept: &'static OnceLock<Option<Regex>>, text: &str) -> Option<&'static Regex> {
    kept.get_or_init(|| Regex::new(text).ok()).as_ref()
}

/// One executable hook.
pub(super) fn script(file: &str, text: &str, out: &mut Vec<Finding>) {
    static EVAL: OnceLock<Option<Regex>> = OnceLock::new();
    static DASH_C: OnceLock<Option<Regex>> = OnceLock::new();
    static ABSOLUTE: OnceLock<Option<Regex>> = OnceLock::new();
    static WIDE: OnceLock<Option<Regex>> = OnceLock::new();
    let engine = text.contains("docker") || text.contains("podman");
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let Some(shebang) = first.strip_prefix("#!") else { return };
    let mut words = shebang.split_whitespace();
    let interpreter = words.next().unwrap_or_default();
    if !Path::new(interpreter).exists() {
        let message = format!("its interpreter {interpreter} is not on this host");
        out.push(finding(file, 1, Severity::Error, "no_interpreter", message));
    }
    let mut base = interpreter.rsplit('/').next().unwrap_or_default();
    if base == "env" {
        base = words.find(|word| !word.starts_with('-')).unwrap_or_default();
    }
    if !SHELLS.contains(&base) {
        return;
    }
    for (at, line) in text.lines().enumerate().skip(1) {
        let line_number = u32::try_from(at + 1).ok();
        let code = line.trim_start();
        if code.starts_with('#') {
            continue;
        }
        let mut warn = |code: &str, message: String| {
            out.push(finding(file, line_number, Severity::Warning, code, message));
        };
        if expression(&EVAL, r"(^|[;&|(]|\bthen|\bdo|\belse)\s*eval\b")
            .is_some_and(|eval| eval.is_match(code))
        {
            warn(
                "shell_text",
                "`eval` runs values as code: keep them as words, in \"$@\" or quoted variables".to_owned(),
            );
        }
        if expression(&DASH_C, r#"\b(ba|da|z|k)?sh\s+-[a-z]*c\s+("[^"]*[$`]|[^'"\s]*[$`])"#)
            .is_some_and(|dash| dash.is_match(code))
        {
            warn("shell_text", "the text of `sh -c` is put together from values: keep it in single quotes and give values as further words".to_owned());
        }
        if code.contains("--wrap=") || code.contains("--wrap ") {
            warn(
                "shell_text",
                "`--wrap` takes shell text: give the scheduler a script, with values as its arguments"
                    .to_owned(),
            );
        }
        let wide = expression(&WIDE, WIDER).filter(|_| engine).and_then(|wide| wide.find(code));
        if let Some(option) = wide {
            let option = option.as_str().trim();
            warn("wide", format!("`{option}` lets sessions do more on the engine's host than they have to"));
        }
        let word = code.split_whitespace().next().unwrap_or_default();
        if PRIVILEGED.contains(&word) {
            warn("privileged", format!("`{word}` runs things with other rights"));
        }
        if expression(&ABSOLUTE, r"^(exec\s+)?/(usr/|opt/|bin/|sbin/)\S+")
            .is_some_and(|path| path.is_match(code))
        {
            warn("absolute_command", "a command with an absolute path cannot be mocked by the bench: name its directory in [hooks] path".to_owned());
        }
    }
}

/// One document of `files/`: values in a script need a filter.
pub(super) fn document(file: &str, text: &str, out: &mut Vec<Finding>) {
    static VALUE: OnceLock<Option<Regex>> = OnceLock::new();
    let shell = text.starts_with("#!")
        && SHELLS.iter().any(|shell| text.lines().next().is_some_and(|line| line.contains(shell)));
    if !shell {
        return;
    }
    let Some(value) = expression(&VALUE, r"\{\{-?\s*(.*?)\s*-?\}\}") else { return };
    for (at, line) in text.lines().enumerate() {
        for found in value.captures_iter(line) {
            let inside = found.get(1).map_or("", |inside| inside.as_str());
            let filtered = ["shq", "directive", "length", "tojson"].iter().any(|filter| {
                inside.rsplit('|').next().is_some_and(|last| last.trim().starts_with(filter))
                    && inside.contains('|')
            });
            if filtered {
                continue;
            }
            let filter = if line.trim_start().starts_with('#') { "directive" } else { "shq" };
            let message = format!(
                "`{{{{ {inside} }}}}` puts a value into a script as it is: write `{{{{ {inside} | {filter} }}}}`"
            );
            out.push(finding(file, u32::try_from(at + 1).ok(), Severity::Warning, "shell_text", message));
        }
    }
}
