//! Holds what a hook did with hostile values against what it did with harmless ones.
//!
//! Everything that left the hook has to be the same but for the values, and each value has to arrive byte for byte, or
//! written as data where text is read by a shell.

use std::path::Path;

use serde_json::Value;

use super::corpus::CANARY;
use super::quoting;
use crate::bench::lint::SHELLS;
use crate::bench::rehearsal::Seen;
use crate::stage::Step;

/// Commands that take a script on standard input.
const TAKE_SCRIPTS: [&str; 10] =
    ["sbatch", "qsub", "bsub", "msub", "oarsub", "condor_submit", "llsubmit", "pjsub", "at", "batch"];
/// Variables that differ from run to run.
const NOISE: [&str; 10] = [
    "_",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "WHARF_TMPDIR",
    "WHARF_DEADLINE_MS",
    "WHARF_INSTANCE",
    "WHARF_TRACE_ID",
    "RANDOM",
    "TMPDIR",
];

/// A harmless marker and the hostile value in its place.
pub(super) type Values<'a> = [(&'a str, &'a str)];

/// What a hook did, and what came of it.
#[derive(Debug, Clone)]
pub(super) struct Played {
    pub(super) seen: Seen,
    pub(super) outcome: Result<Value, Value>,
}

/// What became of the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They arrived as they are, or are not used.
    Data,
    /// The hook itself said no.
    Refused(String),
    /// They were run, changed, or written where they are code.
    Broken(String),
}

fn replaced(text: &str, values: &Values<'_>) -> String {
    values.iter().fold(text.to_owned(), |text, (marker, value)| text.replace(marker, value))
}

fn holds(text: &str, values: &Values<'_>) -> bool {
    values.iter().any(|(marker, _)| text.contains(marker))
}

/// Texts for people.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(160).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// Judges one run.
pub(super) fn judge(calm: &Played, wild: &Played, values: &Values<'_>, canary: &Path) -> Verdict {
    if canary.exists() {
        return Verdict::Broken("a value was run as code: it wrote a file".to_owned());
    }
    if wild.seen.steps.iter().any(|(step, _)| step.argv.first().is_some_and(|name| name == CANARY)) {
        return Verdict::Broken("a value was run as code: its command ran".to_owned());
    }
    if let (Ok(_), Err(error)) = (&calm.outcome, &wild.outcome) {
        return refusal(error);
    }
    let (calm_steps, wild_steps) = (&calm.seen.steps, &wild.seen.steps);
    for ((calm, _), (wild, _)) in calm_steps.iter().zip(wild_steps) {
        if let Some(fault) = step(calm, wild, values) {
            return Verdict::Broken(fault);
        }
    }
    if calm_steps.len() != wild_steps.len() {
        let extra = wild_steps.get(calm_steps.len()).map(|(step, _)| shown(&step.argv.join(" ")));
        return Verdict::Broken(match extra {
            Some(extra) => format!("a value makes it run another command: {extra}"),
            None => format!("a value keeps it from running {} commands", calm_steps.len() - wild_steps.len()),
        });
    }
    for (name, calm) in &calm.seen.documents {
        let calm = String::from_utf8_lossy(calm);
        match wild.seen.documents.get(name) {
            None => {
                let renamed = holds(name, values);
                if !renamed {
                    return Verdict::Broken(format!("a value keeps it from making the document {name}"));
                }
            }
            Some(wild) => {
                let wild = String::from_utf8_lossy(wild);
                if let Some(fault) =
                    text(&format!("the document {name}"), &calm, &wild, values, calm.starts_with("#!"))
                {
                    return Verdict::Broken(fault);
                }
            }
        }
    }
    match (&calm.outcome, &wild.outcome) {
        (Ok(calm), Ok(wild)) if !same(calm, wild, values) => Verdict::Broken(format!(
            "the result is another: {} instead of {}",
            shown(&wild.to_string()),
            shown(&calm.to_string())
        )),
        _ => Verdict::Data,
    }
}

/// An error that only a hostile value causes: a rule, or a hook that breaks.
fn refusal(error: &Value) -> Verdict {
    let kind = error["kind"].as_str().unwrap_or_default();
    let message = error["message"].as_str().unwrap_or_default();
    let rule =
        ["directive: ", "shq: ", "holds a NUL", "cannot be set"].iter().any(|rule| message.contains(rule));
    if rule || matches!(kind, "invalid" | "denied" | "unsupported" | "not_found") {
        Verdict::Refused(format!("the hook: {kind}: {}", shown(message)))
    } else {
        Verdict::Broken(format!("a value makes it fail: {kind}: {}", shown(message)))
    }
}

fn same(calm: &Value, wild: &Value, values: &Values<'_>) -> bool {
    match (calm, wild) {
        (Value::String(calm), Value::String(wild)) => replaced(calm, values) == *wild,
        (Value::Array(calm), Value::Array(wild)) => {
            calm.len() == wild.len() && calm.iter().zip(wild).all(|(calm, wild)| same(calm, wild, values))
        }
        (Value::Object(calm), Value::Object(wild)) => {
            calm.len() == wild.len()
                && calm.iter().all(|(name, calm)| {
                    wild.get(&replaced(name, values)).is_some_and(|wild| same(calm, wild, values))
                })
        }
        (calm, wild) => calm == wild,
    }
}

/// Texts of `argv` that some program will read as shell text: from which word on, and behind which prefix.
fn shell_words(argv: &[String]) -> impl Fn(usize) -> Option<usize> {
    let base = argv.first().map_or("", |program| program.rsplit('/').next().unwrap_or(program)).to_owned();
    let dash_c = argv.iter().skip(1).position(|word| {
        word.starts_with('-')
            && !word.starts_with("--")
            && word.ends_with('c')
            && SHELLS.contains(&base.as_str())
    });
    let wrap: Vec<Option<usize>> =
        argv.iter().map(|word| word.starts_with("--wrap=").then_some("--wrap=".len())).collect();
    let after_wrap: Vec<bool> =
        (0..argv.len()).map(|at| at > 0 && argv.get(at - 1).is_some_and(|word| word == "--wrap")).collect();
    move |at| {
        let remote = matches!(base.as_str(), "ssh" | "su" | "eval") && at > 0;
        let text = dash_c.is_some_and(|dash| at == dash + 2) || remote;
        if text || after_wrap.get(at).copied().unwrap_or(false) {
            return Some(0);
        }
        wrap.get(at).copied().flatten()
    }
}

fn step(calm: &Step, wild: &Step, values: &Values<'_>) -> Option<String> {
    let program = calm.argv.first().map_or("", String::as_str);
    let base = program.rsplit('/').next().unwrap_or(program);
    if calm.argv.len() != wild.argv.len() {
        return Some(format!(
            "{program} gets {} words instead of {}: {}",
            wild.argv.len(),
            calm.argv.len(),
            shown(&wild.argv.join(" "))
        ));
    }
    let is_module = calm.argv.len() == 2 && base.contains('.');
    let as_shell = shell_words(&calm.argv);
    let ends_options = calm.argv.iter().position(|word| word == "--");
    for (at, (before, after)) in calm.argv.iter().zip(&wild.argv).enumerate() {
        let what = format!("{program}, word {at}");
        if let Some(prefix) = as_shell(at).filter(|_| holds(before, values)) {
            let (before, rest) = before.split_at(prefix);
            let Some(after) = after.strip_prefix(before) else {
                return Some(format!("{what} is another: {}", shown(after)));
            };
            if !quoting::is_data(rest, after, values) {
                return Some(format!(
                    "{what} is read as shell text, with a value in it that is not quoted: {}",
                    shown(after)
                ));
            }
            continue;
        }
        let json = is_module || before.starts_with(['{', '[']);
        if json && let Some(fault) = text(&what, before, after, values, false) {
            return Some(fault);
        }
        if !json && replaced(before, values) != *after {
            return Some(format!(
                "{what} is {} instead of {}",
                shown(after),
                shown(&replaced(before, values))
            ));
        }
        let alone = values.iter().any(|(marker, value)| before == marker && value.starts_with('-'));
        let of_an_option = at > 0
            && calm
                .argv
                .get(at - 1)
                .is_some_and(|word| word.starts_with('-') && word.len() > 1 && !word.contains('='));
        if alone && !of_an_option && ends_options.is_none_or(|dashes| dashes >= at) {
            return Some(format!(
                "{what} is {}, which {base} takes for an option: write it as --name=VALUE, or put -- before it",
                shown(after)
            ));
        }
    }
    let shell = SHELLS.contains(&base) || TAKE_SCRIPTS.contains(&base) || calm.stdin.starts_with(b"#!");
    let (before, after) = (String::from_utf8_lossy(&calm.stdin), String::from_utf8_lossy(&wild.stdin));
    if let Some(fault) = text(&format!("{program}'s standard input"), &before, &after, values, shell) {
        return Some(fault);
    }
    let names = calm.env.keys().chain(wild.env.keys()).filter(|name| !NOISE.contains(&name.as_str()));
    for name in names {
        let (before, after) = (calm.env.get(name), wild.env.get(name));
        if before.map(|before| replaced(before, values)).as_ref() != after {
            let after = after.map_or("not there".to_owned(), |after| shown(after));
            return Some(format!("{program}'s variable {name} is {after}"));
        }
    }
    None
}

/// A text with values in it.
fn text(what: &str, calm: &str, wild: &str, values: &Values<'_>, shell: bool) -> Option<String> {
    if !holds(calm, values) {
        return (calm != wild)
            .then(|| format!("{what} is another: {} instead of {}", shown(wild), shown(calm)));
    }
    if shell {
        let good = quoting::is_data(calm, wild, values);
        return (!good).then(|| {
            format!(
                "{what} is a script, with a value in it that is not quoted: {}",
                shown(&differing(calm, wild))
            )
        });
    }
    if calm.trim_start().starts_with(['{', '['])
        && let Ok(calm) = serde_json::from_str::<Value>(calm)
    {
        return match serde_json::from_str::<Value>(wild) {
            Ok(wild) if same(&calm, &wild, values) => None,
            _ => Some(format!("{what} is another JSON: {}", shown(wild))),
        };
    }
    let lines = values.iter().any(|(marker, value)| {
        calm.contains(marker) && calm.trim_end_matches('\n') != *marker && value.contains(['\n', '\r'])
    });
    if replaced(calm, values) == wild {
        return lines
            .then(|| format!("{what}: a value makes lines of its own: {}", shown(&differing(calm, wild))));
    }
    let encoded: Vec<(&str, String)> = values
        .iter()
        .map(|(marker, value)| {
            let json = Value::from(*value).to_string();
            (*marker, json.get(1..json.len() - 1).unwrap_or_default().to_owned())
        })
        .collect();
    let encoded: Vec<(&str, &str)> =
        encoded.iter().map(|(marker, value)| (*marker, value.as_str())).collect();
    if replaced(calm, &encoded) == wild || quoting::is_data(calm, wild, values) {
        return None;
    }
    Some(format!("{what} is another: {}", shown(&differing(calm, wild))))
}

/// From the first line that differs on.
fn differing(calm: &str, wild: &str) -> String {
    let same = calm.lines().zip(wild.lines()).take_while(|(calm, wild)| calm == wild).count();
    wild.lines().skip(same).take(3).collect::<Vec<_>>().join("\n")
}
