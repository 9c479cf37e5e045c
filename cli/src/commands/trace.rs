//! `trace`: one hook run in full.

use super::Context;
use crate::args::admin::Trace;
use crate::failure::Outcome;
use crate::output::table::administration;

pub(super) async fn run(context: &Context, args: Trace) -> Outcome {
    let reply = context.client()?.trace(&args.id).await?;
    context.output.object(&reply.raw, || administration::trace(&context.output, &reply.value))?;
    Ok(0)
}
