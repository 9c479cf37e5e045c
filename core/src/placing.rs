//! Where a session goes, of several instances of its template's backend: the `select` hook, or a built-in rule.
//!
//! Chosen once, before the record is written, and part of it: every later hook of the session is asked with the same
//! `node`. Nothing here knows what an instance is; the runtime finds the backend of that name.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wharf_protocol::{ErrorCode, Problem};

use crate::actions::from_hook;
use crate::hook::{Hook, HookAnswer};
use crate::inner::Inner;
use crate::record::Record;
use crate::requests;
use crate::template::{Placement, Template};

/// How long a backend may take to tell how much memory it has left.
const PATIENCE: Duration = Duration::from_secs(2);

/// Chooses; `None` when the template names no instance.
///
/// # Errors
/// The `select` hook's failure; that it chose none of them.
pub(crate) async fn choose(
    inner: &Inner,
    template: &Template,
    record: &Record,
) -> Result<Option<String>, Problem> {
    let names = usable(inner, template);
    let Some(first) = names.first() else { return Ok(None) };
    if names.len() == 1 {
        return Ok(Some(first.clone()));
    }
    let load = load(inner, template);
    let sessions = |name: &String| load.get(name).copied().unwrap_or(0);
    if template.hooks.contains(&Hook::Select) {
        let nodes: Vec<Value> =
            names.iter().map(|name| json!({ "name": name, "sessions": sessions(name) })).collect();
        let request = requests::select(record, &inner.owner, &nodes);
        let id = Some(record.id.clone());
        let run = inner.run_hook(Hook::Select, record, id, request, None, CancellationToken::new()).await;
        let trace = run.trace.id.clone();
        inner.keep_trace(run.trace);
        return match run.outcome {
            Ok(HookAnswer::Select(best)) => match best.into_iter().find(|name| names.contains(name)) {
                Some(name) => Ok(Some(name)),
                None => Err(Problem::new(
                    ErrorCode::Unavailable,
                    format!("the `select` hook of {} finds no place for it now", template.name),
                )
                .hint("nothing was started; try again later")
                .retry_after(10)),
            },
            Ok(_) => Err(Problem::new(ErrorCode::HookFailed, "the select hook gave another hook's answer")),
            Err(error) => Err(from_hook(Hook::Select, &error, Some(&trace))),
        };
    }
    let fewest = || names.iter().min_by_key(|name| sessions(name)).unwrap_or(first);
    let chosen = match template.select {
        None => first,
        Some(Placement::Fewest) => fewest(),
        Some(Placement::MostMemory) => roomiest(inner, template, &names).await.unwrap_or_else(fewest),
        Some(Placement::RoundRobin) => {
            let turn = inner.turn(&template.name);
            names.get(turn % names.len()).unwrap_or(first)
        }
    };
    Ok(Some(chosen.clone()))
}

/// The instance with the most memory that is promised to nobody; `None` where no backend can tell in time.
async fn roomiest<'a>(inner: &Inner, template: &Template, names: &'a [String]) -> Option<&'a String> {
    let mut asked = JoinSet::new();
    for (at, name) in names.iter().enumerate() {
        let full = format!("{}/{name}", template.backend);
        let Some(backend) = inner.backends.iter().find(|backend| backend.name() == full).cloned() else {
            continue;
        };
        asked.spawn(async move { (tokio::time::timeout(PATIENCE, backend.free_memory()).await, at) });
    }
    let told = asked.join_all().await.into_iter();
    // Of equal ones the first.
    let (_, best) = told.filter_map(|(free, at)| Some((free.ok()??, Reverse(at)))).max()?;
    names.get(best.0)
}

/// The template's instances, in its order, without those that are known to be down; all of them if none is left.
fn usable(inner: &Inner, template: &Template) -> Vec<String> {
    let down = |name: &&String| !inner.is_down(&format!("{}/{name}", template.backend));
    let up: Vec<String> = template.instances.iter().filter(down).cloned().collect();
    if up.is_empty() { template.instances.clone() } else { up }
}

/// Live sessions by instance of that backend, whatever their template.
fn load(inner: &Inner, template: &Template) -> BTreeMap<String, usize> {
    let placed: Vec<String> = inner.sessions.each(|(_, handle)| {
        let view = handle.view.borrow();
        let record = &view.record;
        let counts = record.backend == template.backend && !record.is_ended();
        record.placed.clone().filter(|_| counts)
    });
    let mut load = BTreeMap::new();
    for name in placed {
        *load.entry(name).or_default() += 1;
    }
    load
}
