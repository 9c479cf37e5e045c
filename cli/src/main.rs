//! `wharf`: server and command line in one program.
//!
//! ```text
//! args ─▶ commands ─▶ client ─ HTTP ─▶ a launcher           (most commands)
//!            └──────▶ serve, demo ─▶ assemble: the launcher itself
//! ```
//!
//! Start reading at [`commands`]; [`assemble`] is the only place where all parts of a launcher meet.

mod args;
mod assemble;
mod client;
mod commands;
mod config;
mod demo;
mod failure;
mod find;
mod output;
mod paths;
mod relay;
mod serve;
mod terminal;
mod user;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use clap::error::ErrorKind;

use args::{Arguments, Command, Format};
use commands::Context;
use failure::{Failure, Outcome};
use output::Output;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Nothing that we write is for others, unless it is said where it is written.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let (output, outcome) = match Arguments::try_parse() {
        Ok(arguments) => {
            let output = Output::new(arguments.global.output);
            let context = Context { global: arguments.global, output };
            (output, run(&context, arguments.command))
        }
        Err(error) => {
            let output = Output::new(wanted_format());
            (output, misunderstood(output, &error))
        }
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(context: &Context, command: Command) -> Outcome {
    // A launcher uses all cores; a question to one needs none of its own.
    let mut builder = if matches!(command, Command::Serve(_) | Command::Demo(_) | Command::Template(_)) {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime =
        builder.enable_all().build().map_err(|error| Failure::local("the program cannot begin", &error))?;
    let outcome = runtime.block_on(Box::pin(commands::run(context, command)));
    // A read of standard input may still hang there: it must not hold us.
    runtime.shutdown_timeout(Duration::ZERO);
    outcome
}

/// Help, version, or a command line that is none.
fn misunderstood(output: Output, error: &clap::Error) -> Outcome {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if !asked && matches!(output.format, Format::Json | Format::Jsonl) {
        let text = error.to_string();
        return Err(Failure::usage(text.trim().trim_start_matches("error: ")));
    }
    match error.print() {
        Ok(()) => Ok(if asked { 0 } else { 2 }),
        Err(error) => Err(Failure::writing(&error)),
    }
}

/// The format that was asked for on a command line that cannot be parsed as a whole.
fn wanted_format() -> Format {
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .take_while(|word| word != "--")
        .collect();
    let pairs = words.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str()));
    let mut formats = pairs
        .filter_map(|(option, value)| (option == "--output").then_some(value))
        .chain(words.iter().filter_map(|word| word.strip_prefix("--output=")));
    match formats.next() {
        Some("json") => Format::Json,
        Some("jsonl") => Format::Jsonl,
        _ => Format::Table,
    }
}
