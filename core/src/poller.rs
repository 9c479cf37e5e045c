//! Asks schedulers about jobs: one round of `status` per template and interval, whatever the number of sessions.
//!
//! Every `poll` (jittered) while anything of a template is pending or lost, every ten times that for connected
//! ones. A failed round changes nothing but the time of the next: it is backed off up to eight intervals. What an
//! event asks for is asked at once, or after a moment where a job is new, and events that follow close on one another
//! share a round. Single sessions that rest, or are asked about again sooner, are in [`pauses`].

mod pauses;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use wharf_protocol::{Dur, JobState, Phase, SessionId};

use crate::driver::Command;
use crate::hook::{Hook, HookAnswer};
use crate::inner::{Ask, Inner, When};
use crate::record::{LinkState, Record, Stage};
use crate::registry::View;
use crate::requests;
use pauses::{Pauses, Told};

/// Jobs in one call.
const BATCH: usize = 500;
/// Connected sessions are asked about so much more seldom.
const SELDOM: u32 = 10;
/// A round that fails again and again is put off up to so many intervals.
const MOST_BACKOFF: u32 = 8;

/// After a round, those that are asked for wait so long.
const REST: Duration = Duration::from_millis(500);
/// What a scheduler is given to look at a new job: in a storm of starts one round serves many.
const MOMENT: Duration = Duration::from_secs(1);

/// One job to ask about.
struct Question {
    session: SessionId,
    job: String,
    handle: Option<Value>,
    record: Arc<Record>,
    seldom: bool,
}

#[derive(Default)]
struct Rhythm {
    next: Option<Instant>,
    next_seldom: Option<Instant>,
    failures: u32,
    running: bool,
    asked: bool,
    /// Asked for although rounds have failed.
    anew: bool,
    /// Asked for then: an answer was old, or a job is new.
    later: Option<Instant>,
    /// Until then no round begins because it was asked for.
    rest: Option<Instant>,
}

/// A round that is over.
#[derive(Default)]
struct Done {
    template: String,
    good: bool,
    told: Vec<Told>,
    /// The interval of connected sessions.
    seldom: Duration,
    /// An answer was older than what a monitor has told.
    again: Option<Duration>,
}

/// Runs until the launcher stops.
pub(crate) async fn run(inner: Arc<Inner>, mut ask: mpsc::UnboundedReceiver<Ask>) {
    let mut rhythms: HashMap<String, Rhythm> = HashMap::new();
    let mut pauses = Pauses::default();
    let (done, mut finished) = mpsc::unbounded_channel::<Done>();
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = inner.stop.cancelled() => return,
            Some(Ask { template, session, when }) = ask.recv() => {
                if let Some(session) = session {
                    pauses.wake(&session);
                }
                let poll = inner.template(&template).map_or(MOMENT, |good| interval(good.timeouts.poll));
                rhythms.entry(template).or_default().ask(when, poll);
            }
            Some(Done { template, good, told, seldom, again }) = finished.recv() => {
                let rhythm = rhythms.entry(template).or_default();
                rhythm.running = false;
                rhythm.failures = if good { 0 } else { (rhythm.failures + 1).min(MOST_BACKOFF) };
                let now = Instant::now();
                rhythm.later = earlier(rhythm.later, again.map(|again| now + again));
                told.into_iter().for_each(|told| pauses.heard(told, seldom, now));
                pauses.retain(|session| inner.sessions.get(session).is_some());
            }
            _ = tick.tick() => {
                let live = inner.sessions.templates();
                rhythms.retain(|template, rhythm| rhythm.running || live.contains(template));
                if live.iter().any(|template| rhythms.get(template).is_none_or(|rhythm| rhythm.is_near())) {
                    rounds(&inner, live, &mut rhythms, &pauses, &done);
                }
            }
        }
    }
}

impl Rhythm {
    /// An event asks for a round.
    fn ask(&mut self, when: When, poll: Duration) {
        match when {
            When::Soon => self.asked = true,
            When::Anew => (self.asked, self.anew) = (true, true),
            When::Later => self.later = earlier(self.later, Some(Instant::now() + MOMENT.min(poll / 4))),
        }
    }

    /// Whether a round may have to begin now: looking at every session is worth it.
    fn is_near(&self) -> bool {
        let is_over = |at: Option<Instant>| at.is_none_or(|at| Instant::now() >= at);
        !self.running && (is_over(self.next) || is_over(self.next_seldom) || self.is_asked())
    }

    /// Asked for by an event, and not too soon after the last one.
    fn is_asked(&self) -> bool {
        (self.asked || self.later.is_some_and(|at| Instant::now() >= at))
            && (self.failures == 0 || self.anew)
            && self.rest.is_none_or(|until| Instant::now() >= until)
    }
}

/// Begins the rounds that are due, of the templates that have live sessions.
fn rounds(
    inner: &Arc<Inner>,
    live: Vec<String>,
    rhythms: &mut HashMap<String, Rhythm>,
    pauses: &Pauses,
    done: &mpsc::UnboundedSender<Done>,
) {
    let mut questions: BTreeMap<String, Vec<Question>> =
        live.into_iter().map(|template| (template, Vec::new())).collect();
    let asked: Vec<Question> = inner.sessions.each(|(id, handle)| question(id, &handle.view.borrow()));
    let now = Instant::now();
    for question in asked.into_iter().filter(|one| !one.seldom || !pauses.rests(&one.session, now)) {
        questions.entry(question.record.template.clone()).or_default().push(question);
    }
    // Of a template that cannot be used nobody is asked, and no other waits for its rounds.
    questions.retain(|template, _| inner.template(template).is_some());
    let together = Together::of(&questions, rhythms);
    for (template, questions) in questions {
        let rhythm = rhythms.entry(template.clone()).or_default();
        round(inner, &template, questions, rhythm, &together, done);
    }
}

fn question(id: &SessionId, view: &View) -> Option<Question> {
    let record = &view.record;
    if !record.rules.status {
        return None;
    }
    let job = record.job.as_ref()?;
    let seldom = match record.stage {
        Stage::Pending { phase: Phase::Submitted, .. } => false,
        Stage::Pending { .. } | Stage::Ended { .. } => return None,
        // Its monitor is there, so that what the scheduler last said is old: the limit of the job, say, is not known yet.
        Stage::Running { .. } if matches!(job.state, JobState::Queued | JobState::Starting) => false,
        Stage::Running { .. } => view.link == LinkState::Connected,
    };
    Some(Question {
        session: id.clone(),
        job: job.id.clone(),
        handle: job.handle.clone(),
        record: Arc::clone(record),
        seldom,
    })
}

/// Backends of which a template's round begins now: those of their other templates that are nearly due come along, so
/// that a scheduler is asked once for all of them.
#[derive(Default)]
struct Together {
    soon: BTreeSet<String>,
    seldom: BTreeSet<String>,
    /// Backends that are asked every interval anyway: what is asked about seldom waits for the next of those rounds.
    often: BTreeSet<String>,
}

impl Together {
    fn of(questions: &BTreeMap<String, Vec<Question>>, rhythms: &HashMap<String, Rhythm>) -> Self {
        let now = Instant::now();
        let mut together = Self::default();
        for questions in questions.values() {
            together
                .often
                .extend(questions.iter().find(|one| !one.seldom).map(|one| one.record.backend.clone()));
        }
        for (template, questions) in questions {
            let Some(first) = questions.first() else { continue };
            let backend = &first.record.backend;
            let rhythm = rhythms.get(template);
            let is_due = |at: Option<Instant>| at.is_none_or(|at| now >= at);
            if is_due(rhythm.and_then(|rhythm| rhythm.next))
                && questions.iter().any(|question| !question.seldom)
            {
                together.soon.insert(backend.clone());
            }
            if is_due(rhythm.and_then(|rhythm| rhythm.next_seldom)) && !together.often.contains(backend) {
                together.seldom.insert(backend.clone());
            }
        }
        together
    }
}

/// Begins a round if it is time for one.
fn round(
    inner: &Arc<Inner>,
    template: &str,
    mut questions: Vec<Question>,
    rhythm: &mut Rhythm,
    together: &Together,
    done: &mpsc::UnboundedSender<Done>,
) {
    if rhythm.running {
        return;
    }
    let Some(good) = inner.template(template) else { return };
    let poll = interval(good.timeouts.poll);
    let now = Instant::now();
    let Some(first) = questions.first() else {
        // Nobody to ask about yet: who is submitted asks for a round.
        (rhythm.next, rhythm.next_seldom) = (Some(now + poll), Some(now + poll));
        return;
    };
    let backend = first.record.backend.clone();
    // A round that is put off because it failed stays so.
    let slack = |others: &BTreeSet<String>, interval: Duration| {
        if rhythm.failures == 0 && others.contains(&backend) { interval / 4 } else { Duration::ZERO }
    };
    let (soon, late) = (slack(&together.soon, poll), slack(&together.seldom, poll * SELDOM));
    let all = rhythm.next_seldom.is_none_or(|at| now + late >= at);
    let asked = rhythm.is_asked();
    if !all && !asked {
        questions.retain(|question| !question.seldom);
    }
    let due = rhythm.next.is_none_or(|at| now + soon >= at);
    if due && questions.is_empty() {
        rhythm.next = Some(now + poll);
    }
    let only_seldom = questions.iter().all(|question| question.seldom);
    let begins = if together.often.contains(&backend) {
        if only_seldom { together.soon.contains(&backend) } else { due }
    } else {
        due || all
    };
    if questions.is_empty() || (!begins && !asked) {
        return;
    }
    if inner
        .breakers(|breakers| breakers.admit((template, &good.version), Hook::Status, now.into_std()))
        .is_err()
    {
        return;
    }
    (rhythm.asked, rhythm.anew, rhythm.later) = (false, false, None);
    let interval = jittered(poll) * (1 << rhythm.failures.min(3));
    rhythm.next = Some(now + interval);
    rhythm.rest = Some(now + REST.min(poll / 4));
    if all {
        rhythm.next_seldom = Some(now + jittered(poll * SELDOM));
    }
    rhythm.running = true;
    let (inner, template, done) = (Arc::clone(inner), template.to_owned(), done.clone());
    tokio::spawn(async move {
        let mut round = Done { template, good: true, seldom: poll * SELDOM, ..Done::default() };
        // Each instance knows its own jobs only.
        questions.sort_by(|a, b| a.record.placed.cmp(&b.record.placed));
        for instance in questions.chunk_by(|a, b| a.record.placed == b.record.placed) {
            for batch in instance.chunks(BATCH) {
                ask_batch(&inner, batch, poll, &mut round).await;
            }
        }
        let _ = done.send(round);
    });
}

/// The earlier of two that there may be.
fn earlier<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    [one, other].into_iter().flatten().min()
}

/// The interval of a template's rounds, such that the multiples of it below remain points in time.
fn interval(poll: Duration) -> Duration {
    poll.clamp(Duration::from_millis(100), Dur::LONGEST.0)
}

/// Between nine tenths and eleven tenths of it.
fn jittered(interval: Duration) -> Duration {
    let [random] = crate::random::bytes::<1>();
    interval * (230 + u32::from(random) * 51 / 255) / 256
}

async fn ask_batch(inner: &Inner, batch: &[Question], poll: Duration, round: &mut Done) {
    let Some(first) = batch.first() else { return };
    let jobs: Vec<_> = batch
        .iter()
        .map(|question| (question.session.clone(), question.job.clone(), question.handle.clone()))
        .collect();
    let request = requests::status(&first.record, &jobs, &inner.owner);
    let asked = inner.clock.now();
    let run =
        inner.run_hook(Hook::Status, &first.record, None, request, None, CancellationToken::new()).await;
    let answer = match run.outcome {
        Ok(HookAnswer::Status(answer)) => Some(answer),
        Ok(_) => None,
        Err(ref error) => {
            warn!(template = first.record.template, error = %error.message.escape_debug(), "status cannot be asked; nothing changes");
            None
        }
    };
    inner.keep_trace(run.trace);
    let Some(answer) = answer else {
        round.good = false;
        return;
    };
    for question in batch {
        let report = answer.get(&question.job);
        round.told.push(Told {
            session: question.session.clone(),
            connected: question.seldom,
            known: Told::is_known(report),
        });
        let Some(report) = report else { continue };
        let Some(handle) = inner.sessions.get(&question.session) else { continue };
        let again = pauses::again(&handle.view.borrow().record, report, inner.clock.now(), poll);
        round.again = earlier(round.again, again);
        let _ = handle.mail.send(Command::Reported(question.job.clone(), asked, report.clone()));
    }
}

#[cfg(test)]
mod tests;
