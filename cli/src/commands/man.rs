//! `man`: the manual page, made from the same grammar that parses.

use clap::CommandFactory as _;

use super::Context;
use crate::args::Arguments;
use crate::args::admin::Man;
use crate::failure::{Failure, Outcome};

pub(super) fn run(context: &Context, args: &Man) -> Outcome {
    let command = Arguments::command();
    if let Some(dir) = &args.dir {
        std::fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(command, dir))
            .map_err(|error| Failure::local(&dir.display().to_string(), &error))?;
        return Ok(0);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|error| Failure::local("the manual page", &error))?;
    context.output.bytes(&page)?;
    Ok(0)
}
