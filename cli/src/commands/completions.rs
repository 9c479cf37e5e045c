//! `completions`: the completion script of a shell.

use clap::CommandFactory as _;

use super::Context;
use crate::args::Arguments;
use crate::args::admin::Completions;
use crate::failure::Outcome;

pub(super) fn run(context: &Context, args: &Completions) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "wharf", &mut script);
    context.output.bytes(&script)?;
    Ok(0)
}
