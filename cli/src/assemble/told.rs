//! What the administrator is told when a launcher cannot be put together: words, the way out, and the exit code.

use wharf_core::OpenError;
use wharf_core::store::StoreError;
use wharf_protocol::{ErrorCode, Problem};
use wharf_server::BindError;
use wharf_store::OwnerError;

use super::AssembleError;

impl AssembleError {
    /// What the administrator is told, with the exit code that goes with it.
    pub(crate) fn into_problem(self) -> Problem {
        let detail = self.to_string();
        let problem = |code| Problem::new(code, detail.clone());
        match self {
            Self::Owner(OwnerError::Taken(_)) => problem(ErrorCode::Unavailable)
                .hint("stop that one first (SIGTERM touches no session), or choose another --data-dir"),
            Self::Bind(error) if error.is_usage() => problem(ErrorCode::Usage),
            Self::Bind(BindError::Taken { .. }) => problem(ErrorCode::Unavailable)
                .hint("end the other program, or choose another --listen; port 0 picks a free one"),
            Self::Store(error) | Self::Launcher(OpenError::Store(error)) => store_problem(&error, detail),
            Self::Monitor { .. } => problem(ErrorCode::Internal)
                .hint("[monitor] path in wharf.toml names it; without that key the built-in one is used"),
            Self::Launcher(OpenError::Keys(_)) => problem(ErrorCode::Internal).hint(
                "restore DATA/keys from a backup; without its keys a launcher takes no running session back",
            ),
            Self::Io { .. }
            | Self::Owner(OwnerError::Io { .. })
            | Self::Bind(_)
            | Self::Hooks(_)
            | Self::Launcher(OpenError::Files(_)) => problem(ErrorCode::Internal),
        }
    }
}

/// A datastore that cannot be opened: exit 1, and the way out.
fn store_problem(error: &StoreError, detail: String) -> Problem {
    let problem = Problem::new(ErrorCode::Internal, detail);
    match error {
        StoreError::Corrupt { .. } => problem.hint(
            "move the file away and restore a backup (`wharf backup`) in its place, or start without one: \
             sessions whose monitors still run come back by themselves",
        ),
        StoreError::TooNew { .. } => problem.hint("use the newer release, or another --data-dir"),
        StoreError::Full(_) => problem.hint("make room, or make the data directory writable"),
        StoreError::Conflict | StoreError::KeyTaken(_) | StoreError::Failed(_) => problem,
    }
}
