//! `list`: all sessions that one may see, over all pages.

use super::{Context, documents, values};
use crate::args::session::List;
use crate::client::Reply;
use crate::client::calls::Query;
use crate::failure::Outcome;
use crate::output::table;
use wharf_protocol::Session;

pub(super) async fn run(context: &Context, args: List) -> Outcome {
    let client = context.client()?;
    let mut query = Query::default()
        .with_some("template", args.template.as_ref())
        .with_some("owner", args.owner.as_ref())
        .with_some("name", args.name.as_ref());
    for tag in &args.tags {
        query = query.with("tag", format!("{}={}", tag.key, tag.value));
    }
    let mut states: Vec<&str> = args.state.iter().map(|state| state.as_str()).collect();
    states.sort_unstable();
    states.dedup();
    // One question for each kind of state: live sessions change while they are asked for, ended ones do not.
    let mut queries = Vec::new();
    if args.all {
        queries.push(query.clone());
        queries.push(query.with("state", "ended"));
    } else if states.is_empty() {
        queries.push(query);
    } else {
        queries.extend(states.iter().map(|state| query.clone().with("state", state)));
    }
    let mut sessions: Vec<Reply<Session>> = Vec::new();
    let asked = queries.len();
    for query in queries {
        for session in client.all::<Session>("/sessions", query, args.limit).await? {
            // One that ended in between is in both answers; the later one is true.
            sessions.retain(|known| known.value.id != session.value.id);
            sessions.push(session);
        }
    }
    if asked > 1 {
        sessions.sort_by(|one, other| {
            (other.value.created_at, &other.value.id).cmp(&(one.value.created_at, &one.value.id))
        });
    }
    if let Some(limit) = args.limit {
        sessions.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    context.output.list(&documents(&sessions), || table::sessions(&context.output, &values(&sessions)))?;
    Ok(0)
}
