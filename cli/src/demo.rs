//! demo
use crate::{args::admin::Demo, commands::Context, failure::Outcome};
pub(crate) async fn run(_context: &Context, _args: Demo) -> Outcome {
    Ok(0)
}
