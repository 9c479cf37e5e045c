//! Hooks that are programs: any language, one JSON document in, one out (CONTRACT section 5 "Executables").
//!
//! ```text
//! environment, private directory ─ child (own group, deadline, caps) ─ outcome (exit classes, documents)
//!                                       └ marks: whatever carries this call's mark afterwards is ended
//! ```

pub(crate) mod calls;
pub(crate) mod child;
pub(crate) mod document;
pub(crate) mod journal;
pub(crate) mod marks;
mod outcome;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use wharf_core::hook::{Hook, HookError, HookErrorKind};
use wharf_protocol::api::TracedCommand;

use crate::context::Context;
use child::{Child, Ended, Stopped};

/// Most bytes of standard error that are kept.
pub(crate) const STDERR_MAX: usize = 64 << 10;
/// Most bytes of an output that a trace keeps.
const TRACE_TAIL: usize = 4 << 10;

/// Runs an executable hook in a private directory; the answer is not validated yet.
pub(crate) async fn run(
    context: &Context,
    file: &Path,
    hook: Hook,
    request: &Value,
) -> Result<Value, HookError> {
    run_in(context.place_to_run()?, context, file, hook, request).await
}

/// The same below the directory of a script that calls it.
pub(crate) async fn run_below(
    context: &Context,
    file: &Path,
    hook: Hook,
    request: &Value,
) -> Result<Value, HookError> {
    let dir = tempfile::Builder::new()
        .prefix("base-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(context.place_to_run()?)
        .map_err(|error| no_room(&error))?;
    run_in(dir.path(), context, file, hook, request).await
}

/// The data directory takes no more: nothing has happened yet.
pub(crate) fn no_room(error: &std::io::Error) -> HookError {
    HookError::new(HookErrorKind::Unavailable, format!("the data directory takes no more: {error}"))
}

async fn run_in(
    dir: &Path,
    context: &Context,
    file: &Path,
    hook: Hook,
    request: &Value,
) -> Result<Value, HookError> {
    if context.dry_run && !context.version.run.dry_run {
        return Err(HookError::new(
            HookErrorKind::Unsupported,
            "a dry run starts no executable hook unless [hooks] dry_run = true",
        ));
    }
    let document = json!({"api": 1, "hook": hook.as_str(), "request": request});
    let mut stdin = document.to_string().into_bytes();
    stdin.push(b'\n');
    let mut env = context.environment();
    env.extend(context.hook_environment(hook, dir));
    env.extend(context.version.run.env.clone());
    if let Some(stage) = &context.stage {
        stage.environment(&mut env);
    }
    let argv = vec![file.display().to_string(), hook.as_str().to_owned()];
    let child = Child {
        argv: argv.clone(),
        env: env.into_iter().collect(),
        cwd: dir.to_owned(),
        stdin,
        stdout_max: context.version.run.output,
        stdout_over_is_an_error: true,
        stderr_max: STDERR_MAX,
        deadline: context.deadline,
        cancel: context.cancel.clone(),
    };
    let started = std::time::Instant::now();
    let ended = child.run(|pid| context.traces.note_group(pid)).await;
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => {
            let message = format!("the hook cannot be started: {}: {error}", file.display());
            let mut failure = HookError::new(spawn_failure(&error), message);
            failure.hint =
                Some("is it executable, and does its first line name an interpreter that exists?".to_owned());
            return Err(failure);
        }
    };
    context.note_group(ended.group);
    if let Some(stage) = &context.stage {
        stage.directory(dir);
    }
    context.log(&String::from_utf8_lossy(&ended.stderr));
    if ended.stderr_cut {
        context.log("\n[standard error was cut here]\n");
    }
    context.traced(traced(argv, effect_of(hook), started.elapsed(), &ended));
    outcome::read(context, hook, &ended)
}

/// What it means that a program could not be started: in no case has anything happened.
pub(crate) fn spawn_failure(error: &std::io::Error) -> HookErrorKind {
    const NO_FORMAT: i32 = 8;
    let kind = error.kind();
    let ours = matches!(kind, std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied);
    if ours || error.raw_os_error() == Some(NO_FORMAT) {
        HookErrorKind::Misconfigured
    } else {
        HookErrorKind::Unavailable
    }
}

/// The word for `effect` in a trace.
pub(crate) const fn effect_of(hook: Hook) -> &'static str {
    match hook {
        Hook::Options | Hook::Validate | Hook::Select | Hook::Find | Hook::Status | Hook::Logs => "read",
        Hook::Prepare
        | Hook::Submit
        | Hook::Terminate
        | Hook::TerminateMany
        | Hook::Extend
        | Hook::OnRunning
        | Hook::OnConnect
        | Hook::OnDisconnect
        | Hook::OnParams
        | Hook::OnEnded => "write",
    }
}

/// What a trace keeps of a command.
pub(crate) fn traced(argv: Vec<String>, effect: &str, took: Duration, ended: &Ended) -> TracedCommand {
    TracedCommand {
        argv,
        effect: effect.to_owned(),
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        status: ended.code,
        signal: ended.signal,
        stdout: tail(&ended.stdout),
        stderr: tail(&ended.stderr),
    }
}

fn tail(bytes: &[u8]) -> String {
    let start = bytes.len().saturating_sub(TRACE_TAIL);
    String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).into_owned()
}

/// Why a child was stopped, as a hook's failure.
pub(crate) fn stopped(why: Stopped, deadline: Duration) -> HookError {
    match why {
        Stopped::Deadline => HookError::new(
            HookErrorKind::Timeout,
            format!("the hook was not done in {}", wharf_protocol::Dur(deadline)),
        ),
        Stopped::Cancelled => HookError::new(HookErrorKind::Internal, "the hook was cancelled"),
        Stopped::TooMuchOutput(max) => HookError::new(
            HookErrorKind::Internal,
            format!("the hook wrote more than {max} bytes to standard output (limits.hook_output)"),
        ),
    }
}
