//! Submitting, the one thing that is never repeated: by the REST interface where there is one, else by sbatch.

use wharf_core::backend::{HostContext, HostError};
use wharf_core::hook::HookErrorKind;

use super::arguments::Sbatch;
use super::rest::Rest;
use super::run::{Cluster, run};
use super::{table, words};

/// A value as one argument: no option of its own, one line.
fn value(option: &str, text: &str) -> Result<String, HostError> {
    if text.is_empty() || text.starts_with('-') || text.chars().any(char::is_control) {
        let message = format!("{option}: \"{}\" cannot be handed to Slurm", text.escape_debug());
        return Err(HostError::new(HookErrorKind::Invalid, message));
    }
    Ok(format!("--{option}={text}"))
}

/// Slurm replaces `%j` and its like in file names, and takes a backslash for "do not".
pub(super) fn file_name(path: &str) -> String {
    path.replace('%', "%%")
}

/// Slurm counts minutes: rounded up, so that nobody is given less than was asked for.
pub(super) fn minutes(job: &Sbatch) -> Option<u64> {
    job.time.map(|time| u64::try_from(time.0.as_millis().div_ceil(60_000)).unwrap_or(u64::MAX).max(1))
}

/// On each node; in what Slurm calls megabytes.
pub(super) fn megabytes(job: &Sbatch) -> Result<Option<u64>, HostError> {
    let Some(memory) = &job.memory else { return Ok(None) };
    let bytes = wharf_core::params::size(memory).ok_or_else(|| {
        HostError::new(HookErrorKind::Invalid, format!("memory: \"{}\" is no size", memory.escape_debug()))
    })?;
    Ok(Some(bytes.div_ceil(1 << 20).max(1)))
}

/// sbatch's arguments.
pub(super) fn argv(job: &Sbatch) -> Result<Vec<String>, HostError> {
    let mut argv: Vec<String> = ["sbatch", "--parsable"].map(str::to_owned).into();
    argv.push(format!("--job-name={}", job.tag));
    argv.push(format!("--comment={}", job.tag));
    // Nothing of the launcher's environment reaches the job, the mark of this call least of all: the user's login
    // environment is read on the node.
    argv.push("--export=NIL".to_owned());
    argv.push(value("output", &file_name(&job.output))?);
    argv.push("--open-mode=append".to_owned());
    argv.push(if job.requeue { "--requeue" } else { "--no-requeue" }.to_owned());
    let words = [
        ("chdir", &job.chdir),
        ("clusters", &job.cluster),
        ("partition", &job.partition),
        ("account", &job.account),
        ("qos", &job.qos),
        ("reservation", &job.reservation),
        ("constraint", &job.constraint),
    ];
    for (option, word) in words {
        if let Some(word) = word.as_ref().filter(|word| !word.is_empty()) {
            argv.push(value(option, word)?);
        }
    }
    if let Some(minutes) = minutes(job) {
        argv.push(format!("--time={minutes}"));
    }
    if let Some(megabytes) = megabytes(job)? {
        argv.push(format!("--mem={megabytes}M"));
    }
    for (option, count) in [("cpus-per-task", job.cpus), ("nodes", job.nodes), ("gpus", job.gpus)] {
        if let Some(count) = count.filter(|count| *count > 0) {
            argv.push(format!("--{option}={count}"));
        }
    }
    for option in &job.options {
        if !option.starts_with("--") || option.chars().any(char::is_control) {
            let message = format!("options: \"{}\" is no --name=value", option.escape_debug());
            return Err(HostError::new(HookErrorKind::Misconfigured, message));
        }
        argv.push(option.clone());
    }
    Ok(argv)
}

/// Submits; the job id.
pub(super) async fn submit(
    cluster: &Cluster,
    rest: Option<&Rest>,
    context: &HostContext,
    job: &Sbatch,
) -> Result<String, HostError> {
    if !job.script.starts_with("#!") || job.script.contains('\0') {
        return Err(HostError::new(HookErrorKind::Misconfigured, "the job script has to begin with #!"));
    }
    let argv = argv(job)?;
    if let Some(rest) = rest
        && let Some(id) = rest.submit(cluster, context, job).await?
    {
        return Ok(id);
    }
    let said = run(cluster, context, &argv, &job.script, false).await?;
    if said.ok() {
        // Without an id it may have been queued all the same: looked for by its tag.
        return table::submitted(&said.stdout).map(str::to_owned).ok_or_else(|| {
            let message = format!("sbatch said no job id: {}", said.words());
            HostError::new(HookErrorKind::CommandFailed, message)
        });
    }
    let words = said.words();
    let text = format!("{}\n{}", said.stderr, said.stdout);
    // One that was killed, or printed an id before it failed, may have queued the job.
    let kind = if said.code.is_none() || table::submitted(&said.stdout).is_some() {
        HookErrorKind::CommandFailed
    } else {
        words::refusal(&text)
    };
    Err(refused(kind, words))
}

/// Slurm's words for the one who wanted the job.
pub(super) fn refused(kind: HookErrorKind, words: String) -> HostError {
    let message = match kind {
        HookErrorKind::Invalid | HookErrorKind::Denied => format!("Slurm refused the job: {words}"),
        _ => words,
    };
    HostError::new(kind, message)
}
