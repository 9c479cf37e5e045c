//! `events`: all changes as they happen, one JSON object a line.

use std::time::Duration;

use serde_json::{Value, json};

use super::Context;
use crate::args::Format;
use crate::args::session::Events;
use crate::failure::{Failure, Outcome};
use crate::output::json;

/// Between two tries to come back.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a launcher that is away is tried before giving up.
const TRIES: u32 = 30;

pub(super) async fn run(context: &Context, args: Events) -> Outcome {
    let client = context.client()?;
    let mut last = args.after;
    let mut stream = client.events(last.as_deref()).await?;
    loop {
        match stream.next().await {
            Ok(Some(event)) => {
                if event.id.is_some() {
                    last.clone_from(&event.id);
                }
                print(context, &event.name, &event.data)?;
            }
            Err(failure @ Failure::Unread) => return Err(failure),
            // The launcher restarts: go on after the last event that was seen.
            Ok(None) | Err(_) => {
                let mut tries = 0;
                stream = loop {
                    tokio::time::sleep(PAUSE).await;
                    match client.events(last.as_deref()).await {
                        Ok(stream) => break stream,
                        Err(failure) if failure.exit_code() != 7 || tries >= TRIES => return Err(failure),
                        Err(_) => tries += 1,
                    }
                };
            }
        }
    }
}

fn print(context: &Context, name: &str, data: &str) -> Outcome<()> {
    let value = if name == "reset" {
        json!({ "type": "reset" })
    } else {
        serde_json::from_str::<Value>(data).unwrap_or_else(|_| json!({ "type": name, "data": data }))
    };
    if context.output.format == Format::Id {
        let session = value.get("session").cloned().unwrap_or_default();
        return context.output.line(&json::id(&session));
    }
    context.output.line(&json::compact(&value))
}
