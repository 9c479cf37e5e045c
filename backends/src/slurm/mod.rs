//! The slurm backend: typed functions over Slurm's own commands, for the hooks of Slurm templates.
//!
//! Commands get arguments only and a cleaned environment ([`run`]); their answers are read by pure functions
//! ([`table`], [`words`], [`reasons`], [`choices`]); submitting is in [`submit`] and [`rest`], asking in [`ask`], ending and prolonging in [`change`]. Nothing is
//! remembered of jobs: what one is called, and that is its session's id, finds it again.
//!
//! The rule everywhere: an answer that Slurm did not surely give is none. Only a refusal that left nothing in the queue
//! is told as one, and a job is gone only when Slurm says that there is no such job.

mod arguments;
mod ask;
mod change;
mod choices;
mod reasons;
mod rest;
mod run;
mod submit;
mod table;
mod turns;
mod words;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use wharf_core::backend::{Backend, HostContext, HostError, HostFunction, HostModule, NoCall};
use wharf_core::hook::HookErrorKind;

use arguments::{Extend, Jobs, Nothing, Sbatch, Scancel, Status, Tags, read};
pub use rest::RestAddress;
pub use run::Cluster;

/// One Slurm cluster (or federation), as the commands reach it.
#[derive(Debug, Clone)]
pub struct Slurm {
    name: String,
    cluster: Arc<Cluster>,
    answers: Arc<ask::Answers>,
    rest: Option<Arc<rest::Rest>>,
}

impl Slurm {
    /// `name` is `slurm`, or `slurm/INSTANCE`.
    pub fn new(name: impl Into<String>, cluster: Cluster) -> Self {
        let rest = cluster.rest.clone().map(|address| Arc::new(rest::Rest::at(address)));
        Self { name: name.into(), cluster: Arc::new(cluster), answers: Arc::default(), rest }
    }
}

const FUNCTIONS: &[HostFunction] = &[
    HostFunction {
        name: "sbatch",
        writes: true,
        doc: "Submits a job that carries the session's id; {script, tag, output, …} → {job_id}.",
    },
    HostFunction {
        name: "find",
        writes: false,
        doc: "Finds jobs by tag in squeue, then in accounting; {tags, cluster?} → {[tag] = {job ids} or false}.",
    },
    HostFunction {
        name: "status",
        writes: false,
        doc: "Asks about many jobs; {job_ids, everybody?} → {[job_id] = report}; what nobody can tell is left out.",
    },
    HostFunction {
        name: "sacct",
        writes: false,
        doc: "What accounting says of jobs; {job_ids} → {[job_id] = report}.",
    },
    HostFunction {
        name: "scancel",
        writes: true,
        doc: "Ends jobs, or signals them; {job_ids, signal?} → {[job_id] = {} or {error}}. Already gone is success.",
    },
    HostFunction {
        name: "extend",
        writes: true,
        doc: "Gives a job more time; {job_id, by_seconds} → {ends_at?}.",
    },
    HostFunction {
        name: "sinfo",
        writes: false,
        doc: "The partitions, the default one first; {} → {{name, available, default, time_limit, longest?, cpus, memory_mib, gpus}, …}.",
    },
    HostFunction {
        name: "sacctmgr",
        writes: false,
        doc: "What the user may charge to; {} → {accounts, qos}.",
    },
];

#[async_trait]
impl Backend for Slurm {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Vec<&'static str> {
        let all =
            ["survives_launcher", "find_by_tag", "signals", "requeue", "terminate_many", "extend", "options"];
        all.into_iter().chain(self.rest.is_some().then_some("rest")).collect()
    }

    fn requeues(&self) -> bool {
        true
    }

    async fn probe(&self) -> Result<(), String> {
        // A template may name another cluster, or other programs, than the launcher knows: then only its hooks can tell.
        if self.cluster.conf.is_none() && self.cluster.path.is_empty() {
            return Ok(());
        }
        let context = HostContext {
            session: None,
            base: ["PATH", "HOME", "USER"]
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
                .collect(),
            programs: Vec::new(),
            env: Vec::new(),
            config: serde_json::Value::Null,
            progress: None,
            mark: String::new(),
            processes: Arc::new(NoCall),
            left: Duration::from_secs(4),
            cancel: CancellationToken::new(),
        };
        let argv = ["scontrol".to_owned(), "ping".to_owned()];
        match run::run(&self.cluster, &context, &argv, "", false).await {
            Ok(said) if said.ok() && said.stdout.contains(" is UP") => Ok(()),
            Ok(said) => Err(said.words()),
            Err(error) => Err(error.message),
        }
    }

    fn module(&self) -> Option<Arc<dyn HostModule>> {
        Some(Arc::new(self.clone()))
    }

    fn lacks(&self) -> Option<String> {
        self.rest.as_ref()?.lacks()
    }
}

#[async_trait]
impl HostModule for Slurm {
    fn name(&self) -> &'static str {
        "slurm"
    }

    fn functions(&self) -> &'static [HostFunction] {
        FUNCTIONS
    }

    async fn call(
        &self,
        function: &str,
        arguments: Value,
        context: &HostContext,
    ) -> Result<Value, HostError> {
        let at = &*self.cluster;
        match function {
            "sbatch" => {
                let job: Sbatch = read(arguments)?;
                Ok(json!({ "job_id": submit::submit(at, self.rest.as_deref(), context, &job).await? }))
            }
            "find" => {
                let Tags { tags, cluster } = read(arguments)?;
                let found = ask::find(at, context, cluster.as_deref(), &tags).await?;
                let answer = found
                    .into_iter()
                    .map(|(tag, jobs)| (tag, if jobs.is_empty() { json!(false) } else { json!(jobs) }));
                Ok(Value::Object(answer.collect::<Map<_, _>>()))
            }
            "status" => {
                let status: Status = read(arguments)?;
                Ok(reports(&ask::status(at, context, &self.answers, &status).await?))
            }
            "sacct" => {
                let jobs: Jobs = read(arguments)?;
                let ids: Vec<&str> =
                    jobs.job_ids.iter().filter_map(|job| table::split_id(job)).map(|(id, _)| id).collect();
                if ids.is_empty() {
                    return Ok(json!({}));
                }
                Ok(reports(&ask::accounting(at, context, None, &ids).await?))
            }
            "scancel" => {
                let what: Scancel = read(arguments)?;
                let verdicts = change::cancel(at, context, &what).await?;
                let answer = verdicts.into_iter().map(|(job, verdict)| {
                    let verdict = match verdict {
                        Ok(()) => json!({}),
                        Err(error) => json!({ "error": { "kind": error.kind, "message": error.message } }),
                    };
                    (job, verdict)
                });
                Ok(Value::Object(answer.collect::<Map<_, _>>()))
            }
            "extend" => {
                let what: Extend = read(arguments)?;
                let ends_at = change::extend(at, context, &what).await?;
                Ok(ends_at.map_or_else(|| json!({}), |ends_at| json!({ "ends_at": ends_at })))
            }
            "sinfo" => {
                let Nothing {} = read(arguments)?;
                let argv = [
                    "sinfo".to_owned(),
                    "--noheader".to_owned(),
                    "--all".to_owned(),
                    format!("--format={}", choices::PARTITIONS),
                ];
                let said = run::run(at, context, &argv, "", false).await?;
                if !said.ok() {
                    return Err(HostError::new(HookErrorKind::Unavailable, said.words()));
                }
                Ok(json!(choices::partitions(&said.stdout)))
            }
            "sacctmgr" => {
                let Nothing {} = read(arguments)?;
                let user = context.base.iter().find(|(name, _)| name == "USER").map(|(_, user)| user.clone());
                let mut argv =
                    ["sacctmgr", "--noheader", "--parsable2", "show", "associations", "format=account,qos"]
                        .map(str::to_owned)
                        .to_vec();
                argv.extend(user.map(|user| format!("user={user}")));
                let said = run::run(at, context, &argv, "", false).await?;
                if !said.ok() {
                    return Err(HostError::new(HookErrorKind::Unavailable, said.words()));
                }
                let (accounts, qos) = choices::associations(&said.stdout);
                Ok(json!({ "accounts": accounts, "qos": qos }))
            }
            _ => Err(HostError::new(HookErrorKind::Internal, format!("slurm has no function {function}"))),
        }
    }
}

/// By job id; what is not known is left out, as hooks answer it.
fn reports(reports: &std::collections::BTreeMap<String, wharf_core::hook::JobReport>) -> Value {
    let mut answer = Map::new();
    for (job, report) in reports {
        let mut report = json!(report);
        if let Some(members) = report.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        answer.insert(job.clone(), report);
    }
    Value::Object(answer)
}

#[cfg(test)]
mod tests;
