//! doctor
use super::Context;
use crate::failure::Outcome;
pub(super) async fn run(_context: &Context) -> Outcome {
    Ok(0)
}
