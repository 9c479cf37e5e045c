//! `show`: one session in full, and for its owner who is in it.

use super::Context;
use crate::args::session::One;
use crate::failure::Outcome;
use crate::{find, output::table};

pub(super) async fn run(context: &Context, args: One) -> Outcome {
    let client = context.client()?;
    let id = find::session(&client, &args.id).await?;
    let reply = client.session(&id).await?;
    // Only its owner is told who; to others the number has to do.
    let open = match reply.value.connections {
        0 => Vec::new(),
        _ => client.open_streams(&id).await.map(|page| page.value.items).unwrap_or_default(),
    };
    context.output.object(&reply.raw, || table::session(&context.output, &reply.value, &open))?;
    Ok(0)
}
