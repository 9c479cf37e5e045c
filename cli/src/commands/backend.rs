//! `backend list`.

use super::{Context, documents, values};
use crate::args::admin::BackendCommand;
use crate::failure::Outcome;
use crate::output::table::administration;

pub(super) async fn run(context: &Context, command: BackendCommand) -> Outcome {
    let BackendCommand::List = command;
    let all = context.client()?.backends().await?;
    context.output.list(&documents(&all), || administration::backends(&context.output, &values(&all)))?;
    Ok(0)
}
