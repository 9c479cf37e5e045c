//! Verbs for containers: create, start, look, remove. Each can be said twice.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, RemoveContainerOptions, StartContainerOptions,
};
use serde_json::{Value, json};
use wharf_core::backend::{HostContext, HostError};
use wharf_core::hook::HookErrorKind;
use wharf_protocol::SessionId;

use super::arguments::{Create, List, One};
use super::engine::{Engine, status, words};
use super::listing::{all, by_session};
use super::podman::understood;
use super::policy::Policy;
use super::spec::{self, LABEL};
use super::upload;

/// Between two attempts to remove a container.
const AGAIN: Duration = Duration::from_millis(50);
/// So often a removal may fail before its failure is told.
const FAILURES: usize = 40;

/// A container that is a session's, by name and by label.
#[derive(Debug)]
pub(super) struct Own {
    /// The engine's own id: what is done by it cannot hit a later container of the same name.
    pub(super) id: String,
    found: ContainerInspectResponse,
}

impl Own {
    fn state(&self) -> Option<ContainerStateStatusEnum> {
        self.found.state.as_ref()?.status
    }
}

/// Makes the container; where the answer is "there is one" or none at all, what is there decides.
pub(super) async fn create(
    engine: &Engine,
    create: &Create,
    context: &HostContext,
) -> Result<Value, HostError> {
    let body = spec::body(create, &Policy::of(context)?, engine.uploads())?;
    let client = engine.client().await?;
    let options = CreateContainerOptions { name: Some(create.id.to_string()), ..Default::default() };
    let error = match client.create_container(Some(options), body).await {
        Ok(made) => {
            engine.made(&create.id, made.id);
            return Ok(json!({}));
        }
        Err(error) => error,
    };
    let conflict = status(&error) == Some(409);
    if is_without_image(&error) && engine.lost_image(&create.image) {
        // Nothing was made, and the next attempt brings it. It says nothing about the engine, or about other images.
        let message = format!("the image {} has just been removed: {}", create.image, words(&error));
        return Err(HostError::new(HookErrorKind::RateLimited, message));
    }
    let lost = status(&error).is_none_or(|status| status >= 500);
    let error = engine.told("the container was not created", error);
    if error.kind == HookErrorKind::Unavailable || !(conflict || lost) {
        return Err(error);
    }
    match look(engine, create.id.as_str()).await? {
        Some(found) if is_of(&found, &create.id) => Ok(json!({})),
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
    match understood(client.inspect_container(name, None::<InspectContainerOptions>).await) {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(engine.told("the container cannot be looked at", error)),
    }
}

/// Whether there is no such container. Podman says so with 500 of one that was removed while it looked.
fn is_gone(error: &Error) -> bool {
    match status(error) {
        Some(404) => true,
        Some(500) => words(error).contains("no such container"),
        _ => false,
    }
}

/// Whether the engine has no such image. A missing network is told with the same status.
fn is_without_image(error: &Error) -> bool {
    status(error) == Some(404) && words(error).to_lowercase().contains("no such image")
}

fn is_of(found: &ContainerInspectResponse, session: &SessionId) -> bool {
    let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
    labels.and_then(|labels| labels.get(LABEL)).is_some_and(|label| label == session.as_str())
}

/// A session's container; none when there is none, or somebody else's of that name.
pub(super) async fn own(engine: &Engine, session: &SessionId) -> Result<Option<Own>, HostError> {
    let found = look(engine, session.as_str()).await?.filter(|found| is_of(found, session));
    Ok(found.and_then(|found| Some(Own { id: found.id.clone()?, found })))
}

/// Starts what never ran: a session's container runs once. What the engine refuses to start is not left behind.
pub(super) async fn start(engine: &Engine, one: &One) -> Result<Value, HostError> {
    let client = engine.client().await?;
    let gone = || HostError::new(HookErrorKind::NotFound, "the container has been removed");
    let container = match engine.take_made(&one.id) {
        Some(made) => made,
        None => {
            let found = own(engine, &one.id).await?.ok_or_else(gone)?;
            if found.state() != Some(ContainerStateStatusEnum::CREATED) {
                return Ok(json!({}));
            }
            found.id
        }
    };
    if engine.uploads() {
        upload::bring(engine, &one.id, &container).await?;
    }
    match client.start_container(&container, None::<StartContainerOptions>).await {
        Ok(()) => Ok(json!({})),
        Err(error) => {
            let refused = status(&error).is_some_and(|status| status != 503);
            let error = engine.told("the container does not start", error);
            if refused {
                // The refusal is what the user has to hear; a container that stays is found by its label.
                if let Err(stays) = end(engine, &container).await {
                    tracing::warn!(session = %one.id, error = %stays, "a container that did not start stays");
                }
            }
            Err(error)
        }
    }
}

/// The states of jobs.
pub(super) async fn inspect(engine: &Engine, inspect: &List) -> Result<Value, HostError> {
    let listed = all(engine).await?;
    let there = by_session(&listed);
    let gone = || json!({ "state": "gone", "raw": "no such container" });
    let mut answer = BTreeMap::new();
    for job in &inspect.ids {
        let Some(container) = there.get(job.as_str()) else {
            answer.insert(job.clone(), gone());
            continue;
        };
        let raw = container.word();
        let state = match raw {
            "created" | "restarting" => "starting",
            "running" => "running",
            "paused" => "suspended",
            "removing" | "stopping" => "completing",
            "exited" | "dead" => "ended",
            _ => "unknown",
        };
        let mut report = match (state, container.id.as_deref()) {
            // It may have been removed since.
            ("ended", Some(id)) => look(engine, id).await?.map_or_else(gone, |found| ended(&found, raw)),
            _ => json!({ "state": state, "raw": raw }),
        };
        if let Some(node) = engine.node() {
            report["node"] = json!(node);
        }
        answer.insert(job.clone(), report);
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

/// Which containers there are.
pub(super) async fn list(engine: &Engine, list: &List) -> Result<Value, HostError> {
    let listed = all(engine).await?;
    let there = by_session(&listed);
    let found = |id: &String| there.get(id.as_str()).map_or_else(|| json!(false), |one| json!(one.word()));
    let answer: BTreeMap<&String, Value> = list.ids.iter().map(|id| (id, found(id))).collect();
    Ok(json!(answer))
}

/// Removes a session's container; somebody else's of that name is none of ours.
pub(super) async fn remove(engine: &Engine, one: &One) -> Result<Value, HostError> {
    if let Some(container) = own(engine, &one.id).await? {
        end(engine, &container.id).await?;
    }
    Ok(json!({}))
}

/// Removes a session's container that was made and never started. Without force: one that begins meanwhile is refused by
/// the engine, and stays.
pub(super) async fn forget(engine: &Engine, session: &SessionId) -> Result<(), HostError> {
    let Some(container) = own(engine, session).await? else { return Ok(()) };
    if container.state() != Some(ContainerStateStatusEnum::CREATED) {
        return Ok(());
    }
    let client = engine.client().await?;
    let options = RemoveContainerOptions { v: true, ..Default::default() };
    match client.remove_container(&container.id, Some(options)).await {
        Ok(()) => Ok(()),
        Err(error) if is_gone(&error) || status(&error) == Some(409) => Ok(()),
        Err(error) => Err(engine.told("the container cannot be removed", error)),
    }
}

/// Kills and removes, and returns when it is gone.
async fn end(engine: &Engine, id: &str) -> Result<(), HostError> {
    let client = engine.client().await?;
    let mut failures = 0;
    loop {
        let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
        match client.remove_container(id, Some(options)).await {
            Ok(()) => return Ok(()),
            Err(error) if is_gone(&error) => return Ok(()),
            // Its removal is in progress already.
            Err(error) if status(&error) == Some(409) => {}
            // Podman says this of one that it is still cleaning up.
            Err(error) if status(&error) == Some(500) && failures < FAILURES => failures += 1,
            Err(error) => return Err(engine.told("the container cannot be removed", error)),
        }
        tokio::time::sleep(AGAIN).await;
    }
}
