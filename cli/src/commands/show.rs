//! `show`: one session in full.

use super::Context;
use crate::args::session::One;
use crate::failure::Outcome;
use crate::{find, output::table};

pub(super) async fn run(context: &Context, args: One) -> Outcome {
    let client = context.client()?;
    let id = find::session(&client, &args.id).await?;
    let reply = client.session(&id).await?;
    context.output.object(&reply.raw, || table::session(&context.output, &reply.value))?;
    Ok(0)
}
