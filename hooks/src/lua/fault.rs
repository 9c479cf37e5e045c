//! Errors on their way out of a script: what the hook said by `host.fail`, what the host found, and plain mistakes.

use wharf_core::backend::HostError;
use wharf_core::hook::{HookError, HookErrorKind};

/// A failure with a kind, inside the VM: a script may catch it; uncaught it is the hook's answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.message)]
pub(crate) struct Failed(pub(crate) HookError);

/// A failure of that kind as an error that Lua can carry.
pub(crate) fn failed(kind: HookErrorKind, message: impl Into<String>) -> mlua::Error {
    mlua::Error::external(Failed(HookError::new(kind, message)))
}

/// The same for what a backend's function says.
pub(crate) fn host(error: HostError) -> mlua::Error {
    mlua::Error::external(Failed(error.into()))
}

/// A mistake in the script: `internal`, with the place of the call.
pub(crate) fn mistake(message: impl std::fmt::Display) -> mlua::Error {
    mlua::Error::runtime(message)
}

/// What an error means for the caller, and all that is known for the log.
pub(crate) fn classify(error: &mlua::Error) -> (HookError, String) {
    let full = error.to_string();
    if let Some(Failed(known)) = error.downcast_ref::<Failed>() {
        return (known.clone(), full);
    }
    let memory = error.chain().any(|cause| {
        matches!(cause.downcast_ref::<mlua::Error>(), Some(mlua::Error::MemoryError(_)))
            || cause.to_string().starts_with("not enough memory")
    }) || matches!(error, mlua::Error::MemoryError(_))
        || full.contains("not enough memory");
    if memory {
        return (
            HookError::new(HookErrorKind::Memory, "the hook needs more memory than limits.hook_memory"),
            full,
        );
    }
    let (place, message) = placed(&full);
    let message = place.map_or_else(|| message.clone(), |(file, line)| format!("{file}:{line}: {message}"));
    (HookError::new(HookErrorKind::Internal, message), full)
}

/// Where an error comes from, file and line, and its words: from the error itself, else from its traceback.
pub(crate) fn placed(full: &str) -> (Option<(String, u32)>, String) {
    let first = full.lines().next().unwrap_or_default();
    let first = ["runtime error: ", "syntax error: "]
        .iter()
        .fold(first, |text, word| text.strip_prefix(word).unwrap_or(text));
    // The compiler knows no name of the file: `12: Expected …`.
    if let Some((line, message)) = first.trim_start_matches(':').split_once(": ")
        && let Ok(line) = line.parse()
    {
        return (Some((String::new(), line)), message.to_owned());
    }
    let position = |text: &str| {
        let (file, rest) = text.trim().split_once(".lua:")?;
        let digits = rest.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(rest.len());
        let (line, rest) = rest.split_at(digits);
        let file = file.rsplit([' ', '\t']).next().unwrap_or(file);
        let rest = rest.strip_prefix(':').unwrap_or(rest).trim_start();
        Some(((format!("{file}.lua"), line.parse::<u32>().ok()?), rest.to_owned()))
    };
    match position(first) {
        Some((place, message)) if first.starts_with(&place.0) => (Some(place), message),
        _ => (full.lines().skip(1).find_map(position).map(|(place, _)| place), first.to_owned()),
    }
}
