//! Asks about jobs: one squeue for many, and for those that it does not know one more look each, then accounting.
//!
//! ```text
//! squeue (all jobs of the user, shared by questions of the same moment, asked anew for younger jobs) ─ has it ─▶ its state
//!     └ has it not ─ squeue --jobs=ID ─ has it ────────▶ its state
//!                       └ "Invalid job id" ─ sacct ─ an end ─▶ ended, with the cause
//!                                               └ nothing, or no accounting ─▶ gone
//! ```
//!
//! A job is `gone` only by Slurm's own word. Whatever else comes leaves it out: nobody can tell. What is asked one by one
//! is asked in portions, and never at the cost of what the first answer told: see [`super::turns`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wharf_core::backend::{HostContext, HostError};
use wharf_core::hook::{HookErrorKind, JobReport};
use wharf_protocol::{JobState, SessionId};

use super::arguments::Status;
use super::run::{Cluster, Said, environment, run};
use super::turns::Turns;
use super::{table, words};

/// Of a call's time, what is not spent on questions about single jobs: its answer has to get out.
const KEPT_BACK: Duration = Duration::from_secs(1);
/// Names on one command line.
const PORTION: usize = 500;

fn unavailable(what: &str, said: &Said) -> HostError {
    HostError::new(HookErrorKind::Unavailable, format!("Slurm cannot be asked: {what}: {}", said.words()))
}

fn words_of(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

fn with_cluster(mut argv: Vec<String>, cluster: Option<&str>) -> Vec<String> {
    if let Some(cluster) = cluster {
        argv.push(format!("--clusters={cluster}"));
    }
    argv
}

/// Rounds of several templates that come together share one answer of the controller for so long.
const SHARED: Duration = Duration::from_secs(2);

/// Answers that are shared; by all that decides what an answer is about.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<HashMap<String, Arc<Slot>>>);

#[derive(Debug, Default)]
struct Slot {
    kept: tokio::sync::Mutex<Option<Kept>>,
    turns: Mutex<Turns>,
}

#[derive(Debug)]
struct Kept {
    at: Instant,
    rows: Arc<BTreeMap<String, JobReport>>,
}

impl Answers {
    /// What is kept of that cluster, as this call asks for it.
    fn slot(&self, at: &Cluster, context: &HostContext, cluster: Option<&str>, everybody: bool) -> Arc<Slot> {
        let mut about = environment(at, context);
        // The mark is another one for each call.
        about.retain(|_, value| context.mark.is_empty() || *value != context.mark);
        let key = format!("{about:?} {:?} {cluster:?} {everybody}", context.programs);
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Of templates that have changed since: nobody asks for those again.
        if slots.len() > 64 {
            slots.clear();
        }
        Arc::clone(slots.entry(key).or_default())
    }
}

impl Slot {
    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All jobs of the launcher's user, or everybody's; asked for once by all who ask at the same time. An answer from before this question
    /// serves only when it has all of these: jobs may be younger than it, and one more answer tells of them together.
    async fn all(
        &self,
        at: &Cluster,
        context: &HostContext,
        cluster: Option<&str>,
        ids: &[&str],
        everybody: bool,
    ) -> Result<Arc<BTreeMap<String, JobReport>>, HostError> {
        let asked = Instant::now();
        let mut kept = self.kept.lock().await;
        let serves = |kept: &&Kept| {
            let has_all = || ids.iter().all(|id| kept.rows.contains_key(*id));
            kept.at.elapsed() < SHARED && (kept.at >= asked || has_all())
        };
        if let Some(kept) = kept.as_ref().filter(serves) {
            return Ok(Arc::clone(&kept.rows));
        }
        let began = Instant::now();
        let mut argv = words_of(&["squeue", "--noheader", "--states=all"]);
        if everybody {
            argv.push(format!("--Format={}{}", table::RANKED, table::QUEUE));
        } else {
            argv.push(format!("--Format={}", table::QUEUE));
            if let Some((_, user)) = context.base.iter().find(|(name, _)| name == "USER") {
                argv.push(format!("--user={user}"));
            }
        }
        let said = run(at, context, &with_cluster(argv, cluster), "", true).await?;
        let read = if everybody { table::ranked } else { table::queue };
        let rows = Arc::new(read(&said.stdout));
        if !said.ok() && rows.is_empty() {
            return Err(unavailable("squeue", &said));
        }
        *kept = Some(Kept { at: began, rows: Arc::clone(&rows) });
        Ok(rows)
    }
}

/// One job, by a question of its own: none when Slurm says that there is no such job.
pub(super) async fn single(
    at: &Cluster,
    context: &HostContext,
    cluster: Option<&str>,
    id: &str,
) -> Result<Option<JobReport>, HostError> {
    let mut argv = words_of(&["squeue", "--noheader", "--states=all"]);
    argv.push(format!("--Format={}", table::QUEUE));
    argv.push(format!("--jobs={id}"));
    let said = run(at, context, &with_cluster(argv, cluster), "", true).await?;
    if let Some(report) = table::queue(&said.stdout).remove(id) {
        return Ok(Some(report));
    }
    let nothing_else = said.stdout.trim().is_empty() && !words::is_absence(&said.stderr);
    if !said.ok() && nothing_else && words::is_no_such_job(&said.stderr) {
        return Ok(None);
    }
    Err(unavailable("squeue", &said))
}

/// What became of jobs that the controller has forgotten.
pub(super) async fn accounting(
    at: &Cluster,
    context: &HostContext,
    cluster: Option<&str>,
    ids: &[&str],
) -> Result<BTreeMap<String, JobReport>, HostError> {
    let mut argv = words_of(&["sacct", "--allocations", "--noheader", "--parsable2"]);
    argv.push(format!("--format={}", table::ACCOUNTING));
    argv.push(format!("--jobs={}", ids.join(",")));
    let said = run(at, context, &with_cluster(argv, cluster), "", true).await?;
    let rows = table::accounting(&said.stdout);
    if said.ok() || !rows.is_empty() { Ok(rows) } else { Err(unavailable("sacct", &said)) }
}

/// The states of many jobs, by the ids that sessions keep.
pub(super) async fn status(
    at: &Cluster,
    context: &HostContext,
    answers: &Answers,
    status: &Status,
) -> Result<BTreeMap<String, JobReport>, HostError> {
    let mut by_cluster: BTreeMap<Option<&str>, BTreeSet<&str>> = BTreeMap::new();
    for job in &status.job_ids {
        // One id that is none of Slurm's would spoil the whole question.
        if let Some((id, cluster)) = table::split_id(job) {
            by_cluster.entry(cluster).or_default().insert(id);
        }
    }
    let mut answer = BTreeMap::new();
    let mut failed = None;
    let (began, whole, mut context) = (Instant::now(), context.left, context.clone());
    for (left, (cluster, ids)) in (1..=by_cluster.len()).rev().zip(by_cluster) {
        let ids: Vec<&str> = ids.into_iter().collect();
        // One that does not answer leaves the others their time.
        context.left = whole.saturating_sub(began.elapsed()) / u32::try_from(left).unwrap_or(u32::MAX);
        match of_cluster(at, &context, answers, cluster, &ids, status.everybody).await {
            Ok(reports) => answer.extend(reports.into_iter().map(|(id, report)| match cluster {
                Some(cluster) => (format!("{id};{cluster}"), report),
                None => (id, report),
            })),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

async fn of_cluster(
    at: &Cluster,
    context: &HostContext,
    answers: &Answers,
    cluster: Option<&str>,
    ids: &[&str],
    everybody: bool,
) -> Result<BTreeMap<String, JobReport>, HostError> {
    let began = Instant::now();
    let slot = answers.slot(at, context, cluster, everybody);
    let all = slot.all(at, context, cluster, ids, everybody).await?;
    let mut reports: BTreeMap<String, JobReport> =
        ids.iter().filter_map(|id| Some(((*id).to_owned(), all.get(*id)?.clone()))).collect();
    let missing: Vec<&str> = ids.iter().copied().filter(|id| !all.contains_key(*id)).collect();
    let portion = slot.turns().portion(&missing, Instant::now());
    // Slow answers to these may not cost what is known already.
    let mut context = context.clone();
    let whole = context.left.saturating_sub(KEPT_BACK);
    let mut has_time = || {
        context.left = whole.saturating_sub(began.elapsed());
        (!context.left.is_zero()).then(|| context.clone())
    };
    let mut forgotten = Vec::new();
    for id in portion {
        let Some(context) = has_time() else { break };
        match single(at, &context, cluster, id).await {
            Ok(Some(report)) => drop(reports.insert(id.to_owned(), report)),
            Ok(None) => forgotten.push(id),
            Err(error) => {
                let absent = words::is_absence(&error.message);
                if !absent {
                    slot.turns().failed(id, Instant::now());
                }
                // The controller has gone meanwhile, or is slow: those after it would not be told either.
                if absent || error.kind == HookErrorKind::Timeout {
                    break;
                }
                continue;
            }
        }
        slot.turns().told(id, Instant::now());
    }
    if forgotten.is_empty() {
        return Ok(reports);
    }
    let accounted = match has_time() {
        Some(context) => accounting(at, &context, cluster, &forgotten).await.unwrap_or_default(),
        None => BTreeMap::new(),
    };
    for id in forgotten {
        // Accounting lags: a job that it believes alive is over, for the controller says that there is none.
        let report = accounted.get(id).filter(|report| report.state == JobState::Ended).cloned();
        let gone = || JobReport { state: JobState::Gone, ..JobReport::default() };
        reports.insert(id.to_owned(), report.unwrap_or_else(gone));
    }
    Ok(reports)
}

/// The jobs that carry these names, alive ones first, each oldest first; of a name without any, an empty list.
///
/// # Errors
/// When squeue cannot be asked: then nobody can tell. Accounting that does not answer hides only jobs that are over.
pub(super) async fn find(
    at: &Cluster,
    context: &HostContext,
    cluster: Option<&str>,
    tags: &[SessionId],
) -> Result<BTreeMap<String, Vec<String>>, HostError> {
    let mut answer: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for portion in tags.chunks(PORTION) {
        let names: Vec<String> = portion.iter().map(ToString::to_string).collect();
        let mut argv = words_of(&["squeue", "--noheader", "--states=all"]);
        argv.push(format!("--Format={}", table::NAMES));
        argv.push(format!("--name={}", names.join(",")));
        let said = run(at, context, &with_cluster(argv, cluster), "", true).await?;
        if !said.ok() || said.cut {
            return Err(unavailable("squeue", &said));
        }
        let mut rows = table::names(&said.stdout);
        let unknown = names.iter().any(|name| !rows.iter().any(|row| row.name == *name));
        if unknown {
            let mut argv = words_of(&["sacct", "--allocations", "--noheader", "--parsable2"]);
            argv.push(format!("--format={}", table::ACCOUNTED_NAMES));
            argv.push(format!("--name={}", names.join(",")));
            // Without a begin only jobs of today are looked at.
            argv.push("--starttime=now-30days".to_owned());
            if let Ok(said) = run(at, context, &with_cluster(argv, cluster), "", true).await {
                let known: BTreeSet<String> = rows.iter().map(|row| row.id.clone()).collect();
                rows.extend(
                    table::accounted_names(&said.stdout).into_iter().filter(|row| !known.contains(&row.id)),
                );
            }
        }
        for name in names {
            let own = |alive: bool| rows.iter().filter(move |row| row.alive == alive);
            let ids = own(true).chain(own(false)).filter(|row| row.name == name).map(|row| match cluster {
                Some(cluster) => format!("{};{cluster}", row.id),
                None => row.id.clone(),
            });
            answer.insert(name.clone(), ids.collect());
        }
    }
    Ok(answer)
}
