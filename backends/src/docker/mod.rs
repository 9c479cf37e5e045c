//! The docker backend: sessions as containers of an engine that speaks the Docker Engine API.
//!
//! ```text
//! hook ─ docker.create ─▶ policy ([config]) ─▶ spec (what the container is) ─▶ engine (bollard)
//!                                                 └ name and label = the session's id
//! ```
//!
//! The container is named after the session's id, which an engine gives away only once, and carries it as a label. So
//! an answer that was lost is looked up by name, and a container without the label is never ours: it is neither
//! adopted nor removed. The name is the job id: the monitor knows it too, and tells it when nobody else can.
//!
//! Read [`spec`] for what a container gets to see, [`containers`] for the verbs, [`transport`] for what an answer may cost.

mod arguments;
mod containers;
mod engine;
mod events;
mod exec;
mod images;
mod listing;
mod login;
mod logs;
mod podman;
mod policy;
mod raw;
mod sights;
mod spec;
mod transport;
mod upload;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::mpsc;
use wharf_core::backend::{Backend, Heard, HostContext, HostError, HostFunction, HostModule};
use wharf_core::hook::HookErrorKind;
use wharf_protocol::SessionId;

use arguments::read;
pub use engine::{Address, Tls};
use engine::{Engine, within};
pub use spec::SOCKET;
pub use upload::Source;

/// One engine.
#[derive(Debug, Clone)]
pub struct Docker {
    name: String,
    engine: Arc<Engine>,
}

const FUNCTIONS: &[HostFunction] = &[
    HostFunction {
        name: "pull",
        writes: true,
        doc: "Brings an image, telling the user how far it is; {image, when = missing|always|never} → {}.",
    },
    HostFunction {
        name: "create",
        writes: true,
        doc: "Makes a session's container or finds the one that was made; {id, monitor, image, …} → {}.",
    },
    HostFunction {
        name: "start",
        writes: true,
        doc: "Starts a container that never ran; one that the engine refuses to start is removed; {id} → {}.",
    },
    HostFunction {
        name: "inspect",
        writes: false,
        doc: "Looks at containers, with one list call; {ids} → {[id] = {state, raw, exit_code?, …}}.",
    },
    HostFunction {
        name: "list",
        writes: false,
        doc: "Finds containers; {ids} → {[id] = the engine's word for its state, or false}.",
    },
    HostFunction {
        name: "logs",
        writes: false,
        doc: "What a container's first process printed, the end of it or what came since; {id, tail?, after?} → {text, next?}.",
    },
    HostFunction {
        name: "exec",
        writes: true,
        doc: "Runs a program in a container; {id, argv, stdin?} → {status, stdout, stderr, truncated}.",
    },
    HostFunction {
        name: "stats",
        writes: false,
        doc: "What a container uses now; {id} → {memory, memory_limit, cpu_seconds, pids}.",
    },
    HostFunction {
        name: "networks",
        writes: false,
        doc: "Networks that sessions of the template may join; {} → names.",
    },
    HostFunction {
        name: "remove",
        writes: true,
        doc: "Kills and removes a session's container; {id} → {}. Already gone is success.",
    },
];

impl Docker {
    /// The engine at that address, under that backend name: `docker`, or `docker/INSTANCE` where there are several.
    /// Without a source it can start nothing on an engine that needs uploads.
    pub fn new(name: impl Into<String>, address: Address, source: Option<Source>) -> Self {
        Self { name: name.into(), engine: Arc::new(Engine::new(address, source)) }
    }
}

#[async_trait]
impl Backend for Docker {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Vec<&'static str> {
        vec!["survives_launcher", "find_by_tag", "exec", "logs", "images"]
    }

    fn requeues(&self) -> bool {
        false
    }

    async fn probe(&self) -> Result<(), String> {
        let told = |error: HostError| error.message;
        let client = self.engine.client().await.map_err(told)?;
        client.ping().await.map(drop).map_err(|error| told(self.engine.told("the engine", error)))
    }

    fn module(&self) -> Option<Arc<dyn HostModule>> {
        Some(Arc::new(self.clone()))
    }

    async fn free_memory(&self) -> Option<u64> {
        sights::free_memory(&self.engine).await.ok()
    }

    async fn forget(&self, session: &SessionId) -> Result<(), String> {
        containers::forget(&self.engine, session).await.map_err(|error| error.message)
    }

    async fn watch(&self, heard: &mpsc::UnboundedSender<Heard>) {
        events::watch(&self.engine, heard).await;
    }
}

#[async_trait]
impl HostModule for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn functions(&self) -> &'static [HostFunction] {
        FUNCTIONS
    }

    async fn call(
        &self,
        function: &str,
        arguments: Value,
        context: &HostContext,
    ) -> Result<Value, HostError> {
        let engine = &*self.engine;
        match function {
            "pull" => within(context, images::pull(engine, &read(arguments)?, context)).await,
            "create" => within(context, containers::create(engine, &read(arguments)?, context)).await,
            "start" => within(context, containers::start(engine, &read(arguments)?)).await,
            "inspect" => within(context, containers::inspect(engine, &read(arguments)?)).await,
            "list" => within(context, containers::list(engine, &read(arguments)?)).await,
            "logs" => within(context, logs::logs(engine, &read(arguments)?)).await,
            "stats" => within(context, sights::stats(engine, &read(arguments)?)).await,
            "networks" => within(context, sights::networks(engine, context)).await,
            "exec" => within(context, exec::exec(engine, read(arguments)?)).await,
            "remove" => within(context, Box::pin(containers::remove(engine, &read(arguments)?))).await,
            _ => Err(HostError::new(HookErrorKind::Internal, format!("docker has no function {function}"))),
        }
    }
}

#[cfg(test)]
mod tests;
