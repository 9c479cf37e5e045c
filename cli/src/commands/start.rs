//! `start`: a new session.

use std::collections::BTreeMap;

use serde_json::Value;
use wharf_protocol::SessionId;
use wharf_protocol::api::StartRequest;

use super::{Context, attach, wait};
use crate::args::session::{DetachKey, Goal, KeyArg, Start};
use crate::args::{Format, Pair};
use crate::failure::{Failure, Outcome};
use crate::output::table;

/// Pairs by key; a key that stands twice is a mistake.
fn map(what: &str, pairs: Vec<Pair>) -> Outcome<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for Pair { key, value } in pairs {
        if all.insert(key.clone(), value).is_some() {
            return Err(Failure::usage(format!("{what} {key} is given twice")));
        }
    }
    Ok(all)
}

pub(super) async fn run(context: &Context, args: Start) -> Outcome {
    let client = context.client()?;
    let tty = match (args.tty, args.no_tty) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        // Who wants to enter it needs a terminal there.
        _ => args.attach.then_some(true),
    };
    let request = StartRequest {
        template: args.template,
        name: args.name,
        params: map("-p", args.params)?.into_iter().map(|(key, value)| (key, Value::from(value))).collect(),
        command: (!args.command.is_empty()).then_some(args.command),
        env: map("--env", args.env)?,
        tags: map("--tag", args.tags)?,
        tty,
    };
    let key = args.key.unwrap_or_else(|| SessionId::from_random(wharf_core::random::id()).to_string());
    let mut reply = client.start(&request, &key).await?;
    let id = reply.value.id.clone();
    let waits = args.attach || args.wait.is_some();
    let words = matches!(context.output.format, Format::Table | Format::Id);
    if words {
        // At once: whoever gives up waiting still knows what was started.
        context.output.line(id.as_str())?;
    }
    let mut waited = Ok(());
    if waits {
        let within = args.wait.flatten().map(|wait| wait.0);
        match wait::until(context, &client, &id, Goal::Running, within).await {
            Ok(seen) => reply = seen,
            Err(failure) => {
                if let (false, Ok(seen)) = (words, client.session(&id).await) {
                    reply = seen;
                }
                waited = Err(failure);
            }
        }
    }
    if !words {
        context.output.object(&reply.raw, || table::session(&context.output, &reply.value, &[]))?;
    }
    waited?;
    if args.attach {
        let key = DetachKey { detach_key: KeyArg(Some(0x1d)) };
        return attach::enter(context, &client, &id, "control", &key).await;
    }
    Ok(0)
}
