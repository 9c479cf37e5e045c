//! `host.render`: documents by minijinja, strict about what is undefined, with bounded work.
//!
//! Values from users reach a document through a filter that knows where they stand: `shq` makes one shell word,
//! `directive` refuses what would end the line.

use std::sync::OnceLock;

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use serde_json::Value;

use crate::load::files::Files;

/// Steps of one document.
const FUEL: u64 = 2_000_000;

/// One shell word, whatever it holds.
pub(crate) fn shq(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn text(value: &minijinja::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A template's documents, read when the first one is asked for.
#[derive(Debug, Default)]
pub(crate) struct Documents(OnceLock<Environment<'static>>);

fn environment(files: &Files) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_keep_trailing_newline(true);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(64);
    environment.add_filter("shq", |value: minijinja::Value| -> Result<String, Error> {
        let word = text(&value);
        if value.is_undefined() {
            return Err(Error::new(ErrorKind::UndefinedError, "shq: undefined"));
        }
        if word.contains('\0') {
            return Err(Error::new(ErrorKind::InvalidOperation, "shq: a shell word cannot hold NUL"));
        }
        Ok(shq(&word))
    });
    environment.add_filter("directive", |value: minijinja::Value| -> Result<String, Error> {
        let word = text(&value);
        if value.is_undefined() {
            return Err(Error::new(ErrorKind::UndefinedError, "directive: undefined"));
        }
        if word.chars().any(char::is_control) {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                "directive: newlines and control characters are refused",
            ));
        }
        Ok(word)
    });
    for (name, file) in &files.files {
        if name.starts_with("files/")
            && let Ok(source) = std::str::from_utf8(&file.bytes)
        {
            // One that does not parse is reported by the check and when it is asked for.
            let _ = environment.add_template_owned(name.clone(), source.to_owned());
        }
    }
    environment
}

/// Renders `file` of a template.
pub(crate) fn render(
    documents: &Documents,
    files: &Files,
    file: &str,
    vars: &Value,
) -> Result<String, String> {
    let name = if file.starts_with("files/") { file.to_owned() } else { format!("files/{file}") };
    if !files.files.contains_key(&name) {
        return Err(format!("host.render: the template has no {name}"));
    }
    let environment = documents.0.get_or_init(|| environment(files));
    let whole = |error: &Error| {
        let mut message = format!("{name}:{}: {error}", error.line().unwrap_or(0));
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            message.push_str(&format!(": {error}"));
            cause = error.source();
        }
        message
    };
    environment.get_template(&name).and_then(|template| template.render(vars)).map_err(|error| whole(&error))
}

/// Documents that do not parse: name, line, reason.
pub(crate) fn broken(files: &Files) -> Vec<(String, Option<u32>, String)> {
    let none = Files::default();
    let mut environment = environment(&none);
    let mut broken = Vec::new();
    for (name, file) in &files.files {
        if !name.starts_with("files/") || !name.ends_with(".j2") {
            continue;
        }
        match std::str::from_utf8(&file.bytes) {
            Ok(source) => {
                if let Err(error) = environment.add_template_owned(name.clone(), source.to_owned()) {
                    let line = error.line().and_then(|line| u32::try_from(line).ok());
                    let reason = error.detail().map_or_else(|| error.to_string(), str::to_owned);
                    broken.push((name.clone(), line, reason));
                }
            }
            Err(_) => broken.push((name.clone(), None, "not UTF-8".to_owned())),
        }
    }
    broken
}
