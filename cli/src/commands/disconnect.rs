//! `disconnect`: cuts users' streams.

use super::Context;
use crate::args::Format;
use crate::args::session::Disconnect;
use crate::failure::Outcome;
use crate::find;

pub(super) async fn run(context: &Context, args: Disconnect) -> Outcome {
    let client = context.client()?;
    let id = find::session(&client, &args.id).await?;
    let reply = client.disconnect(&id, args.user).await?;
    if context.output.format == Format::Id {
        return context.output.line(id.as_str()).map(|()| 0);
    }
    context.output.object(&reply.raw, || match reply.value.disconnected {
        1 => "1 stream cut".to_owned(),
        count => format!("{count} streams cut"),
    })?;
    Ok(0)
}
