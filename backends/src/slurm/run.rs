//! Runs one Slurm command: arguments only, a cleaned environment, bounded in time and output.
//!
//! The environment is made anew for each command, so nothing of the launcher's own (`SLURM_*`, `SBATCH_*`, `SQUEUE_*`,
//! a token) changes what a command does; the cluster's settings come on top, then the template's `[hooks] env`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use wharf_core::backend::{HostContext, HostError};
use wharf_core::hook::HookErrorKind;

use super::rest::RestAddress;

/// Most bytes of an answer that are read: some 50,000 jobs.
const OUTPUT_MAX: u64 = 16 << 20;
/// Most bytes of an error text.
const ERRORS_MAX: u64 = 64 << 10;
/// Kept back from the hook's time, so that a time-out is told in our words.
pub(super) const RESERVE: Duration = Duration::from_millis(300);

/// Which cluster, as the configuration says.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// `SLURM_CONF`; none: the commands' own.
    pub conf: Option<String>,
    /// Directories of the commands, before all others.
    pub path: Vec<String>,
    /// slurmrestd, where jobs are submitted by it.
    pub rest: Option<RestAddress>,
}

/// What a command said.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// None after a signal.
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// The answer broke off at the limit.
    pub(super) cut: bool,
}

impl Said {
    pub(super) fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// What went wrong, in Slurm's own words.
    pub(super) fn words(&self) -> String {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let lines: Vec<&str> = text
            .lines()
            .map(|line| {
                let line = line.trim();
                let line = line.split_once(": error: ").map_or(line, |(_, rest)| rest);
                line.strip_prefix("error: ").unwrap_or(line)
            })
            .filter(|line| !line.is_empty())
            .collect();
        let words: String = lines[lines.len().saturating_sub(6)..]
            .join("; ")
            .chars()
            .filter(|letter| !letter.is_control())
            .take(1000)
            .collect();
        match (words.is_empty(), self.code) {
            (false, _) => words,
            (true, Some(code)) => format!("exit status {code} without a word"),
            (true, None) => "it was ended by a signal".to_owned(),
        }
    }
}

/// The environment of every command.
pub(super) fn environment(cluster: &Cluster, context: &HostContext) -> BTreeMap<String, String> {
    let mut env: BTreeMap<String, String> = context
        .base
        .iter()
        .filter(|(name, _)| {
            !["SLURM", "SBATCH_", "SALLOC_", "SQUEUE_", "SACCT", "SINFO_", "SCANCEL_"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
        })
        .cloned()
        .collect();
    let path = env.get("PATH").cloned().unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
    let dirs = cluster.path.iter().cloned().chain([path]);
    env.insert("PATH".to_owned(), dirs.filter(|dir| !dir.is_empty()).collect::<Vec<_>>().join(":"));
    if let Some(conf) = &cluster.conf {
        env.insert("SLURM_CONF".to_owned(), conf.clone());
    }
    // Last, so that one template may look at another cluster. What decides how answers look is not its business.
    env.extend(context.env.iter().cloned());
    for name in
        ["SLURM_TIME_FORMAT", "SQUEUE_FORMAT", "SQUEUE_FORMAT2", "SACCT_FORMAT", "SINFO_FORMAT", "SLURM_JSON"]
    {
        env.remove(name);
    }
    env
}

/// The command's file: named by the template, else found on the path.
fn find(name: &str, env: &BTreeMap<String, String>, context: &HostContext) -> Result<String, HostError> {
    use std::os::unix::fs::PermissionsExt as _;
    if let Some((_, path)) = context.programs.iter().find(|(known, _)| known == name) {
        return Ok(path.clone());
    }
    let usable = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let path = env.get("PATH").map(String::as_str).unwrap_or_default();
    path.split(':')
        .filter(|dir| dir.starts_with('/'))
        .map(|dir| Path::new(dir).join(name))
        .find(|path| usable(path))
        .map(|path| path.display().to_string())
        .ok_or_else(|| {
            let message = format!("{name} is not installed: not found in {path}");
            HostError::new(HookErrorKind::Misconfigured, message)
        })
}

async fn bounded(from: Option<impl AsyncRead + Unpin>, most: u64) -> (String, bool) {
    let Some(mut from) = from else { return (String::new(), false) };
    let mut bytes = Vec::new();
    let _ = (&mut from).take(most).read_to_end(&mut bytes).await;
    // Read on: a command that cannot write would hang.
    let more = tokio::io::copy(&mut from, &mut tokio::io::sink()).await.unwrap_or(0);
    (String::from_utf8_lossy(&bytes).into_owned(), more > 0)
}

/// Runs `argv` to its end.
///
/// # Errors
/// `misconfigured`: it cannot be started. `timeout`: it was not done in time, or the call was given up; it has been
/// killed, and nobody knows what it had done.
pub(super) async fn run(
    cluster: &Cluster,
    context: &HostContext,
    argv: &[String],
    stdin: &str,
    utc: bool,
) -> Result<Said, HostError> {
    let Some((name, arguments)) = argv.split_first() else {
        return Err(HostError::new(HookErrorKind::Internal, "no command"));
    };
    let mut env = environment(cluster, context);
    let program = find(name, &env, context)?;
    if utc {
        // Only where times are read: a job that is submitted would inherit it.
        env.insert("TZ".to_owned(), "UTC0".to_owned());
        env.insert("SLURM_TIME_FORMAT".to_owned(), "standard".to_owned());
    }
    context.processes.about_to_start()?;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(&env)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| HostError::new(HookErrorKind::Misconfigured, format!("{name}: {error}")))?;
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut input) = input {
            // A command may end without reading it.
            let _ = input.write_all(stdin.as_bytes()).await;
            let _ = input.shutdown().await;
        }
    };
    let whole = async {
        let ((stdout, cut), (stderr, _), (), status) =
            tokio::join!(bounded(output, OUTPUT_MAX), bounded(errors, ERRORS_MAX), write, child.wait());
        Said { code: status.ok().and_then(|status| status.code()), stdout, stderr, cut }
    };
    let late = |how: &str| HostError::new(HookErrorKind::Timeout, format!("{name} {how}"));
    tokio::select! {
        said = whole => Ok(said),
        () = context.cancel.cancelled() => Err(late("was given up")),
        () = tokio::time::sleep(context.left.saturating_sub(RESERVE)) => Err(late("did not answer in time")),
    }
}
