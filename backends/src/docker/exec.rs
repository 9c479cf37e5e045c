//! Running a program in a container, for templates that have something to do there. Sessions' own execs go by the
//! monitor.

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use wharf_core::backend::HostError;
use wharf_core::hook::HookErrorKind;

use super::arguments::Exec;
use super::containers;
use super::engine::Engine;

/// Most bytes of each output.
const OUTPUT_MAX: usize = 1 << 20;

/// Runs it to its end.
pub(super) async fn exec(engine: &Engine, exec: Exec) -> Result<Value, HostError> {
    let client = engine.client().await?;
    let container = containers::own(engine, &exec.id).await?;
    let container =
        container.ok_or_else(|| HostError::new(HookErrorKind::NotFound, "there is no such container"))?;
    let told = |error| engine.told("the program was not run", error);
    let options = CreateExecOptions {
        attach_stdin: Some(!exec.stdin.is_empty()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(exec.argv),
        ..CreateExecOptions::default()
    };
    let made = client.create_exec(&container.id, options).await.map_err(told)?;
    let started = client.start_exec(&made.id, None::<StartExecOptions>).await.map_err(told)?;
    let (mut stdout, mut stderr, mut truncated) = (Vec::new(), Vec::new(), false);
    if let StartExecResults::Attached { mut output, mut input } = started {
        let stdin = exec.stdin;
        // Beside the output: a program may print before it has read all. One that reads nothing is no failure.
        let feed = async move {
            let _ = input.write_all(stdin.as_bytes()).await;
            let _ = input.shutdown().await;
        };
        let gather = async {
            while let Some(piece) = output.next().await {
                let (into, bytes) = match piece.map_err(told)? {
                    LogOutput::StdErr { message } => (&mut stderr, message),
                    LogOutput::StdOut { message } | LogOutput::Console { message } => (&mut stdout, message),
                    LogOutput::StdIn { .. } => continue,
                };
                let room = OUTPUT_MAX - into.len();
                truncated |= bytes.len() > room;
                into.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Ok::<(), HostError>(())
        };
        let ((), gathered) = tokio::join!(feed, gather);
        gathered?;
    }
    let ended = client.inspect_exec(&made.id).await.map_err(told)?;
    Ok(json!({
        "status": ended.exit_code,
        "stdout": String::from_utf8_lossy(&stdout),
        "stderr": String::from_utf8_lossy(&stderr),
        "truncated": truncated,
    }))
}
