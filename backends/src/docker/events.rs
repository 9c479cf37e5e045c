//! What the engine says by itself: that a session's container ended or was removed.
//!
//! ```text
//! ask the engine's own time ─▶ subscribe from there on ─▶ "missed": list now ─▶ die, destroy ─▶ that job
//!            ▲                                                                         │
//!            └──────────── a pause, longer each time ◀──── the connection broke ◀──────┘
//! ```
//!
//! Events are only heard while connected. So after each connection all jobs are asked about, and since the engine
//! repeats what happened from the named time on, nothing falls between the list and the first event.

use std::time::{Duration, Instant};

use bollard::models::EventMessage;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use wharf_core::backend::Heard;

use super::engine::{Engine, words};
use super::raw::{self, Line};
use super::spec::LABEL;

/// Between two attempts, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// What happens to a container when its job is over; Podman has words of its own.
const OVER: [&str; 4] = ["die", "died", "destroy", "remove"];

/// Listens for as long as it is polled.
pub(super) async fn watch(engine: &Engine, heard: &mpsc::UnboundedSender<Heard>) {
    let mut pause = PAUSES.0;
    loop {
        let began = Instant::now();
        if let Some(since) = now(engine).await {
            listen(engine, since, heard).await;
        }
        if began.elapsed() > PAUSES.1 {
            pause = PAUSES.0;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// The engine's own time, which need not be ours, in the form that it takes as a beginning: whole seconds.
async fn now(engine: &Engine) -> Option<String> {
    let told = engine.client().await.ok()?.info().await.ok()?.system_time?;
    let time: jiff::Timestamp = told.parse().ok()?;
    Some(time.as_second().to_string())
}

/// Until the connection breaks.
async fn listen(engine: &Engine, since: String, heard: &mpsc::UnboundedSender<Heard>) {
    // Not by label: Podman takes one without a value for none at all.
    let filters = serde_json::json!({ "type": ["container"], "event": OVER }).to_string();
    let query = [("since", since.as_str()), ("filters", filters.as_str())];
    let events = match raw::ask(engine, "/events", &query).await {
        Ok(body) => raw::lines(body),
        Err(error) => return tracing::debug!(error = words(&error), "the engine's events are not told"),
    };
    let mut events = std::pin::pin!(events);
    let _ = heard.send(Heard::Missed);
    while let Some(event) = events.next().await {
        match event {
            Ok(Line::Read(event)) => {
                if let Some(job) = over(event) {
                    let _ = heard.send(Heard::Job(job));
                }
            }
            // Nobody knows whose it was.
            Ok(Line::TooLong) => drop(heard.send(Heard::Missed)),
            Err(error) => return tracing::debug!(error = words(&error), "the engine's events broke off"),
        }
    }
}

/// The job that may be over: a container's label is its session, and that is its name.
fn over(event: EventMessage) -> Option<String> {
    let is_over = OVER.contains(&event.action?.as_str());
    event.actor?.attributes?.remove(LABEL).filter(|_| is_over)
}

#[cfg(test)]
mod tests;
