//! scancel and scontrol: ends, signals and prolongs jobs. All of it may be done twice.

use std::collections::BTreeMap;

use wharf_core::backend::{HostContext, HostError};
use wharf_core::hook::HookErrorKind;
use wharf_protocol::{JobState, Time};

use super::arguments::{Extend, Scancel};
use super::run::{Cluster, Said, run};
use super::{ask, table, words};

/// Ids on one command line.
const PORTION: usize = 200;

/// What a failing scancel or scontrol means.
fn failure(said: &Said) -> HostError {
    let text = &said.stderr;
    let kind = if words::is_absence(text) {
        HookErrorKind::Unavailable
    } else if text.contains("ermission denied") {
        HookErrorKind::Denied
    } else {
        HookErrorKind::CommandFailed
    };
    HostError::new(kind, format!("Slurm: {}", said.words()))
}

/// The lines of an answer that speak of this job.
fn about(said: &Said, id: &str) -> Said {
    let names = |line: &&str| line.split(|letter: char| !letter.is_ascii_digit()).any(|word| word == id);
    let stderr: Vec<&str> = said.stderr.lines().filter(names).collect();
    Said { code: said.code, stderr: stderr.join("\n"), ..Said::default() }
}

/// Whether the job need not be ended any more.
fn is_over(text: &str) -> bool {
    words::is_no_such_job(text) || text.contains("already completing") || text.contains("already completed")
}

/// By job id: done, or why not.
pub(super) async fn cancel(
    at: &Cluster,
    context: &HostContext,
    what: &Scancel,
) -> Result<BTreeMap<String, Result<(), HostError>>, HostError> {
    let mut answer = BTreeMap::new();
    let mut by_cluster: BTreeMap<Option<&str>, Vec<&str>> = BTreeMap::new();
    for job in &what.job_ids {
        match table::split_id(job) {
            Some((id, cluster)) => by_cluster.entry(cluster).or_default().push(id),
            None => {
                let message = format!("\"{}\" is no job id of Slurm", job.escape_debug());
                answer.insert(job.clone(), Err(HostError::new(HookErrorKind::Invalid, message)));
            }
        }
    }
    let mut argv = vec!["scancel".to_owned()];
    if let Some(signal) = &what.signal {
        if signal.is_empty() || !signal.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        {
            return Err(HostError::new(HookErrorKind::Misconfigured, "`signal` is a name such as USR1"));
        }
        argv.push(format!("--signal={signal}"));
        argv.push("--full".to_owned());
    }
    for (cluster, ids) in by_cluster {
        let key = |id: &str| cluster.map_or_else(|| id.to_owned(), |cluster| format!("{id};{cluster}"));
        for portion in ids.chunks(PORTION) {
            let mut argv = argv.clone();
            argv.extend(cluster.map(|cluster| format!("--clusters={cluster}")));
            argv.extend(portion.iter().map(|id| (*id).to_owned()));
            let said = run(at, context, &argv, "", false).await?;
            for id in portion {
                let own = about(&said, id);
                // An error that names nobody is everybody's.
                let verdict = match (said.ok(), own.stderr.is_empty()) {
                    (true, true) => Ok(()),
                    (_, false) if is_over(&own.stderr) => Ok(()),
                    (_, false) => Err(failure(&own)),
                    (false, true) if portion.len() > 1 && names_somebody(&said, portion) => Ok(()),
                    (false, true) if is_over(&said.stderr) => Ok(()),
                    (false, true) => Err(failure(&said)),
                };
                answer.insert(key(id), verdict);
            }
        }
    }
    Ok(answer)
}

/// Whether every line of complaint names a job that was asked for: then those not named are done.
fn names_somebody(said: &Said, ids: &[&str]) -> bool {
    let mut lines = said.stderr.lines().filter(|line| !line.trim().is_empty()).peekable();
    lines.peek().is_some()
        && lines
            .all(|line| line.split(|letter: char| !letter.is_ascii_digit()).any(|word| ids.contains(&word)))
}

/// Gives a job more time; when it will be ended now.
pub(super) async fn extend(
    at: &Cluster,
    context: &HostContext,
    what: &Extend,
) -> Result<Option<Time>, HostError> {
    let Some((id, cluster)) = table::split_id(&what.job_id) else {
        return Err(HostError::new(HookErrorKind::Invalid, "not a job id of Slurm"));
    };
    let refused = |message: &str| Err(HostError::new(HookErrorKind::Invalid, message));
    let Some(report) = ask::single(at, context, cluster, id).await? else {
        return Err(HostError::new(HookErrorKind::NotFound, "Slurm knows no such job any more"));
    };
    match report.state {
        // A time that has not begun ends at no time that could be told.
        JobState::Queued | JobState::Held => {
            return refused(
                "its job has not started, so its time has not begun: for more, start it anew with that",
            );
        }
        JobState::Completing | JobState::Ended | JobState::Gone => return refused("its job is over"),
        // Slurm would add to "unlimited", and end the job.
        JobState::Running | JobState::Suspended if report.ends_at.is_none() => {
            return refused("its job has no time limit, and needs no more time");
        }
        JobState::Starting | JobState::Running | JobState::Suspended | JobState::Unknown => {}
    }
    let minutes = what.by_seconds.unwrap_or(0).div_ceil(60).max(1);
    let mut argv = vec!["scontrol".to_owned()];
    argv.extend(cluster.map(|cluster| format!("--clusters={cluster}")));
    argv.extend(["update".to_owned(), format!("JobId={id}"), format!("TimeLimit=+{minutes}")]);
    let said = run(at, context, &argv, "", false).await?;
    if !said.ok() {
        return Err(if words::is_no_such_job(&said.stderr) {
            HostError::new(HookErrorKind::NotFound, "Slurm knows no such job any more")
        } else if said.stderr.contains("ermission denied") {
            let message = "Slurm lets only its operators give a running job more time";
            HostError::new(HookErrorKind::Denied, message)
        } else if words::is_absence(&said.stderr) {
            failure(&said)
        } else {
            HostError::new(HookErrorKind::Invalid, format!("Slurm: {}", said.words()))
        });
    }
    Ok(ask::single(at, context, cluster, id).await?.and_then(|report| report.ends_at))
}
