//! `history`: what happened to a session.

use super::{Context, documents, values};
use crate::args::session::One;
use crate::failure::Outcome;
use crate::{find, output::table};

pub(super) async fn run(context: &Context, args: One) -> Outcome {
    let client = context.client()?;
    let id = find::session(&client, &args.id).await?;
    let entries = client.history(&id).await?;
    context.output.list(&documents(&entries), || table::history(&context.output, &values(&entries)))?;
    Ok(0)
}
