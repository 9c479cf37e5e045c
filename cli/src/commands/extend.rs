//! `extend`: more time for a session's job.

use super::Context;
use crate::args::Format;
use crate::args::session::Extend;
use crate::failure::Outcome;
use crate::find;

pub(super) async fn run(context: &Context, args: Extend) -> Outcome {
    let client = context.client()?;
    let id = find::session(&client, &args.id).await?;
    let reply = client.extend(&id, args.by).await?;
    if context.output.format == Format::Id {
        return context.output.line(id.as_str()).map(|()| 0);
    }
    context.output.object(&reply.raw, || format!("ends at {}", reply.value.ends_at))?;
    Ok(0)
}
