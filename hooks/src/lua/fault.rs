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
    let first = full.strip_prefix("runtime error: ").unwrap_or(&full);
    let first = first.lines().next().unwrap_or("the hook failed").to_owned();
    (HookError::new(HookErrorKind::Internal, first), full)
}
