//! The one validator: what a hook answered, in Lua or as an executable, becomes typed or is refused.
//!
//! A refusal names the path, what was expected and what came. Answers about many jobs (`find`, `status`,
//! `terminate_many`) lose a bad entry, never the batch: an entry that is missing means "nobody can tell".
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else a JSON value is, it is refused")]

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use wharf_core::hook::{
    Found, Hook, HookAnswer, HookError, HookErrorKind, JobReport, Logs, Submitted, Validated,
};
use wharf_protocol::{Dur, JobState, SessionId, Time};

use crate::load::files::regular_beneath;

/// Most bytes of a handle.
const HANDLE_MAX: usize = 4 << 10;
/// Most bytes of a message.
const MESSAGE_MAX: usize = 4 << 10;

/// What an answer is checked against.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    /// Every job id has to match it.
    pub(crate) job_id: &'a Regex,
    /// Directories that a log may lie in.
    pub(crate) log_roots: Vec<PathBuf>,
    /// Lua knows one empty table: it reads as a list and as an object.
    pub(crate) empty_is_both: bool,
    /// What was asked.
    pub(crate) request: &'a Value,
}

/// Whether a text is a job id; whatever the pattern says, it is no option, and one visible word.
pub(crate) fn is_job_id(pattern: &Regex, text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 512
        && !text.starts_with('-')
        && !text.chars().any(|letter| letter.is_whitespace() || letter.is_control())
        && pattern.is_match(text)
}

/// Whether saying nothing means success.
pub(crate) const fn may_be_silent(hook: Hook) -> bool {
    matches!(
        hook,
        Hook::Terminate
            | Hook::OnRunning
            | Hook::OnConnect
            | Hook::OnDisconnect
            | Hook::OnParams
            | Hook::OnEnded
    )
}

fn bad(message: impl Into<String>) -> HookError {
    HookError::new(HookErrorKind::Internal, message)
}

fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn typed<T: DeserializeOwned>(hook: Hook, value: Value) -> Result<T, HookError> {
    serde_json::from_value(value).map_err(|error| bad(format!("the result of `{}`: {error}", hook.as_str())))
}

/// Validates the answer of a hook.
///
/// # Errors
/// `internal`: what is wrong with it and where.
pub(crate) fn validate(
    hook: Hook,
    answer: Value,
    rules: &Rules<'_>,
    note: &mut dyn FnMut(String),
) -> Result<HookAnswer, HookError> {
    match hook {
        Hook::Options => {
            let mut choices = BTreeMap::new();
            for (name, list) in rules.object(hook, answer)? {
                choices.insert(name.clone(), rules.list(hook, &name, list)?);
            }
            Ok(HookAnswer::Options(choices))
        }
        Hook::Validate => {
            let members = rules.object(hook, answer)?;
            let mut members = without_nulls(members);
            if rules.empty_is_both {
                for (name, member) in &mut members {
                    let empty_list =
                        name == "params" && matches!(member, Value::Array(list) if list.is_empty());
                    let empty_map =
                        name != "params" && matches!(member, Value::Object(map) if map.is_empty());
                    if empty_list {
                        *member = Value::Object(Map::new());
                    } else if empty_map {
                        *member = Value::Array(Vec::new());
                    }
                }
            }
            typed::<Validated>(hook, Value::Object(members)).map(HookAnswer::Validate)
        }
        Hook::Select => {
            let list = rules.list(hook, "", answer)?;
            typed(hook, Value::Array(list)).map(HookAnswer::Select)
        }
        Hook::Submit => submit(hook, answer, rules).map(HookAnswer::Submit),
        Hook::Find => find(hook, answer, rules, note).map(HookAnswer::Find),
        Hook::Status => status(hook, answer, rules, note).map(HookAnswer::Status),
        Hook::Logs => logs(hook, answer, rules).map(HookAnswer::Logs),
        Hook::TerminateMany => terminate_many(hook, answer, rules, note).map(HookAnswer::TerminateMany),
        Hook::Extend => {
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Extended {
                ends_at: Time,
            }
            let members = rules.object(hook, answer)?;
            typed::<Extended>(hook, Value::Object(members))
                .map(|extended| HookAnswer::Extend(extended.ends_at))
        }
        Hook::Prepare
        | Hook::Terminate
        | Hook::OnRunning
        | Hook::OnConnect
        | Hook::OnDisconnect
        | Hook::OnParams
        | Hook::OnEnded => {
            let members = rules.object(hook, answer)?;
            match members.keys().next() {
                None => Ok(HookAnswer::Done),
                Some(name) => Err(bad(format!(
                    "the result of `{}`: expected {{}}, got the unknown member `{name}`",
                    hook.as_str()
                ))),
            }
        }
    }
}

/// Reads a hook's own error document; what cannot be read is an error itself.
pub(crate) fn error(value: Value) -> Result<HookError, HookError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Document {
        kind: HookErrorKind,
        message: String,
        #[serde(default)]
        hint: Option<String>,
        #[serde(default)]
        retry_after: Option<Dur>,
        #[serde(default)]
        field: Option<String>,
    }
    let document: Document =
        serde_json::from_value(value).map_err(|error| bad(format!("the hook's `error`: {error}")))?;
    Ok(HookError {
        kind: document.kind,
        message: shorten(document.message),
        hint: document.hint.map(shorten),
        retry_after: document.retry_after.map(|after| after.0),
        field: document.field,
        plain_exit: false,
    })
}

/// Cuts a text to what a message may hold.
pub(crate) fn shorten(mut text: String) -> String {
    if text.len() > MESSAGE_MAX {
        let end = (0..=MESSAGE_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

fn without_nulls(mut members: Map<String, Value>) -> Map<String, Value> {
    members.retain(|_, value| !value.is_null());
    members
}

impl Rules<'_> {
    fn object(&self, hook: Hook, value: Value) -> Result<Map<String, Value>, HookError> {
        match value {
            Value::Object(members) => Ok(members),
            Value::Array(list) if list.is_empty() && self.empty_is_both => Ok(Map::new()),
            other => Err(bad(format!(
                "the result of `{}`: expected an object, got {}",
                hook.as_str(),
                word(&other)
            ))),
        }
    }

    fn list(&self, hook: Hook, at: &str, value: Value) -> Result<Vec<Value>, HookError> {
        match value {
            Value::Array(list) => Ok(list),
            Value::Object(map) if map.is_empty() && self.empty_is_both => Ok(Vec::new()),
            other => Err(bad(format!(
                "the result of `{}`{}{at}: expected a list, got {}",
                hook.as_str(),
                if at.is_empty() { "" } else { " at " },
                word(&other)
            ))),
        }
    }

    fn job_id(&self, hook: Hook, text: &str) -> Result<(), HookError> {
        if is_job_id(self.job_id, text) {
            return Ok(());
        }
        let shown: String = text.chars().take(80).collect();
        Err(bad(format!("the result of `{}`: \"{}\" is no job id", hook.as_str(), shown.escape_debug())))
    }

    /// Values of one member in a list of the request.
    fn asked(&self, list: &str, member: &str) -> Vec<&str> {
        let items = self.request.get(list).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(|item| item.get(member)?.as_str()).collect()
    }
}

fn submit(hook: Hook, answer: Value, rules: &Rules<'_>) -> Result<Submitted, HookError> {
    let members = without_nulls(rules.object(hook, answer)?);
    let mut submitted: Submitted = typed(hook, Value::Object(members))?;
    rules.job_id(hook, &submitted.job_id)?;
    submitted.message = submitted.message.map(shorten);
    if let Some(handle) = &submitted.handle
        && handle.to_string().len() > HANDLE_MAX
    {
        return Err(bad(format!("the result of `submit`: `handle` is larger than {HANDLE_MAX} bytes")));
    }
    Ok(submitted)
}

fn find(
    hook: Hook,
    answer: Value,
    rules: &Rules<'_>,
    note: &mut dyn FnMut(String),
) -> Result<BTreeMap<SessionId, Found>, HookError> {
    let asked = rules.asked("sessions", "id");
    let mut found = BTreeMap::new();
    for (name, value) in rules.object(hook, answer)? {
        let session = match name.parse::<SessionId>() {
            Ok(session) if asked.is_empty() || asked.contains(&name.as_str()) => session,
            _ => {
                note(format!("find: \"{}\" was not asked about", name.escape_debug()));
                continue;
            }
        };
        let ids = match value {
            Value::Bool(false) => {
                found.insert(session, Found::No);
                continue;
            }
            Value::String(id) => vec![id],
            Value::Array(list) => {
                let ids = list.iter().map(|id| match id {
                    Value::String(id) => Some(id.clone()),
                    _ => None,
                });
                ids.collect::<Option<Vec<_>>>().unwrap_or_default()
            }
            _ => Vec::new(),
        };
        if ids.is_empty() || !ids.iter().all(|id| is_job_id(rules.job_id, id)) {
            note(format!("find: expected false, a job id or a list of them for {session}"));
            continue;
        }
        found.insert(session, Found::Jobs(ids));
    }
    Ok(found)
}

fn status(
    hook: Hook,
    answer: Value,
    rules: &Rules<'_>,
    note: &mut dyn FnMut(String),
) -> Result<BTreeMap<String, JobReport>, HookError> {
    let asked = rules.asked("jobs", "job_id");
    let mut reports = BTreeMap::new();
    for (job, value) in rules.object(hook, answer)? {
        if !asked.is_empty() && !asked.contains(&job.as_str()) {
            note(format!("status: job \"{}\" was not asked about", job.escape_debug()));
            continue;
        }
        match report(hook, value) {
            Ok(report) => drop(reports.insert(job, report)),
            Err(error) => note(format!("status: job {job}: {error}")),
        }
    }
    Ok(reports)
}

fn report(hook: Hook, value: Value) -> Result<JobReport, HookError> {
    let Value::Object(members) = value else {
        return Err(bad(format!("expected an object, got {}", word(&value))));
    };
    let mut members = without_nulls(members);
    // A word that we do not know is a state that nobody can tell.
    if let Some(Value::String(state)) = members.get("state")
        && serde_json::from_value::<JobState>(Value::String(state.clone())).is_err()
    {
        let state = state.clone();
        members.entry("raw").or_insert(Value::String(state));
        members.insert("state".to_owned(), Value::String("unknown".to_owned()));
    }
    typed(hook, Value::Object(members))
}

fn logs(hook: Hook, answer: Value, rules: &Rules<'_>) -> Result<Logs, HookError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Answer {
        text: Option<String>,
        next: Option<String>,
        path: Option<String>,
    }
    let answer: Answer = typed(hook, Value::Object(rules.object(hook, answer)?))?;
    match (answer.text, answer.next, answer.path) {
        (Some(text), None, None) => Ok(Logs::Text(text)),
        (Some(text), Some(next), None) => Ok(Logs::Piece { text, next }),
        (None, None, Some(path)) => {
            let path = Path::new(&path);
            let below = rules.log_roots.iter().any(|root| regular_beneath(root, path));
            let under = rules.log_roots.iter().any(|root| path.strip_prefix(root).is_ok())
                && !path.components().any(|part| part == std::path::Component::ParentDir);
            // A job that has not begun has written nothing yet.
            if under
                && std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
            {
                return Ok(Logs::Text(String::new()));
            }
            if path.is_absolute() && below {
                Ok(Logs::Path(path.to_owned()))
            } else {
                Err(bad(format!(
                    "the result of `logs`: {} is no regular file below the session directory or logs.roots \
                     that is reached without links",
                    path.display()
                )))
            }
        }
        _ => Err(bad("the result of `logs`: expected `text` (and `next`), or `path`")),
    }
}

fn terminate_many(
    hook: Hook,
    answer: Value,
    rules: &Rules<'_>,
    note: &mut dyn FnMut(String),
) -> Result<BTreeMap<SessionId, Result<(), HookError>>, HookError> {
    let mut verdicts = BTreeMap::new();
    for (name, value) in rules.object(hook, answer)? {
        let Ok(session) = name.parse::<SessionId>() else {
            note(format!("terminate_many: \"{}\" is no session", name.escape_debug()));
            continue;
        };
        let verdict = match value {
            Value::Object(mut members) if members.len() <= 1 => {
                match (members.remove("error"), members.is_empty()) {
                    (None, true) => Ok(()),
                    (Some(document), _) => Err(error(document).unwrap_or_else(|bad| bad)),
                    (None, false) => Err(bad("the result of `terminate_many`: expected {} or {error}")),
                }
            }
            Value::Array(list) if list.is_empty() && rules.empty_is_both => Ok(()),
            _ => Err(bad("the result of `terminate_many`: expected {} or {error}")),
        };
        verdicts.insert(session, verdict);
    }
    Ok(verdicts)
}
