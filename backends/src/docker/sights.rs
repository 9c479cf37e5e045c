//! What there is to see on an engine beside containers' states: networks to join, what a container uses, and what is
//! left for others.

use bollard::query_parameters::{ListNetworksOptions, StatsOptions};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use wharf_core::backend::{HostContext, HostError};
use wharf_core::hook::HookErrorKind;

use super::arguments::One;
use super::containers;
use super::engine::Engine;
use super::listing::{self, Listed};
use super::policy::Policy;

/// The networks that sessions of the template may join, by name.
pub(super) async fn networks(engine: &Engine, context: &HostContext) -> Result<Value, HostError> {
    let policy = Policy::of(context)?;
    let client = engine.client().await?;
    let listed = client.list_networks(None::<ListNetworksOptions>).await;
    let listed = listed.map_err(|error| engine.told("networks cannot be listed", error))?;
    let mut names: Vec<String> = listed.into_iter().filter_map(|network| network.name).collect();
    names.retain(|name| policy.check_network(name).is_ok());
    names.sort_unstable();
    Ok(json!(names))
}

/// What a session's container uses now.
pub(super) async fn stats(engine: &Engine, one: &One) -> Result<Value, HostError> {
    let client = engine.client().await?;
    let gone = || HostError::new(HookErrorKind::NotFound, "there is no such container");
    let container = containers::own(engine, &one.id).await?.ok_or_else(gone)?;
    let once = StatsOptions { stream: false, one_shot: true };
    let told = std::pin::pin!(client.stats(&container.id, Some(once))).next().await.ok_or_else(gone)?;
    let told = told.map_err(|error| engine.told("the container's use cannot be asked", error))?;
    let memory = told.memory_stats.unwrap_or_default();
    let cpu = told.cpu_stats.and_then(|cpu| cpu.cpu_usage?.total_usage);
    Ok(json!({
        "memory": memory.usage,
        "memory_limit": memory.limit,
        // Nanoseconds there.
        "cpu_seconds": cpu.map(|used| std::time::Duration::from_nanos(used).as_secs_f64()),
        "pids": told.pids_stats.and_then(|pids| pids.current),
    }))
}

/// Bytes of the engine's host that are promised to no session's container that has not ended. One without a limit is
/// promised nothing.
pub(super) async fn free_memory(engine: &Engine) -> Result<u64, HostError> {
    let client = engine.client().await?;
    let info =
        client.info().await.map_err(|error| engine.told("the engine's memory cannot be asked", error))?;
    let total = info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
    let promised: u64 = listing::all(engine)
        .await?
        .iter()
        .filter(|one| !["exited", "dead"].contains(&one.word()))
        .filter_map(Listed::memory)
        .fold(0, u64::saturating_add);
    Ok(total.saturating_sub(promised))
}
