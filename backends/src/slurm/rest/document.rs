//! A job as slurmrestd is told of it. Pure.
//!
//! The job is the one that sbatch would submit for the same arguments, login environment and umask included; only limits
//! on resources of processes are those of the node's daemon, as the interface takes none along. Read off Slurm 22.05 for
//! v0.0.38 and off the published descriptions of 23.11 to 25.11 for v0.0.40 to v0.0.44, which are alike in all that is said
//! here.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};
use wharf_core::backend::HostError;

use super::super::arguments::Sbatch;
use super::super::submit;

/// The versions that are known, for people.
pub(super) const VERSIONS: &str = "v0.0.38, v0.0.40 to v0.0.44";

/// Options of a site that mean the same in every version; all others are sbatch's.
const OPTIONS: [(&str, &str); 3] = [("--hold", "hold"), ("--licenses=", "licenses"), ("--wckey=", "wckey")];

/// The newest known version of which a description tells.
pub(super) fn newest(description: &str) -> Option<u32> {
    static PATH: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"slurm\\?/v0\.0\.([0-9]{1,4})\\?/job\\?/submit").ok());
    let told = PATH.as_ref()?.captures_iter(description);
    let told = told.filter_map(|found| found.get(1)?.as_str().parse().ok());
    told.filter(|version| matches!(version, 38 | 40..=44)).max()
}

fn option(text: &str) -> Option<(&'static str, Value)> {
    OPTIONS.iter().find_map(|(option, member)| match text.strip_prefix(option)? {
        "" if !option.ends_with('=') => Some((*member, json!(true))),
        value if option.ends_with('=') && !value.is_empty() => Some((*member, json!(value))),
        _ => None,
    })
}

/// Whether all that is wanted can be told in the same words as sbatch.
pub(super) fn can_tell(job: &Sbatch) -> bool {
    let nothing = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
    nothing(&job.cluster) && job.options.iter().all(|text| option(text).is_some())
}

/// The request's body.
///
/// # Errors
/// Those of sbatch's arguments: a value that could not be handed to it is handed to nobody.
pub(super) fn of(version: u32, job: &Sbatch) -> Result<Vec<u8>, HostError> {
    submit::argv(job)?;
    let old = version < 40;
    let directory = job.chdir.as_deref().filter(|dir| !dir.is_empty()).unwrap_or("/");
    let mut members = Map::new();
    let mut add = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
    add("name", json!(job.tag));
    add("comment", json!(job.tag));
    add("current_working_directory", json!(directory));
    add("standard_output", json!(submit::file_name(&job.output)));
    add("open_mode", if old { json!("append") } else { json!(["APPEND"]) });
    match (old, job.requeue) {
        // There `requeue` is true whatever it says.
        (true, false) => add("no_requeue", json!(true)),
        (_, requeue) => add("requeue", json!(requeue)),
    }
    let words = [
        ("partition", &job.partition),
        ("account", &job.account),
        ("qos", &job.qos),
        ("reservation", &job.reservation),
        ("constraints", &job.constraint),
    ];
    for (name, word) in words {
        if let Some(word) = word.as_ref().filter(|word| !word.is_empty()) {
            add(name, json!(word));
        }
    }
    let number = |number: u64| if old { json!(number) } else { json!({ "set": true, "number": number }) };
    if let Some(minutes) = submit::minutes(job) {
        add("time_limit", number(minutes));
    }
    if let Some(megabytes) = submit::megabytes(job)? {
        add("memory_per_node", if old { json!(format!("{megabytes}M")) } else { number(megabytes) });
    }
    let nodes = job.nodes.filter(|nodes| *nodes > 0);
    let cpus = job.cpus.filter(|cpus| *cpus > 0);
    if let Some(cpus) = cpus {
        add("cpus_per_task", json!(cpus));
    }
    match job.gpus.filter(|gpus| *gpus > 0) {
        Some(gpus) if old => add("gpus", json!(gpus.to_string())),
        Some(gpus) => add("tres_per_job", json!(format!("gres/gpu:{gpus}"))),
        None => {}
    }
    if old {
        nodes.into_iter().for_each(|nodes| add("nodes", json!(nodes)));
    } else {
        if let Some(nodes) = nodes {
            add("minimum_nodes", json!(nodes));
            add("maximum_nodes", json!(nodes));
        }
        // What sbatch works out by itself: a task on each node.
        let tasks = nodes.unwrap_or(1);
        add("tasks", json!(tasks));
        add("minimum_cpus", json!(tasks.saturating_mul(cpus.unwrap_or(1))));
    }
    for (name, value) in job.options.iter().filter_map(|text| option(text)) {
        add(name, value);
    }
    let environment = environment(job);
    add(
        "environment",
        if old {
            environment.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
        } else {
            environment.iter().map(|(name, value)| json!(format!("{name}={value}"))).collect()
        },
    );
    let document = if old {
        json!({ "script": job.script, "job": members })
    } else {
        members.insert("script".to_owned(), json!(job.script));
        json!({ "job": members })
    };
    Ok(document.to_string().into_bytes())
}

/// What sbatch leaves in the job's environment with `--export=NIL`: the user's own is read on the node.
fn environment(job: &Sbatch) -> Vec<(&'static str, String)> {
    let mut environment = vec![
        ("SLURM_EXPORT_ENV", "NIL".to_owned()),
        ("SLURM_GET_USER_ENV", "1".to_owned()),
        ("SLURM_OPEN_MODE", "a".to_owned()),
        ("SLURM_PRIO_PROCESS", "0".to_owned()),
        // Where the launcher's commands run.
        ("SLURM_SUBMIT_DIR", "/".to_owned()),
        ("SLURM_SUBMIT_HOST", rustix::system::uname().nodename().to_string_lossy().into_owned()),
        ("SLURM_UMASK", "0077".to_owned()),
    ];
    if let Some(cpus) = job.cpus.filter(|cpus| *cpus > 0) {
        environment.push(("SLURM_CPUS_PER_TASK", cpus.to_string()));
    }
    if let Some(gpus) = job.gpus.filter(|gpus| *gpus > 0) {
        environment.push(("SLURM_GPUS", gpus.to_string()));
    }
    environment
}
