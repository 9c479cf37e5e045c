//! What hooks are asked, and what monitors are given, made from a record.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wharf_protocol::monitor::{self, Bootstrap, Credential, Snapshot};
use wharf_protocol::session::Params;
use wharf_protocol::signed::Purpose;
use wharf_protocol::{Time, time::Dur};

use crate::hook::{MonitorInRequest, SessionInRequest, User};
use crate::keys::Keys;
use crate::params::plain;
use crate::record::Record;
use crate::template::Template;

/// Beyond `timeouts.queue`: how long a credential is good without a live record.
const CREDENTIAL: Dur = Dur::secs(90 * 24 * 3600);

/// The session as hooks see it.
pub(crate) fn session(record: &Record) -> SessionInRequest {
    SessionInRequest {
        id: record.id.clone(),
        name: record.name.clone(),
        owner: record.owner.clone(),
        template: record.template.clone(),
        params: record.params.clone(),
        command: record.command.clone(),
        env: record.env.clone(),
        tags: record.tags.clone(),
        created_at: record.created_at,
    }
}

/// `submit` and `prepare`; `job` is the site's own part of the job script.
pub(crate) fn submit(record: &Record, user: &User, monitor: &MonitorInRequest, template: &Template) -> Value {
    let job = json!({
        "before": template.job_before,
        "cwd": template.job_cwd,
        "env": template.job_env,
    });
    placed(record, json!({ "session": session(record), "user": user, "monitor": monitor, "job": job }))
}

/// The same with the instance that was chosen for it.
fn placed(record: &Record, mut request: Value) -> Value {
    if let Some(name) = &record.placed {
        request["node"] = json!(name);
    }
    request
}

/// `select`.
pub(crate) fn select(record: &Record, user: &User, nodes: &[Value]) -> Value {
    json!({ "session": session(record), "user": user, "nodes": nodes })
}

/// `validate`.
pub(crate) fn validate(record: &Record, user: &User) -> Value {
    json!({ "session": session(record), "user": user, "params": record.params, "command": record.command })
}

/// `options`.
pub(crate) fn options(user: &User, params: &Params) -> Value {
    json!({ "user": user, "params": params })
}

/// `find`.
pub(crate) fn find(record: &Record, user: &User) -> Value {
    placed(record, json!({ "user": user, "sessions": [session(record)] }))
}

/// `status`, for many of one instance: that of the first record.
pub(crate) fn status(
    first: &Record,
    jobs: &[(wharf_protocol::SessionId, String, Option<Value>)],
    user: &User,
) -> Value {
    let jobs: Vec<Value> = jobs
        .iter()
        .map(|(session, job, handle)| json!({ "session_id": session, "job_id": job, "handle": handle }))
        .collect();
    placed(first, json!({ "user": user, "jobs": jobs }))
}

/// `terminate`, for the record's job or another one.
pub(crate) fn terminate(
    record: &Record,
    user: &User,
    job: Option<(&str, Option<&Value>)>,
    mode: &str,
) -> Value {
    let mut request = placed(record, json!({ "session": session(record), "user": user, "mode": mode }));
    if let Some((job, handle)) = job {
        request["job_id"] = json!(job);
        request["handle"] = json!(handle);
    }
    request
}

/// `terminate_many`: sessions and how hard each is to be ended.
pub(crate) fn terminate_many(records: &[(&Record, &str)], user: &User) -> Value {
    let jobs: Vec<Value> = records
        .iter()
        .map(|(record, mode)| {
            let mut job = json!({ "session_id": record.id, "mode": mode });
            if let Some(known) = &record.job {
                job["job_id"] = json!(known.id);
                job["handle"] = json!(known.handle);
            }
            job
        })
        .collect();
    let request = json!({ "user": user, "jobs": jobs });
    records.first().map_or_else(|| request.clone(), |(first, _)| placed(first, request.clone()))
}

/// `logs` and `extend` and the `on_*` hooks: the session, its job, and members of their own.
pub(crate) fn about(record: &Record, user: &User, more: &[(&str, Value)]) -> Value {
    let mut request = placed(record, json!({ "session": session(record), "user": user }));
    if let Some(job) = &record.job {
        request["job_id"] = json!(job.id);
        request["handle"] = json!(job.handle);
    }
    for (name, value) in more {
        request[*name] = value.clone();
    }
    request
}

/// A new credential for the record's present attempt.
pub(crate) fn credential(record: &Record, keys: &Keys, now: Time) -> String {
    let attempt = record.incarnation.map_or(record.attempt, |known| known.attempt.max(record.attempt));
    keys.sign(
        Purpose::Credential,
        &Credential {
            id: record.id.clone(),
            owner: record.owner.clone(),
            template: record.template.clone(),
            attempt,
            not_after: now.after(record.rules.queue).after(CREDENTIAL.0),
        },
    )
}

/// What a purged session comes back with.
pub(crate) fn snapshot(record: &Record, keys: &Keys) -> String {
    keys.sign(
        Purpose::Snapshot,
        &Snapshot {
            rev: record.rev,
            placed: record.placed.clone(),
            id: record.id.clone(),
            owner: record.owner.clone(),
            name: record.name.clone(),
            template: record.template.clone(),
            backend: record.backend.clone(),
            scheduler: record.scheduler.clone(),
            command: record.command.clone(),
            tty: record.tty,
            params: record.open_params(),
            params_rev: record.params_rev,
            tags: record.tags.clone(),
            shares: record.shares.clone(),
            limits: record.rules.limits.clone(),
            job: record.job.as_ref().map(|job| job.id.clone()),
            handle: record.job.as_ref().and_then(|job| job.handle.clone()),
            attempt: record.attempt,
            created_at: record.created_at,
            started_at: record.started_at,
        },
    )
}

/// The bootstrap file of the record's present attempt.
pub(crate) fn bootstrap(record: &Record, template: &Template, keys: &Keys, now: Time) -> Bootstrap {
    Bootstrap {
        version: monitor::PROTOCOL,
        addresses: "addresses".into(),
        session: record.id.clone(),
        credential: credential(record, keys, now),
        snapshot: snapshot(record, keys),
        keys: keys.pins(),
        command: record.command.clone(),
        stop: template.command.stop.clone(),
        tty: record.tty,
        env: environment(record, template),
        cwd: template.job_cwd.clone(),
        limits: record.rules.limits.clone(),
        endpoints: template.endpoints.clone(),
        run_dir: None,
    }
}

/// The command's variables beside the job's own.
fn environment(record: &Record, template: &Template) -> BTreeMap<String, String> {
    let mut env = template.job_env.clone();
    env.extend(record.env.clone());
    env.insert("WHARF_SESSION_ID".to_owned(), record.id.to_string());
    env.insert("WHARF_SESSION_NAME".to_owned(), record.name.clone());
    env.insert("WHARF_TEMPLATE".to_owned(), record.template.clone());
    for (name, value) in record.open_params() {
        let value = plain(&value);
        if !value.contains('\0') {
            env.insert(format!("WHARF_PARAM_{}", name.to_ascii_uppercase()), value);
        }
    }
    env
}
