//! Verbs for containers: create, start, look, remove. Each can be said twice.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, ListContainersOptions, LogsOptions, RemoveContainerOptions,
    StartContainerOptions,
};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use wharf_core::backend::{HostContext, HostError};
use wharf_core::hook::HookErrorKind;

use super::arguments::{Create, Inspect, List, Logs, Remove, Start};
use super::engine::{Engine, status};
use super::policy::Policy;
use super::spec::{self, LABEL};

/// Most bytes of a container's log.
const LOG_MAX: usize = 1 << 20;

/// Makes the container; where the answer is "there is one" or none at all, what is there decides.
pub(super) async fn create(
    engine: &Engine,
    create: &Create,
    context: &HostContext,
) -> Result<Value, HostError> {
    let body = spec::body(create, &Policy::of(context)?)?;
    let client = engine.client().await?;
    let options = CreateContainerOptions { name: Some(create.id.to_string()), ..Default::default() };
    let error = match client.create_container(Some(options), body).await {
        Ok(made) => return Ok(json!({ "job_id": made.id })),
        Err(error) => error,
    };
    let conflict = status(&error) == Some(409);
    let lost = status(&error).is_none_or(|status| status >= 500);
    let error = engine.told("the container was not created", error);
    if error.kind == HookErrorKind::Unavailable || !(conflict || lost) {
        return Err(error);
    }
    match look(engine, create.id.as_str()).await? {
        Some(found) if is_of(&found, create.id.as_str()) => Ok(json!({ "job_id": found.id })),
        Some(_) => Err(HostError::new(
            HookErrorKind::Misconfigured,
            format!("there is a container {} that is not this session's; it was left alone", create.id),
        )),
        None => Err(error),
    }
}

/// What is there under a name or id.
async fn look(engine: &Engine, name: &str) -> Result<Option<ContainerInspectResponse>, HostError> {
    let client = engine.client().await?;
    match client.inspect_container(name, None::<InspectContainerOptions>).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if status(&error) == Some(404) => Ok(None),
        Err(error) => Err(engine.told("the container cannot be looked at", error)),
    }
}

fn labelled(found: &ContainerInspectResponse) -> Option<&str> {
    found.config.as_ref()?.labels.as_ref()?.get(LABEL).map(String::as_str)
}

fn is_of(found: &ContainerInspectResponse, session: &str) -> bool {
    labelled(found) == Some(session)
}

fn state(found: &ContainerInspectResponse) -> Option<ContainerStateStatusEnum> {
    found.state.as_ref()?.status
}

/// Starts what never ran: a session's container runs once. What the engine refuses to start is not left behind.
pub(super) async fn start(engine: &Engine, start: &Start) -> Result<Value, HostError> {
    let client = engine.client().await?;
    let gone = || HostError::new(HookErrorKind::NotFound, "the container has been removed");
    let found = look(engine, &start.job_id).await?.ok_or_else(gone)?;
    if labelled(&found).is_none() {
        return Err(HostError::new(HookErrorKind::Denied, "this container is no session's"));
    }
    if state(&found) != Some(ContainerStateStatusEnum::CREATED) {
        return Ok(json!({}));
    }
    match client.start_container(&start.job_id, None::<StartContainerOptions>).await {
        Ok(()) => Ok(json!({})),
        Err(error) => {
            let refused = status(&error).is_some_and(|status| status != 503);
            let error = engine.told("the container does not start", error);
            if refused {
                // The refusal is what the user has to hear; a container that stays is found by its label.
                if let Err(stays) = end(engine, &start.job_id).await {
                    tracing::warn!(container = start.job_id, error = %stays, "a container that did not start stays");
                }
            }
            Err(error)
        }
    }
}

/// All containers of sessions, whatever their state: one call.
async fn all(engine: &Engine) -> Result<Vec<ContainerSummary>, HostError> {
    let client = engine.client().await?;
    let options = ListContainersOptions {
        all: true,
        filters: Some(HashMap::from([("label".to_owned(), vec![LABEL.to_owned()])])),
        ..Default::default()
    };
    client
        .list_containers(Some(options))
        .await
        .map_err(|error| engine.told("containers cannot be listed", error))
}

fn word(container: &ContainerSummary) -> String {
    container.state.map(|state| state.to_string()).unwrap_or_default()
}

/// The states of jobs.
pub(super) async fn inspect(engine: &Engine, inspect: &Inspect) -> Result<Value, HostError> {
    let listed = all(engine).await?;
    let there: HashMap<&str, &ContainerSummary> =
        listed.iter().filter_map(|one| Some((one.id.as_deref()?, one))).collect();
    let mut answer = BTreeMap::new();
    for job in &inspect.job_ids {
        let Some(container) = there.get(job.as_str()) else {
            answer.insert(job.clone(), json!({ "state": "gone", "raw": "no such container" }));
            continue;
        };
        let raw = word(container);
        let state = match raw.as_str() {
            "created" | "restarting" => "starting",
            "running" => "running",
            "paused" => "suspended",
            "removing" | "stopping" => "completing",
            "exited" | "dead" | "stopped" => "ended",
            _ => "unknown",
        };
        if state == "ended" {
            // It may have been removed since.
            let found = look(engine, job).await?;
            answer.insert(job.clone(), found.map_or_else(|| json!({ "state": "gone" }), |found| ended(&found, &raw)));
        } else {
            answer.insert(job.clone(), json!({ "state": state, "raw": raw }));
        }
    }
    Ok(json!(answer))
}

/// How a container ended.
fn ended(found: &ContainerInspectResponse, raw: &str) -> Value {
    let mut report = json!({ "state": "ended", "raw": raw });
    let Some(state) = &found.state else { return report };
    if let Some(code) = state.exit_code {
        report["exit_code"] = json!(code);
        report["raw"] = json!(format!("{raw} {code}"));
    }
    if state.oom_killed == Some(true) {
        report["cause"] = json!("out_of_memory");
    }
    if let Some(error) = state.error.as_deref().filter(|error| !error.is_empty()) {
        report["reason"] = json!(error);
    }
    report
}

/// Containers by session.
pub(super) async fn list(engine: &Engine, list: &List) -> Result<Value, HostError> {
    let listed = all(engine).await?;
    let mut answer = BTreeMap::new();
    for id in &list.ids {
        let of = |one: &&ContainerSummary| {
            one.labels.as_ref().is_some_and(|labels| labels.get(LABEL).is_some_and(|tag| tag == id.as_str()))
        };
        let found: Vec<Value> = listed
            .iter()
            .filter(of)
            .map(|one| json!({ "job_id": one.id, "state": word(one) }))
            .collect();
        answer.insert(id.to_string(), if found.is_empty() { json!(false) } else { json!(found) });
    }
    Ok(json!(answer))
}

/// What the container's first process printed: the monitor's own words, not the command's.
pub(super) async fn logs(engine: &Engine, logs: &Logs) -> Result<Value, HostError> {
    let client = engine.client().await?;
    let name = logs.job_id.clone().unwrap_or_else(|| logs.id.to_string());
    let Some(found) = look(engine, &name).await?.filter(|found| is_of(found, logs.id.as_str())) else {
        return Ok(json!({ "text": "" }));
    };
    let options = LogsOptions {
        stdout: true,
        stderr: true,
        tail: logs.tail.map_or_else(|| "all".to_owned(), |tail| tail.max(0).to_string()),
        ..Default::default()
    };
    let mut stream = client.logs(found.id.as_deref().unwrap_or(&name), Some(options));
    let mut text = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| engine.told("the container's log cannot be read", error))?;
        text.extend_from_slice(&piece.into_bytes());
        if text.len() > LOG_MAX {
            break;
        }
    }
    text.truncate(LOG_MAX);
    Ok(json!({ "text": String::from_utf8_lossy(&text) }))
}

/// Removes a session's container, by the id that it has: a name may have passed to somebody else.
pub(super) async fn remove(engine: &Engine, remove: &Remove) -> Result<Value, HostError> {
    let name = remove.job_id.clone().unwrap_or_else(|| remove.id.to_string());
    match look(engine, &name).await? {
        Some(found) if is_of(&found, remove.id.as_str()) => {
            end(engine, found.id.as_deref().unwrap_or(&name)).await?;
        }
        // Somebody else's container: there is none of ours.
        Some(_) | None => {}
    }
    Ok(json!({}))
}

/// Kills and removes, and returns when it is gone.
async fn end(engine: &Engine, id: &str) -> Result<(), HostError> {
    let client = engine.client().await?;
    let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
    match client.remove_container(id, Some(options)).await {
        Ok(()) => return Ok(()),
        Err(error) if status(&error) == Some(404) => return Ok(()),
        // Its removal is in progress already.
        Err(error) if status(&error) == Some(409) => {}
        Err(error) => return Err(engine.told("the container cannot be removed", error)),
    }
    while look(engine, id).await?.is_some() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
