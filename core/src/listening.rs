//! Listens to backends that say by themselves when a job may be over, and has it asked about at once.
//!
//! ```text
//! backend.watch ─▶ heard ─▶ (a moment: most ends are told by the monitor) ─▶ still live? ─▶ a round of `status`
//! ```
//!
//! Decides nothing: what was heard only moves the poller's next round forward, and what was not heard is found by it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::backend::{Backend, Heard};
use crate::inner::{Inner, When};

/// How long a job's own monitor has to tell its end, so that a usual end costs no round.
const MOMENT: Duration = Duration::from_millis(300);

/// Runs until the launcher stops, or at once to its end where the backend hears nothing.
pub(crate) async fn run(inner: Arc<Inner>, backend: Arc<dyn Backend>) {
    let (tell, mut heard) = mpsc::unbounded_channel();
    tokio::select! {
        () = inner.stop.cancelled() => {}
        () = backend.watch(&tell) => {}
        () = listen(&inner, backend.name(), &mut heard) => {}
    }
}

async fn listen(inner: &Inner, backend: &str, heard: &mut mpsc::UnboundedReceiver<Heard>) {
    let kind = backend.split('/').next().unwrap_or(backend);
    while let Some(first) = heard.recv().await {
        tokio::time::sleep(MOMENT).await;
        let (mut jobs, mut missed) = (HashSet::new(), false);
        let mut next = Some(first);
        while let Some(one) = next {
            match one {
                Heard::Job(job) => drop(jobs.insert(job)),
                Heard::Missed => missed = true,
            }
            next = heard.try_recv().ok();
        }
        for template in affected(inner, kind, |job| missed || jobs.contains(job)) {
            inner.ask(&template, if missed { When::Anew } else { When::Soon });
        }
    }
}

/// Templates with a live session on such a backend whose job is meant.
fn affected(inner: &Inner, kind: &str, meant: impl Fn(&str) -> bool) -> BTreeSet<String> {
    inner.sessions.each(|(_, handle)| {
        let view = handle.view.borrow();
        let record = &view.record;
        let job = record.job.as_ref()?;
        let live = record.backend == kind && !record.is_ended();
        (live && meant(&job.id)).then(|| record.template.clone())
    })
}
