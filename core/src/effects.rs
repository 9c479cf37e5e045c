//! Carries out what a step decided, each in a task of its own, and mails back what came of it.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, warn};
use wharf_protocol::api::Trace;
use wharf_protocol::monitor::LauncherSays;
use wharf_protocol::{SessionId, Time, TraceId};

use crate::breaker;
use crate::changes::history;
use crate::driver::{Command, Driver, Mail};
use crate::ending;
use crate::enrolment;
use crate::hook::{Found, Hook, HookAnswer, HookCall, HookError, HookErrorKind, HookRun, MonitorInRequest};
use crate::inner::{Inner, When};
use crate::last_words;
use crate::over;
use crate::record::Record;
use crate::requests;
use crate::state::{Effect, Event, Mode};
use crate::store::Change;
use crate::telling::{self, Word, listens};

impl Inner {
    /// Runs a hook and counts it. The trace is the caller's to keep.
    pub(crate) async fn run_hook(
        &self,
        hook: Hook,
        record: &Record,
        session: Option<SessionId>,
        request: Value,
        progress: Option<watch::Sender<String>>,
        cancel: CancellationToken,
    ) -> HookRun {
        self.hooks_running.send_modify(|running| *running += 1);
        let given_up = cancel.clone();
        let deadline =
            self.template(&record.template).map_or_else(Default::default, |t| t.timeouts.clone()).of(hook);
        let run = self
            .hooks
            .call(HookCall {
                template: record.template.clone(),
                hook,
                session,
                request,
                secret_params: record.secrets.iter().cloned().collect(),
                deadline,
                trace: TraceId::from_random(crate::random::id()),
                progress,
                cancel,
            })
            .await;
        self.hooks_running.send_modify(|running| *running -= 1);
        self.count_hook(&record.template, hook, &run);
        if !given_up.is_cancelled() {
            self.heard(&record.template, hook, &run);
        }
        run
    }

    /// Tells the hook's breaker how the run ended.
    pub(crate) fn heard(&self, template: &str, hook: Hook, run: &HookRun) {
        let mut says = breaker::says(hook, run.outcome.as_ref().map(|_| ()));
        if let breaker::Says::Bad(words, _) = &mut says
            && run.outcome.as_ref().is_err_and(|error| !error.kind.is_public())
        {
            words.push_str(&format!(" (wharf trace {})", run.trace.id));
        }
        let version = self.template(template).map(|template| template.version.clone()).unwrap_or_default();
        let now = std::time::Instant::now();
        let opened = self.breakers(|breakers| {
            breakers.heard((template, &version), hook, says, (now, self.clock.now()));
            breakers.of(template).into_iter().find(|trouble| trouble.hook == hook && trouble.state == "open")
        });
        if let Some(trouble) = opened {
            let (hook, failures) = (hook.as_str(), trouble.failures);
            warn!(template, hook, failures, error = %trouble.error.escape_debug(), next_try = ?trouble.next_try, "a hook fails again and again");
        }
    }

    pub(crate) fn count_hook(&self, template: &str, hook: Hook, run: &HookRun) {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of one hook run")]
        let seconds = run.trace.duration_ms as f64 / 1000.0;
        let outcome = match &run.outcome {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.kind.as_str().to_owned(),
        };
        self.count(|counters| {
            let entry = counters.hooks.entry((template.to_owned(), hook.as_str(), outcome)).or_default();
            entry.0 += 1;
            entry.1 += seconds;
        });
    }
}

/// How often a hook's progress is shown anew at most.
const PROGRESS: std::time::Duration = std::time::Duration::from_millis(500);

/// What a hook run leaves behind: its trace, and a line in the session's history.
pub(crate) fn kept(id: &SessionId, now: Time, run: &HookRun) -> Vec<Change> {
    let mut changes = vec![Change::Trace(Box::new(run.trace.clone()))];
    changes.extend(kept_without_trace(id, now, &run.trace, run.outcome.as_ref().err()));
    changes
}

/// The line in the history alone, for runs that serve several sessions.
pub(crate) fn kept_without_trace(
    id: &SessionId,
    now: Time,
    trace: &Trace,
    error: Option<&HookError>,
) -> Vec<Change> {
    let detail = match error {
        None => format!("{}: ok in {} ms", trace.hook, trace.duration_ms),
        Some(error) => {
            let words = public_words(error);
            format!("{}: {} after {} ms: {words}", trace.hook, error.kind.as_str(), trace.duration_ms)
        }
    };
    vec![history(id, now, "hook", "launcher", &detail, Some(trace.id.clone()))]
}

/// A hook's words as users may see them.
pub(crate) fn public_words(error: &HookError) -> String {
    if error.kind.is_public() {
        error.message.clone()
    } else {
        match error.kind {
            HookErrorKind::Timeout => "the hook was not done in time".to_owned(),
            HookErrorKind::Memory => "the hook used too much memory".to_owned(),
            _ => "the hook failed; the administrator finds why by the trace id".to_owned(),
        }
    }
}

/// Takes the private words out of an error before it becomes part of a session.
fn for_users(mut error: HookError) -> HookError {
    error.message = public_words(&error);
    error
}

/// The same for a submit, whose plain "no" is meant for the user: it is how small scripts refuse.
fn submit_for_users(error: HookError) -> HookError {
    if error.plain_exit { error } else { for_users(error) }
}

fn unexpected(hook: Hook) -> HookError {
    HookError::new(HookErrorKind::Internal, format!("{} gave another hook's answer", hook.as_str()))
}

impl Driver {
    /// Carries out effects, in order.
    pub(crate) fn act(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Prepare => self.prepare(),
                Effect::CancelPrepare => {
                    if let Some(prepare) = self.running.prepare.take() {
                        prepare.cancel();
                    }
                }
                Effect::Submit { attempt } => self.submit(attempt),
                Effect::Find => self.find(),
                Effect::Terminate { mode } => self.terminate_hook(mode),
                Effect::EndStray { job, handle } => self.end_stray(job, handle),
                Effect::OrderEnd { grace } => {
                    if let Some((_, link)) = &self.link {
                        link.say(LauncherSays::End { grace: wharf_protocol::Dur(grace) });
                    }
                }
                Effect::PushSnapshot => {
                    if let Some((_, link)) = &self.link {
                        let snapshot = requests::snapshot(&self.session.record, &self.inner.keys());
                        link.say(LauncherSays::Snapshot { snapshot });
                    }
                }
                Effect::ReleaseMonitor => {
                    if let Some((_, link)) = self.link.take() {
                        link.say(LauncherSays::ExitKept);
                        link.close();
                    }
                }
                Effect::CloseLink => {
                    if let Some((_, link)) = self.link.take() {
                        link.close();
                    }
                }
                Effect::Wake { at, due } => self.arm(due, at),
                Effect::AskStatus => self.inner.ask_about(&self.session.record, When::Soon),
                Effect::AskStatusLater => self.inner.ask_about(&self.session.record, When::Later),
                Effect::Tell(hook) => self.tell(hook),
                Effect::Notify(mut notice) => {
                    let record = &self.session.record;
                    let more = self.inner.template(&record.template);
                    if more.is_some_and(|template| template.hooks.contains(&Hook::Extend)) {
                        notice
                            .message
                            .push_str(&format!("; for more time: wharf extend {} --by 1h", record.id));
                    }
                    self.inner.streams.notify(&record.id, &notice);
                }
                Effect::ReviewStreams => {
                    self.inner.streams.review(&self.session.record, self.inner.clock.now());
                    let _ = self.mail.send(Command::Touch);
                }
            }
        }
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(work.in_current_span());
    }

    /// Writes what the job's monitor will need; what a hook is told of it.
    fn lay_out(inner: &Inner, record: &Record) -> Result<Value, HookError> {
        let unavailable = |message: String| HookError::new(HookErrorKind::Unavailable, message);
        let template = inner
            .template(&record.template)
            .ok_or_else(|| unavailable(format!("the template {} cannot be used now", record.template)))?;
        let bootstrap = requests::bootstrap(record, &template, &inner.keys(), inner.clock.now());
        inner
            .data
            .write_session(&record.id, &bootstrap, &inner.addresses)
            .map_err(|error| unavailable(format!("the session's files cannot be written: {error}")))?;
        let (argv, stdin) = match &template.job_enrol {
            None => {
                let path = inner.data.bootstrap(&record.id).display().to_string();
                let program = inner.monitor.display().to_string();
                (vec![program, "run".to_owned(), "--bootstrap".to_owned(), path], None)
            }
            Some(program) => {
                let line = enrolment::offer(inner, record, bootstrap.keys).map_err(|error| {
                    unavailable(format!("the session's files cannot be written: {error}"))
                })?;
                (vec![program.clone(), "run".to_owned(), "--enrol".to_owned()], Some(line))
            }
        };
        let dir = inner.data.session(&record.id).display().to_string();
        let monitor = MonitorInRequest { argv, env: std::collections::BTreeMap::new(), dir, stdin };
        Ok(requests::submit(record, &inner.owner, &monitor, &template))
    }

    fn prepare(&mut self) {
        if self.running.prepare.is_some() {
            return;
        }
        let cancel = CancellationToken::new();
        self.running.prepare = Some(cancel.clone());
        let (inner, record, mail) = self.parts();
        self.spawn(async move {
            let request = match off_thread(Arc::clone(&inner), record.clone()).await {
                Ok(request) => request,
                Err(error) => {
                    let _ = mail.send(Command::Fact(Event::Prepared(Err(error)), Vec::new()));
                    return;
                }
            };
            if cancel.is_cancelled() {
                // What was laid out meanwhile is of no use to a session that is over before anything was submitted.
                if inner.sessions.get(&record.id).is_none() {
                    over::cut_down(&inner, &record.id).await;
                }
                return;
            }
            let id = Some(record.id.clone());
            let (progress, told) = watch::channel(String::new());
            let relay = tokio::spawn(relay(told, mail.clone()));
            let run =
                inner.run_hook(Hook::Prepare, &record, id, request, Some(progress), cancel.clone()).await;
            relay.abort();
            let changes = kept(&record.id, inner.clock.now(), &run);
            if cancel.is_cancelled() {
                return;
            }
            let outcome = run.outcome.map(|_| ()).map_err(for_users);
            let _ = mail.send(Command::Fact(Event::Prepared(outcome), changes));
        });
    }

    fn submit(&mut self, attempt: u32) {
        self.running.submits += 1;
        let (inner, record, mail) = self.parts();
        self.spawn(async move {
            let (outcome, changes) = match off_thread(Arc::clone(&inner), record.clone()).await {
                // Nothing was submitted: the hook did not run.
                Err(error) => (Err(error), Vec::new()),
                Ok(request) => {
                    let id = Some(record.id.clone());
                    let run = inner
                        .run_hook(Hook::Submit, &record, id, request, None, CancellationToken::new())
                        .await;
                    let changes = kept(&record.id, inner.clock.now(), &run);
                    let outcome = match run.outcome {
                        Ok(HookAnswer::Submit(submitted)) => Ok(submitted),
                        Ok(_) => Err(unexpected(Hook::Submit)),
                        Err(error) => Err(submit_for_users(error)),
                    };
                    (outcome, changes)
                }
            };
            let mailed = mail
                .send(Command::Fact(Event::SubmitAnswered { attempt, outcome: outcome.clone() }, changes));
            if mailed.is_err()
                && let Ok(submitted) = outcome
            {
                // Purged meanwhile: its monitor will bring it back if it starts.
                warn!(job = submitted.job_id, "a purged session's job was submitted");
                over::look(&inner, &record.id).await;
            }
        });
    }

    fn find(&mut self) {
        if self.running.find {
            return;
        }
        self.running.find = true;
        let (inner, record, mail) = self.parts();
        self.spawn(async move {
            let request = requests::find(&record, &inner.owner);
            let asked = inner.clock.now();
            let run =
                inner.run_hook(Hook::Find, &record, None, request, None, CancellationToken::new()).await;
            let changes = kept(&record.id, inner.clock.now(), &run);
            let outcome = match run.outcome {
                Ok(HookAnswer::Find(mut found)) => found.remove(&record.id).ok_or_else(|| {
                    HookError::new(HookErrorKind::Internal, "the find hook left the session out")
                }),
                Ok(_) => Err(unexpected(Hook::Find)),
                Err(error) => Err(for_users(error)),
            };
            // A look that found nothing new is not worth a line each time.
            let changes = if matches!(outcome, Ok(Found::Jobs(_)) | Err(_)) { changes } else { Vec::new() };
            inner.keep_trace(run.trace);
            let _ = mail.send(Command::Fact(Event::FindAnswered { asked, outcome }, changes));
        });
    }

    fn terminate_hook(&mut self, mode: Mode) {
        if self.running.terminate {
            return;
        }
        self.running.terminate = true;
        let (inner, record, mail) = self.parts();
        self.spawn(async move {
            let (outcome, changes) = ending::terminate(&inner, record, mode).await;
            let outcome = outcome.map_err(for_users);
            let _ = mail.send(Command::Fact(Event::TerminateAnswered { mode, outcome }, changes));
        });
    }

    /// Ends a job that serves nobody; tried a few times, then left to its monitor, which is told to end.
    fn end_stray(&self, job: String, handle: Option<Value>) {
        let (inner, record, _) = self.parts();
        self.spawn(async move {
            last_words::kept(&inner, &record.id).await;
            for wait in [0, 2, 10, 60] {
                tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
                let mode = Mode::Kill.as_str();
                let request = requests::terminate(&record, &inner.owner, Some((&job, handle.as_ref())), mode);
                let id = Some(record.id.clone());
                let run = inner
                    .run_hook(Hook::Terminate, &record, id, request, None, CancellationToken::new())
                    .await;
                let changes = kept(&record.id, inner.clock.now(), &run);
                let _ = inner.store.commit(changes).await;
                match run.outcome {
                    Ok(_) => return,
                    Err(error) => warn!(job = %job.escape_debug(), error = %error.message.escape_debug(), "a stray job could not be ended"),
                }
            }
        });
    }

    /// Runs an `on_*` hook, if the template has it.
    fn tell(&self, hook: Hook) {
        let (inner, record, _) = self.parts();
        if listens(&inner, &record.template, hook) {
            let word = Word::new(&record.id, hook, None, record.rev);
            self.spawn(async move {
                last_words::kept(&inner, &record.id).await;
                telling::tell(&inner, &record, word).await;
            });
        }
    }

    fn parts(&self) -> (Arc<Inner>, Record, Mail) {
        (Arc::clone(&self.inner), self.session.record.clone(), self.mail.clone())
    }
}

/// Hands on what a hook says of its progress: the newest, and not more often than people read.
async fn relay(mut told: watch::Receiver<String>, mail: Mail) {
    while told.changed().await.is_ok() {
        let text = told.borrow_and_update().clone();
        let _ = mail.send(Command::Fact(Event::Progress(text), Vec::new()));
        tokio::time::sleep(PROGRESS).await;
    }
}

async fn off_thread(inner: Arc<Inner>, record: Record) -> Result<Value, HookError> {
    tokio::task::spawn_blocking(move || Driver::lay_out(&inner, &record)).await.unwrap_or_else(|_| {
        Err(HookError::new(HookErrorKind::Internal, "laying out the session's files failed"))
    })
}
