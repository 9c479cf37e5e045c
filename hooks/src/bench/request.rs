//! The usual request of each hook: what a case, a dry run or an injection does not say is filled in from here.

use serde_json::{Map, Value, json};
use wharf_core::hook::{Hook, User};
use wharf_core::template::{ParamKind, ParamSpec, Template};
use wharf_protocol::api::StartRequest;
use wharf_protocol::{FieldError, SessionId, Time};

/// The session that cases are about.
pub const SESSION: &str = "k3v9x2m7q4t8w1z6b5n0";
/// The job that cases are about.
pub(crate) const JOB: &str = "4711";
/// Where the session's directory seems to be.
const DATA: &str = "/wharf/sessions";

/// Whose session it is.
pub(crate) fn user() -> User {
    User {
        name: "alice".to_owned(),
        uid: 1000,
        gid: 1000,
        home: "/home/alice".to_owned(),
        groups: vec!["users".to_owned()],
    }
}

/// When it all happens.
pub(crate) fn now() -> Time {
    // 2026-01-01T10:00:00Z
    Time::from_millis(1_767_261_600_000)
}

/// A value that a required parameter without default takes.
pub(crate) fn placeholder(spec: &ParamSpec) -> Value {
    let smallest = spec.min.clone();
    if let Some(first) = spec.choices.first() {
        return first.clone();
    }
    smallest.unwrap_or_else(|| match spec.kind {
        ParamKind::String | ParamKind::Choice => json!("example"),
        ParamKind::Int | ParamKind::Float => json!(1),
        ParamKind::Bool => json!(false),
        ParamKind::Duration => json!("1h"),
        ParamKind::Size => json!("1GiB"),
        ParamKind::Path => json!("/tmp"),
    })
}

/// What a user asks for who says as little as possible.
pub(crate) fn start(template: &Template) -> StartRequest {
    let params = template
        .params
        .iter()
        .filter(|(_, spec)| spec.required && spec.default.is_none())
        .map(|(name, spec)| (name.clone(), placeholder(spec)))
        .collect();
    let command = template.command.default.is_empty().then(|| vec!["true".to_owned()]);
    StartRequest {
        template: template.name.clone(),
        name: Some("example".to_owned()),
        params,
        command,
        ..StartRequest::default()
    }
}

/// The session of a request, by the rules that hold for every start.
///
/// # Errors
/// What is not acceptable, by member.
pub(crate) fn session(template: &Template, request: &StartRequest) -> Result<Value, Vec<FieldError>> {
    let id: SessionId = SESSION.parse().map_err(|_| Vec::new())?;
    let record = wharf_core::admission::admit(id, &user(), template, request, false, now())?;
    Ok(json!({
        "id": record.id,
        "name": record.name,
        "owner": record.owner,
        "template": record.template,
        "params": record.params,
        "command": record.command,
        "env": record.env,
        "tags": record.tags,
        "created_at": record.created_at,
    }))
}

/// The session when nobody says anything of it.
pub(crate) fn usual_session(template: &Template) -> Value {
    session(template, &start(template)).unwrap_or_else(|_| {
        let params: Map<String, Value> = template
            .params
            .iter()
            .map(|(name, spec)| (name.clone(), spec.default.clone().unwrap_or_else(|| placeholder(spec))))
            .collect();
        json!({
            "id": SESSION, "name": "example", "owner": "alice", "template": template.name, "params": params,
            "command": ["true"], "env": {}, "tags": {}, "created_at": now(),
        })
    })
}

/// The whole request of a hook for that session.
pub(crate) fn of(hook: Hook, template: &Template, session: &Value) -> Value {
    let mut request = json!({ "user": user() });
    let one = |request: &mut Value| request["session"] = session.clone();
    match hook {
        Hook::Options => request["params"] = session["params"].clone(),
        Hook::Validate => {
            one(&mut request);
            request["params"] = session["params"].clone();
            request["command"] = session["command"].clone();
        }
        Hook::Select => {
            one(&mut request);
            request["nodes"] = json!([{ "name": "node1" }, { "name": "node2" }]);
        }
        Hook::Prepare | Hook::Submit => {
            one(&mut request);
            request["monitor"] = monitor();
            request["job"] =
                json!({ "before": template.job_before, "cwd": template.job_cwd, "env": template.job_env });
        }
        Hook::Find => request["sessions"] = json!([session]),
        Hook::Status => {
            request["jobs"] = json!([{ "session_id": session["id"], "job_id": JOB, "handle": null }]);
        }
        Hook::Logs => {
            one(&mut request);
            request["job_id"] = json!(JOB);
            request["tail"] = json!(100);
            request["after"] = Value::Null;
            request["dir"] = monitor()["dir"].clone();
        }
        Hook::Terminate => {
            one(&mut request);
            request["mode"] = json!("stop");
        }
        Hook::TerminateMany => {
            request["jobs"] = json!([{ "session_id": session["id"], "job_id": JOB, "mode": "stop" }]);
        }
        Hook::Extend => {
            one(&mut request);
            request["job_id"] = json!(JOB);
            request["by_seconds"] = json!(3600);
        }
        Hook::OnRunning | Hook::OnConnect | Hook::OnDisconnect | Hook::OnParams | Hook::OnEnded => {
            one(&mut request);
            request["job_id"] = json!(JOB);
        }
    }
    request
}

/// How the job seems to start its monitor.
pub(crate) fn monitor() -> Value {
    let dir = format!("{DATA}/{SESSION}");
    json!({
        "argv": ["/wharf/wharf-monitor", "run", "--bootstrap", format!("{dir}/mount/bootstrap.json")],
        "env": {},
        "dir": dir,
    })
}

/// The usual request with what a case says on top. `false` takes a member away.
pub(crate) fn filled(hook: Hook, template: &Template, given: &Value) -> Value {
    let session = usual_session(template);
    let mut request = of(hook, template, &session);
    overlay(&mut request, given);
    let removed = given.as_object().into_iter().flatten().filter(|(_, value)| **value == Value::Bool(false));
    for (name, _) in removed {
        if let Some(members) = request.as_object_mut() {
            members.remove(name);
        }
    }
    // Each session of a list is a whole one as well.
    if let Some(items) = given.get("sessions").and_then(Value::as_array) {
        let whole = items.iter().map(|item| {
            let mut one = session.clone();
            overlay(&mut one, item);
            one
        });
        request["sessions"] = whole.collect();
    }
    request
}

/// Lays one value over another: objects merge, everything else is replaced.
pub(crate) fn overlay(below: &mut Value, above: &Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (name, value) in above {
                match below.get_mut(name) {
                    Some(old) => overlay(old, value),
                    None => drop(below.insert(name.clone(), value.clone())),
                }
            }
        }
        (below, above) => below.clone_from(above),
    }
}
