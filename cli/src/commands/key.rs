//! `key rotate`: a new signing key; the launcher that runs here is told to read its keys again.

use serde_json::json;
use wharf_core::keys::Keys;
use wharf_protocol::process::ProcessId;
use wharf_protocol::{ErrorCode, Problem};
use wharf_store::Owner;

use super::Context;
use crate::args::admin::KeyCommand;
use crate::failure::Outcome;
use crate::paths;

pub(super) fn run(context: &Context, command: &KeyCommand) -> Outcome {
    let KeyCommand::Rotate = command;
    let data_dir = paths::data_dir(&context.global)?;
    let dir = data_dir.join("keys");
    if !dir.is_dir() {
        let detail = format!("there are no signing keys in {}", dir.display());
        return Err(Problem::new(ErrorCode::NotFound, detail)
            .hint("a launcher makes them at its first start; --data-dir names another directory")
            .into());
    }
    let id = Keys::rotate(&dir)
        .map_err(|error| Problem::new(ErrorCode::Internal, format!("the keys cannot be rotated: {error}")))?;
    context.output.object(&json!({ "id": id }), || id.clone())?;
    if !told(&data_dir) {
        context.output.tip("no launcher runs here now; the next one signs with it");
    }
    Ok(0)
}

/// Tells the launcher of this data directory, when it runs on this host.
fn told(data_dir: &std::path::Path) -> bool {
    let owner = std::fs::read(data_dir.join("owner.json")).ok();
    let Some(owner) = owner.and_then(|bytes| serde_json::from_slice::<Owner>(&bytes).ok()) else {
        return false;
    };
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", owner.pid)).unwrap_or_default();
    if ProcessId::start_of(&stat) != Some(owner.start) {
        return false;
    }
    rustix::process::Pid::from_raw(owner.pid)
        .is_some_and(|pid| rustix::process::kill_process(pid, rustix::process::Signal::HUP).is_ok())
}
