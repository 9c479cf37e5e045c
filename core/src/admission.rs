//! Admission: is a start acceptable, and what exactly is to be recorded? Pure; refuses before anything happens.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use wharf_protocol::api::StartRequest;
use wharf_protocol::monitor::Limits;
use wharf_protocol::session::Params;
use wharf_protocol::time::Dur;
use wharf_protocol::{FieldError, Phase, SessionId, Time};

use crate::hook::{Hook, User};
use crate::params::{is_name, is_unprintable, plain};
use crate::record::{Record, Rules, Stage};
use crate::template::Template;

/// Most bytes of a command in all.
const MAX_COMMAND: usize = 128 * 1024;
const MAX_TAGS: usize = 32;

/// What is wrong with a request, all of it.
#[derive(Debug, Default)]
struct Findings(Vec<FieldError>);

impl Findings {
    fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError { field: field.into(), message: message.into() });
    }
}

/// Checks a request against its template and makes the record of it.
///
/// # Errors
/// Every member that is not acceptable.
pub fn admit(
    id: SessionId,
    owner: &User,
    template: &Template,
    request: &StartRequest,
    requeue: bool,
    now: Time,
) -> Result<Record, Vec<FieldError>> {
    let mut findings = Findings::default();
    let name = match &request.name {
        Some(name) => {
            check_name(name, &mut findings);
            name.clone()
        }
        None => generated_name(template, &id),
    };
    check_tags(request, &mut findings);
    check_env(&request.env, "env", &mut findings);
    let command = command(template, request.command.as_deref(), &mut findings);
    let params = params(template, &request.params, &mut findings);
    if !findings.0.is_empty() {
        return Err(findings.0);
    }
    let secrets: BTreeSet<String> =
        template.params.iter().filter(|(_, spec)| spec.secret).map(|(name, _)| name.clone()).collect();
    Ok(Record {
        id,
        rev: 1,
        name,
        owner: owner.name.clone(),
        template: template.name.clone(),
        backend: template.backend.clone(),
        scheduler: template.scheduler.clone(),
        placed: None,
        command,
        tty: request.tty.unwrap_or(template.command.tty),
        params,
        secrets,
        params_rev: 1,
        tags: request.tags.clone(),
        env: request.env.clone(),
        shares: Vec::new(),
        withdrawn: Vec::new(),
        created_at: now,
        submitted_at: None,
        started_at: None,
        stage: Stage::Pending { phase: Phase::Recorded, since: now, retry_at: None, retries: 0, doubt: None },
        wish: None,
        attempt: 0,
        job: None,
        strays: Vec::new(),
        incarnation: None,
        reason: None,
        rules: rules(template, requeue),
    })
}

/// What a template rules for a session that starts now.
pub fn rules(template: &Template, requeue: bool) -> Rules {
    Rules {
        limits: Limits {
            grace: Dur(template.session.terminate_grace),
            on_orphan: template.session.on_orphan,
        },
        register: template.timeouts.register,
        queue: template.timeouts.queue,
        settle: template.timeouts.settle,
        prepare: template.hooks.contains(&Hook::Prepare),
        find: template.hooks.contains(&Hook::Find),
        status: template.hooks.contains(&Hook::Status),
        requeue,
        max_lifetime: template.session.max_lifetime,
        idle: template.session.idle_timeout,
    }
}

fn generated_name(template: &Template, id: &SessionId) -> String {
    format!("{}-{}", template.name, &id.as_str()[..5])
}

fn check_name(name: &str, findings: &mut Findings) {
    let length = name.chars().count();
    if !(1..=128).contains(&length) {
        findings.add("name", "has to have 1 to 128 characters");
    } else if is_unprintable(name) {
        findings.add("name", "has control characters");
    } else if name.trim().is_empty() {
        findings.add("name", "has to have something to see");
    }
}

fn check_tags(request: &StartRequest, findings: &mut Findings) {
    if request.tags.len() > MAX_TAGS {
        findings.add("tags", format!("more than {MAX_TAGS} tags"));
    }
    for (key, value) in &request.tags {
        let good = (1..=63).contains(&key.len())
            && key
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte));
        if !good {
            findings.add(format!("tags.{}", key.escape_default()), "a tag's key is 1 to 63 of a-z 0-9 . _ -");
        }
        if value.chars().count() > 256 || is_unprintable(value) {
            let field = format!("tags.{}", key.escape_default());
            findings.add(field, "a tag's value is at most 256 characters, none of them control characters");
        }
    }
}

/// Checks names and values of variables.
fn check_env(env: &BTreeMap<String, String>, field: &str, findings: &mut Findings) {
    for (name, value) in env {
        let mut bytes = name.bytes();
        let good = bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let path = format!("{field}.{}", name.escape_default());
        if !good {
            findings
                .add(path.clone(), "a variable's name is letters, digits and _, not beginning with a digit");
        } else if name.starts_with("WHARF_") {
            findings.add(path.clone(), "names that begin with WHARF_ are Wharf's own");
        }
        if value.contains('\0') {
            findings.add(path, "has a NUL character");
        }
    }
}

fn command(template: &Template, given: Option<&[String]>, findings: &mut Findings) -> Vec<String> {
    let Some(given) = given else {
        if template.command.default.is_empty() {
            findings.add("command", "the template has no command of its own: give one");
        }
        return template.command.default.clone();
    };
    if !template.command.overridable {
        findings.add("command", "the template does not let you give a command");
    }
    check_command(given, findings);
    given.to_vec()
}

fn check_command(command: &[String], findings: &mut Findings) {
    if command.first().is_none_or(String::is_empty) {
        findings.add("command", "has to have at least one word");
    }
    if command.iter().any(|word| word.contains('\0')) {
        findings.add("command", "has a NUL character");
    }
    if command.iter().map(|word| word.len() + 1).sum::<usize>() > MAX_COMMAND {
        findings.add("command", "is longer than 128 KiB");
    }
}

fn params(template: &Template, given: &Params, findings: &mut Findings) -> Params {
    let mut params = Params::new();
    for (name, spec) in &template.params {
        let field = format!("params.{name}");
        match given.get(name).filter(|value| !value.is_null()) {
            Some(value) => match spec.accept(value) {
                Ok(value) => {
                    params.insert(name.clone(), value);
                }
                Err(message) => findings.add(field, message),
            },
            None => match &spec.default {
                Some(default) => {
                    params.insert(name.clone(), default.clone());
                }
                None if spec.required => findings.add(field, "is needed"),
                None => {}
            },
        }
    }
    for name in given.keys().filter(|name| !template.params.contains_key(*name)) {
        let known: Vec<&str> = template.params.keys().map(String::as_str).collect();
        let message = if known.is_empty() {
            "the template has no parameters".to_owned()
        } else {
            format!("no such parameter; there are {}", known.join(", "))
        };
        findings.add(format!("params.{}", name.escape_default()), message);
    }
    params
}

/// Checks what the `validate` hook made of parameters and command.
///
/// # Errors
/// Every member that is not acceptable.
pub fn revalidate(
    template: &Template,
    record: &mut Record,
    made: crate::hook::Validated,
) -> Result<(), Vec<FieldError>> {
    let mut findings = Findings(made.errors);
    if let Some(changed) = made.params {
        record.params = params(template, &changed, &mut findings);
    }
    if let Some(command) = made.command {
        check_command(&command, &mut findings);
        record.command = command;
    }
    if findings.0.is_empty() { Ok(()) } else { Err(findings.0) }
}

/// A merge patch as RFC 7396 has it: members are merged at every depth, null removes one, all else replaces.
fn merge(target: &mut Value, patch: &Value) {
    let Some(members) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Some(object) = target.as_object_mut() else { return };
    for (name, value) in members {
        if value.is_null() {
            object.remove(name);
        } else {
            merge(object.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// Applies a JSON merge patch of a user to the parameters.
///
/// # Errors
/// Every member that is not acceptable.
pub fn patch(template: Option<&Template>, record: &Record, patch: &Value) -> Result<Params, Vec<FieldError>> {
    let mut findings = Findings::default();
    let Some(members) = patch.as_object() else {
        findings.add("", "a merge patch is an object");
        return Err(findings.0);
    };
    let mut params = record.params.clone();
    for (name, value) in members {
        let field = name.escape_default().to_string();
        if !is_name(name) {
            findings.add(field, "a parameter's name is a-z, then a-z 0-9 _, at most 63 in all");
            continue;
        }
        let spec = template.and_then(|template| template.params.get(name));
        match (spec, value.is_null()) {
            (Some(spec), true) if spec.required && spec.default.is_none() => findings.add(field, "is needed"),
            (Some(spec), true) => match &spec.default {
                Some(default) => {
                    params.insert(name.clone(), default.clone());
                }
                None => {
                    params.remove(name);
                }
            },
            (None, true) => {
                params.remove(name);
            }
            (Some(spec), false) => match spec.accept(value) {
                Ok(value) => {
                    params.insert(name.clone(), value);
                }
                Err(message) => findings.add(field, message),
            },
            (None, false) if value.as_str().is_some_and(|text| text.contains('\0')) => {
                findings.add(field, "has a NUL character");
            }
            (None, false) => merge(params.entry(name.clone()).or_insert(Value::Null), value),
        }
    }
    let bytes: usize = params.iter().map(|(name, value)| name.len() + plain(value).len()).sum();
    if params.len() > 256 || bytes > 64 * 1024 {
        findings.add("params", "would be more than 256, or longer than 64 KiB in all");
    }
    if findings.0.is_empty() { Ok(params) } else { Err(findings.0) }
}
