//! `login`: a one-time address of the web page.
//!
//! The address is printed and never handed to another program: what it holds would stand in that program's arguments.

use super::Context;
use crate::failure::Outcome;
use crate::output::escape;

pub(super) async fn run(context: &Context) -> Outcome {
    let reply = context.client()?.login().await?;
    context.output.object(&reply.raw, || escape::line(&reply.value.url).into_owned())?;
    context.output.tip("open it in a browser within a minute; it works once");
    Ok(0)
}
