//! Where a session goes, of several instances of its template's backend: the `select` hook, or a built-in rule.
//!
//! Chosen once, before the record is written, and part of it: every later hook of the session is asked with the same
//! `node`. Nothing here knows what an instance is; the runtime finds the backend of that name.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use wharf_protocol::{ErrorCode, Problem};

use crate::actions::from_hook;
use crate::hook::{Hook, HookAnswer};
use crate::inner::Inner;
use crate::record::Record;
use crate::requests;
use crate::template::{Placement, Template};

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
    let chosen = match template.select {
        None => first,
        Some(Placement::RoundRobin) => {
            let turn = inner.turn(&template.name);
            names.get(turn % names.len()).unwrap_or(first)
        }
        // No backend tells its free memory yet: the fewest sessions are the best guess.
        Some(Placement::Fewest | Placement::MostMemory) => {
            names.iter().min_by_key(|name| sessions(name)).unwrap_or(first)
        }
    };
    Ok(Some(chosen.clone()))
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
