//! The shell backend: sessions as processes of the launcher's own host, which outlive the launcher.
//!
//! The job is the session's monitor, started detached; its job id is `PID:START:BOOT`. It is found again by its tag
//! among all processes: by the bootstrap file that it runs, which names the session. Nothing has to be remembered, so
//! no crash at any moment can hide a job.

mod arguments;
mod cgroups;
mod processes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::Signal;
use serde_json::{Value, json};
use wharf_core::backend::{Backend, HostContext, HostError, HostFunction, HostModule};
use wharf_core::hook::HookErrorKind;
use wharf_protocol::process::ProcessId;

use arguments::{Clear, Inspect, List, SignalOne, Spawn, read};

/// Local processes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shell;

const FUNCTIONS: &[HostFunction] = &[
    HostFunction {
        name: "spawn",
        writes: true,
        doc: "Starts a monitor in the background; {argv, env?, dir, tag} → {job_id}.",
    },
    HostFunction {
        name: "inspect",
        writes: false,
        doc: "Looks at processes; {job_ids} → {[job_id] = {state}}.",
    },
    HostFunction {
        name: "list",
        writes: false,
        doc: "Finds jobs by tag; {tags} → {[tag] = {job ids} or false}.",
    },
    HostFunction {
        name: "signal",
        writes: true,
        doc: "Signals a job and waits for its end; {job_id, signal, tree?} → {}. Already gone is success.",
    },
    HostFunction {
        name: "clear",
        writes: true,
        doc: "Kills what a job that is over has left in its own cgroup, after a moment for a clean end; {tag} → {}.",
    },
];

#[async_trait]
impl Backend for Shell {
    fn name(&self) -> &str {
        "shell"
    }

    fn capabilities(&self) -> Vec<&'static str> {
        vec!["survives_launcher", "find_by_tag", "signals"]
    }

    fn requeues(&self) -> bool {
        false
    }

    async fn probe(&self) -> Result<(), String> {
        std::fs::metadata("/proc/self/stat")
            .map(|_| ())
            .map_err(|error| format!("/proc cannot be read: {error}"))
    }

    fn module(&self) -> Option<Arc<dyn HostModule>> {
        Some(Arc::new(*self))
    }
}

#[async_trait]
impl HostModule for Shell {
    fn name(&self) -> &'static str {
        "shell"
    }

    fn functions(&self) -> &'static [HostFunction] {
        FUNCTIONS
    }

    fn program<'a>(&self, function: &str, arguments: &'a Value) -> Option<&'a str> {
        (function == "spawn").then(|| arguments.pointer("/argv/0")?.as_str()).flatten()
    }

    async fn call(
        &self,
        function: &str,
        arguments: Value,
        context: &HostContext,
    ) -> Result<Value, HostError> {
        match function {
            "spawn" => spawn(read(arguments)?, context).await,
            "inspect" => inspect(&read(arguments)?),
            "list" => list(&read(arguments)?),
            "signal" => signal(&read(arguments)?, context).await,
            "clear" => clear(&read(arguments)?, context).await,
            _ => Err(HostError::new(HookErrorKind::Internal, format!("shell has no function {function}"))),
        }
    }
}

/// What is left of a session whose job is over has so long to end by itself.
const CLEAR: Duration = Duration::from_secs(2);

fn internal(message: impl Into<String>) -> HostError {
    HostError::new(HookErrorKind::Internal, message)
}

/// What a login of the user would have set, and no more.
fn is_of_the_user(name: &str) -> bool {
    matches!(name, "PATH" | "HOME" | "USER" | "LOGNAME" | "SHELL" | "LANG" | "TZ" | "XDG_RUNTIME_DIR")
        || name.starts_with("LC_")
}

/// Nothing was started, and the administrator has to look.
fn not_started(why: &str) -> HostError {
    HostError::new(HookErrorKind::Misconfigured, format!("the session's monitor could not be started: {why}"))
}

/// Starts the monitor; it prints its job id once it has left us.
async fn spawn(spawn: Spawn, context: &HostContext) -> Result<Value, HostError> {
    let found = processes::find(&spawn.tag).map_err(|error| internal(error.to_string()))?;
    if let Some(job) = found.first() {
        // Twice for one session is never right: what runs already is the answer.
        return Ok(json!({ "job_id": job.to_string() }));
    }
    let [program, run, rest @ ..] = spawn.argv.as_slice() else {
        return Err(HostError::new(
            HookErrorKind::Misconfigured,
            "argv has to be the request's monitor.argv",
        ));
    };
    let mut command = tokio::process::Command::new(program);
    command
        .arg(run)
        .arg("--detach")
        .args(rest)
        // The launcher's own environment may hold its token, and is nobody's business in a session.
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_of_the_user)))
        .envs(context.env.iter().map(|(name, value)| (name, value)))
        .envs(&spawn.env)
        .env("WHARF_INSTANCE", &context.mark)
        .current_dir(&spawn.dir)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    context.processes.about_to_start()?;
    let output = tokio::select! {
        output = command.output() => output.map_err(|error| not_started(&format!("{program}: {error}")))?,
        () = context.cancel.cancelled() => return Err(HostError::new(HookErrorKind::Timeout, "given up")),
        () = tokio::time::sleep(context.left) => return Err(HostError::new(HookErrorKind::Timeout, "not done in time")),
    };
    let job = String::from_utf8_lossy(&output.stdout).trim().parse::<ProcessId>();
    match (output.status.success(), job) {
        (true, Ok(job)) => Ok(json!({ "job_id": job.to_string() })),
        (_, _) => {
            let words = String::from_utf8_lossy(&output.stderr);
            Err(not_started(words.trim()))
        }
    }
}

fn inspect(inspect: &Inspect) -> Result<Value, HostError> {
    let mut answer = BTreeMap::new();
    for job in &inspect.job_ids {
        let Ok(id) = job.parse::<ProcessId>() else { continue };
        let state = if processes::is_alive(&id) { "running" } else { "gone" };
        answer.insert(job.clone(), json!({ "state": state }));
    }
    Ok(json!(answer))
}

fn list(list: &List) -> Result<Value, HostError> {
    let mut answer = BTreeMap::new();
    for tag in &list.tags {
        let found = processes::find(tag).map_err(|error| internal(error.to_string()))?;
        let jobs: Vec<String> = found.iter().map(ToString::to_string).collect();
        answer.insert(tag.clone(), if jobs.is_empty() { json!(false) } else { json!(jobs) });
    }
    Ok(json!(answer))
}

async fn signal(one: &SignalOne, context: &HostContext) -> Result<Value, HostError> {
    let id: ProcessId = one
        .job_id
        .parse()
        .map_err(|_| HostError::new(HookErrorKind::Invalid, "not a job id of this backend"))?;
    let until = tokio::time::Instant::now() + context.left.saturating_sub(Duration::from_millis(300));
    loop {
        let there = match (one.tree, one.signal.as_str()) {
            (true, _) => processes::kill_tree(&id),
            (false, "KILL") => processes::signal(&id, Signal::KILL),
            (false, _) => processes::signal(&id, Signal::TERM),
        };
        if !there.map_err(|error| internal(error.to_string()))? {
            return Ok(json!({}));
        }
        // Said once; only a kill is repeated, for what appeared meanwhile.
        while processes::is_alive(&id) {
            if tokio::time::Instant::now() >= until {
                let message = "the session does not end; terminate it again to have it killed";
                return Err(HostError::new(HookErrorKind::Unavailable, message));
            }
            tokio::select! {
                () = context.cancel.cancelled() => return Err(HostError::new(HookErrorKind::Timeout, "given up")),
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
            if one.tree {
                break;
            }
        }
    }
}

/// A monitor that leaves takes its cgroup with it: one that is found has somebody in it, or was left by a monitor that
/// was killed.
async fn clear(clear: &Clear, context: &HostContext) -> Result<Value, HostError> {
    for cgroup in cgroups::find(&clear.tag) {
        tokio::select! {
            cleared = cgroups::clear(&cgroup, CLEAR, context.left) => {
                cleared.map_err(|error| internal(format!("{}: {error}", cgroup.display())))?;
            }
            () = context.cancel.cancelled() => return Err(HostError::new(HookErrorKind::Timeout, "given up")),
        }
    }
    Ok(json!({}))
}

#[cfg(test)]
mod tests;
