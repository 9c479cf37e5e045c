//! Terminate hooks of the same moment together: one run of `terminate_many` where the template has it.
//!
//! A request waits a moment for others of its template; alone it runs `terminate` as ever. Each session gets its own
//! verdict; one that the answer leaves out has none, which is a failure. Nothing here knows what a verdict means.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::effects::kept_without_trace;
use crate::hook::{Hook, HookAnswer, HookError, HookErrorKind};
use crate::inner::Inner;
use crate::record::Record;
use crate::requests;
use crate::state::Mode;
use crate::store::Change;

/// How long a request waits for others.
const MOMENT: Duration = Duration::from_millis(30);
/// Most sessions of one run.
const MOST: usize = 500;

/// A verdict, and what is to be kept of the run.
pub(crate) type Verdict = (Result<(), HookError>, Vec<Change>);

/// One request that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    record: Record,
    mode: Mode,
    reply: oneshot::Sender<Verdict>,
}

/// Requests that wait, by template and instance.
pub(crate) type Crowd = HashMap<(String, Option<String>), Vec<Waiting>>;

/// Ends a session's job.
pub(crate) async fn terminate(inner: &Arc<Inner>, record: Record, mode: Mode) -> Verdict {
    let many = inner
        .template(&record.template)
        .is_some_and(|template| template.hooks.contains(&Hook::TerminateMany));
    if !many {
        return alone(inner, &record, mode).await;
    }
    let (reply, verdict) = oneshot::channel();
    let template = (record.template.clone(), record.placed.clone());
    let first = inner.crowd(|crowd| {
        let waiting = crowd.entry(template.clone()).or_default();
        waiting.push(Waiting { record, mode, reply });
        waiting.len() == 1
    });
    if first {
        let inner = Arc::clone(inner);
        tokio::spawn(async move {
            tokio::time::sleep(MOMENT).await;
            let mut all = inner.crowd(|crowd| crowd.remove(&template)).unwrap_or_default();
            while !all.is_empty() {
                let part: Vec<Waiting> = all.drain(..all.len().min(MOST)).collect();
                let inner = Arc::clone(&inner);
                tokio::spawn(async move { together(&inner, part).await });
            }
        });
    }
    verdict.await.unwrap_or_else(|_| {
        (Err(HookError::new(HookErrorKind::Internal, "the terminate hooks broke off")), Vec::new())
    })
}

async fn alone(inner: &Inner, record: &Record, mode: Mode) -> Verdict {
    let job = record.job.as_ref().map(|job| (job.id.as_str(), job.handle.as_ref()));
    let request = requests::terminate(record, &inner.owner, job, mode.as_str());
    let id = Some(record.id.clone());
    let run = inner.run_hook(Hook::Terminate, record, id, request, None, CancellationToken::new()).await;
    let changes = crate::effects::kept(&record.id, inner.clock.now(), &run);
    (run.outcome.map(|_| ()), changes)
}

async fn together(inner: &Arc<Inner>, mut part: Vec<Waiting>) {
    if part.len() == 1
        && let Some(only) = part.pop()
    {
        let verdict = alone(inner, &only.record, only.mode).await;
        let _ = only.reply.send(verdict);
        return;
    }
    let Some(first) = part.first().map(|waiting| waiting.record.clone()) else { return };
    let jobs: Vec<(&Record, &str)> =
        part.iter().map(|waiting| (&waiting.record, waiting.mode.as_str())).collect();
    let request: Value = requests::terminate_many(&jobs, &inner.owner);
    let run =
        inner.run_hook(Hook::TerminateMany, &first, None, request, None, CancellationToken::new()).await;
    let now = inner.clock.now();
    let mut trace = Some(Change::Trace(Box::new(run.trace.clone())));
    for waiting in part {
        let verdict = match &run.outcome {
            Ok(HookAnswer::TerminateMany(verdicts)) => {
                verdicts.get(&waiting.record.id).cloned().unwrap_or_else(|| {
                    Err(HookError::new(
                        HookErrorKind::Internal,
                        "the terminate_many hook left the session out",
                    ))
                })
            }
            Ok(_) => Err(HookError::new(
                HookErrorKind::Internal,
                "the terminate_many hook gave another hook's answer",
            )),
            Err(error) => Err(error.clone()),
        };
        let mut changes: Vec<Change> = trace.take().into_iter().collect();
        changes.extend(kept_without_trace(&waiting.record.id, now, &run.trace, verdict.as_ref().err()));
        let _ = waiting.reply.send((verdict, changes));
    }
}
