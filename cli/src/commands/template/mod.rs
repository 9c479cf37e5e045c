//! `template …`: what a launcher says of its templates, and the administrator's bench.
//!
//! `list` and `show` ask a launcher; everything else works on a directory or a name here, without one.

mod check;
mod doctor;
mod fresh;
mod inject;
mod live;
mod run;
mod test;

use std::path::Path;

use wharf_hooks::bench::{Bench, BenchConfig, BenchError, Target};
use wharf_protocol::{ErrorCode, Problem};

use super::{Context, documents, values};
use crate::args::admin::TemplateCommand;
use crate::failure::{Failure, Outcome};
use crate::output::table::administration;
use crate::{config, user};

/// What a template gives that is not right.
const FAILED: u8 = 6;

pub(super) async fn run(context: &Context, command: TemplateCommand) -> Outcome {
    match command {
        TemplateCommand::List => {
            let all = context.client()?.templates().await?;
            context
                .output
                .list(&documents(&all), || administration::templates(&context.output, &values(&all)))?;
            Ok(0)
        }
        TemplateCommand::Show { name } => {
            let reply = context.client()?.template(&name).await?;
            context.output.object(&reply.raw, || administration::template(&context.output, &reply.value))?;
            Ok(0)
        }
        TemplateCommand::Check(args) => check::run(context, &args),
        TemplateCommand::Test(args) => test::test(context, args).await,
        TemplateCommand::Run(args) => run::run(context, args).await,
        TemplateCommand::New(args) => fresh::new(context, &args),
        TemplateCommand::Types(args) => fresh::types(context, &args),
        TemplateCommand::Doctor(args) => doctor::run(context, &args),
    }
}

/// A directory when there is one of that name or it is written as a path, else the name of a template.
fn target(word: &str) -> Target {
    let path = Path::new(word);
    if word.contains('/') || word == "." || word == ".." || path.is_dir() {
        Target::Directory(path.to_owned())
    } else {
        Target::Name(word.to_owned())
    }
}

/// The template on a bench.
fn bench(context: &Context, word: &str) -> Outcome<Bench> {
    let owner = user::current();
    let config = config::load(&context.global)?.0;
    let backends = crate::assemble::backends::all(&config.backends, None);
    let config = BenchConfig {
        template_dirs: config.templates.dirs,
        builtin: wharf_hooks::builtin(),
        backends,
        path: std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned()),
        home: owner.home,
        user: owner.name,
    };
    Bench::open(config, &target(word)).map_err(failure)
}

/// A word as a shell would need it.
fn word(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_./:@%+,=-".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// What a bench says, as a problem.
fn failure(error: BenchError) -> Failure {
    let detail = error.to_string();
    match error {
        BenchError::NoTemplate { .. } => Problem::new(ErrorCode::NotFound, detail)
            .hint("name a directory with a slash in it, such as ./mybatch, or a template of [templates] dirs")
            .into(),
        BenchError::Broken(_) => Problem::new(ErrorCode::HookFailed, detail)
            .hint("see everything that is wrong with it: wharf template check DIR")
            .into(),
        BenchError::Shipped(name) => Problem::new(ErrorCode::Usage, detail)
            .hint(format!("wharf template new my{name} --from {name}"))
            .into(),
        BenchError::Io { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Problem::new(ErrorCode::NotFound, detail).into()
        }
        BenchError::Io { .. } | BenchError::Hooks(_) => Problem::new(ErrorCode::Internal, detail).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bench knows backends' functions by a table of its own.
    #[test]
    fn every_function_of_a_backend_is_in_the_bench_s_table() {
        for backend in crate::assemble::backends::all(&config::Backends::default(), None) {
            let module = backend.module().expect("it has one");
            let mut functions: Vec<&str> = module.functions().iter().map(|function| function.name).collect();
            let items = wharf_hooks::bench::API.iter().filter(|item| item.table == module.name());
            let mut listed: Vec<&str> = items.map(|item| item.name).collect();
            functions.sort_unstable();
            listed.sort_unstable();
            assert_eq!(functions, listed, "{}", module.name());
        }
    }

    #[test]
    fn a_word_with_a_slash_is_a_directory() {
        assert_eq!(target("./x"), Target::Directory("./x".into()));
        assert_eq!(target("no-such-directory"), Target::Name("no-such-directory".to_owned()));
    }
}
