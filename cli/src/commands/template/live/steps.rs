//! The steps of a conformance run, in the order in which they are taken.

use std::time::Instant;

use serde_json::{Value, json};
use wharf_core::hook::Hook;
use wharf_hooks::bench::Bench;
use wharf_protocol::api::ExecRequest;
use wharf_protocol::template::StepResult;
use wharf_protocol::{Link, SessionId, State, StoppedBy};

use super::Report;
use super::look::{ALIVE, BULK, HELLO, LATE, LOOK, Live, QUEUE, Step, processes, words};
use crate::args::admin::TemplateTest;
use crate::client::Client;
use crate::commands::template::failure;
use crate::failure::Outcome;

/// Takes all steps; a failing one ends none of the others that can be taken without it.
pub(super) async fn all(
    report: &mut Report,
    bench: &Bench,
    client: &Client,
    args: &TemplateTest,
) -> Outcome<()> {
    let template = bench.template().map_err(failure)?;
    let params = args.params.iter().map(|pair| (pair.key.clone(), Value::from(pair.value.clone()))).collect();
    let mut live = Live { bench, template, client, params, started: Vec::new() };
    let one = live.one(report).await?;
    let Some((id, job)) = one else {
        for step in
            ["find", "status", "register", "logs", "exec", "terminate", "bulk status", "terminate pending"]
        {
            report.step(step, StepResult::Skipped, "no session could be started", Instant::now())?;
        }
        return live.orphans(report).await;
    };
    live.while_it_runs(report, &id, &job).await?;
    live.its_end(report, &id, &job).await?;
    live.many(report, &job).await?;
    live.pending(report).await?;
    live.orphans(report).await
}

fn tell<T>(report: &mut Report, name: &str, began: Instant, step: Step<(String, T)>) -> Outcome<Option<T>> {
    match step {
        Ok((detail, value)) => {
            report.step(name, StepResult::Passed, &detail, began)?;
            Ok(Some(value))
        }
        Err(why) => {
            report.step(name, StepResult::Failed, &why, began)?;
            Ok(None)
        }
    }
}

impl Live<'_> {
    /// The first session, until it has a job.
    async fn one(&mut self, report: &mut Report) -> Outcome<Option<(SessionId, String)>> {
        let began = Instant::now();
        let step = async {
            let id = self.start("conformance").await?;
            let session = self.until(&id, "submitted", QUEUE, |session| session.job.is_some()).await?;
            let job = session.job.map(|job| job.id).unwrap_or_default();
            Ok((format!("session {id} is job {job}"), (id, job)))
        };
        tell(report, "start", began, step.await)
    }

    async fn while_it_runs(&self, report: &mut Report, id: &SessionId, job: &str) -> Outcome<()> {
        let began = Instant::now();
        if self.has(Hook::Find) {
            let found = self
                .settled("the job is not found by its session's id", || async {
                    let jobs = self.job_in_find(id).await?;
                    Ok(if jobs.iter().any(|found| found == job) {
                        Ok(())
                    } else {
                        Err(format!("it answers {jobs:?}, the job is {job}"))
                    })
                })
                .await;
            tell(
                report,
                "find",
                began,
                found.map(|()| (format!("job {job} is found by the session's id"), ())),
            )?;
        } else {
            let why = "the template has no find hook: a submit whose answer is lost cannot be looked up";
            report.step("find", StepResult::Skipped, why, began)?;
        }
        self.status_of_one(report, "status", id, job, &ALIVE).await?;
        let began = Instant::now();
        let within = QUEUE + self.template.timeouts.register;
        let running = self.until(id, "running", within, |session| session.state == State::Running).await;
        let running = running.map(|session| {
            let linked =
                if session.link == Link::Connected { "and is linked" } else { "but its link is lost" };
            (format!("its monitor has registered {linked}"), ())
        });
        let running = tell(report, "register", began, running)?.is_some();
        if !running {
            for step in ["logs", "exec"] {
                report.step(step, StepResult::Skipped, "the session does not run", Instant::now())?;
            }
            return Ok(());
        }
        self.status_of_one(
            report,
            "status while running",
            id,
            job,
            &["running", "starting", "completing", "suspended"],
        )
        .await?;
        let began = Instant::now();
        tell(report, "logs", began, self.logs(id).await)?;
        let began = Instant::now();
        tell(report, "exec", began, self.exec(id).await)?;
        Ok(())
    }

    async fn status_of_one(
        &self,
        report: &mut Report,
        step: &str,
        id: &SessionId,
        job: &str,
        good: &[&str],
    ) -> Outcome<()> {
        let began = Instant::now();
        if !self.has(Hook::Status) {
            return report.step(step, StepResult::Skipped, "the template has no status hook", began);
        }
        let state = self
            .settled("a job that is there is told otherwise", || async {
                let state = self.state(id, job).await?;
                Ok(if good.contains(&state.as_str()) {
                    Ok(state)
                } else {
                    Err(format!("job {job} is {state}"))
                })
            })
            .await;
        tell(report, step, began, state.map(|state| (format!("job {job} is {state}"), ()))).map(|_| ())
    }

    async fn logs(&self, id: &SessionId) -> Step<(String, ())> {
        if !self.template.command.overridable {
            return Ok(("its command is the template's own: not looked at".to_owned(), ()));
        }
        let until = Instant::now() + LATE;
        loop {
            let mut pieces = self.client.text(&format!("/sessions/{id}/logs")).await.map_err(words)?;
            let mut text = Vec::new();
            while let Some(piece) = pieces.next().await.map_err(words)? {
                text.extend_from_slice(&piece);
            }
            let text = String::from_utf8_lossy(&text);
            if text.contains(HELLO) {
                return Ok(("what its command wrote is in its log".to_owned(), ()));
            }
            if Instant::now() >= until {
                return Err(format!("its command's words are not in its log: {text:?}"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn exec(&self, id: &SessionId) -> Step<(String, ())> {
        let argv = ["sh", "-c", "echo $((6 * 7)) $WHARF_SESSION_ID; exit 3"].map(str::to_owned).to_vec();
        let answer =
            self.client.exec(id, &ExecRequest { argv, ..ExecRequest::default() }).await.map_err(words)?.value;
        let wanted = format!("42 {id}");
        if answer.exit_code == Some(3) && answer.stdout.trim() == wanted {
            return Ok(("a command inside gives its output and its exit code".to_owned(), ()));
        }
        Err(format!(
            "a command inside gave {:?} and exit code {:?}: {}",
            answer.stdout, answer.exit_code, answer.stderr
        ))
    }

    async fn its_end(&self, report: &mut Report, id: &SessionId, job: &str) -> Outcome<()> {
        let began = Instant::now();
        let ended = self.terminate(id).await.map(|session| {
            let end = session.end.map(|end| {
                let by = end.stopped_by.map_or_else(String::new, |by| format!(", by {}", stopped_by(by)));
                format!("{}{by}", end.cause.as_str())
            });
            (format!("it has ended: {}", end.unwrap_or_default()), ())
        });
        tell(report, "terminate running", began, ended)?;
        let began = Instant::now();
        let again = self.terminate(id).await.map(|_| ("the same once more is no error".to_owned(), ()));
        tell(report, "terminate again", began, again)?;
        self.gone(report, "gone", id, job).await?;
        let began = Instant::now();
        let request =
            json!({ "session": { "id": id, "name": "conformance" }, "job_id": job, "mode": "stop" });
        let unknown = self.ask(Hook::Terminate, request.clone()).await;
        let unknown = match unknown {
            Ok(_) => {
                let mut kill = request;
                kill["mode"] = json!("kill");
                self.ask(Hook::Terminate, kill).await
            }
            Err(why) => Err(why),
        };
        let unknown = unknown.map(|_| (format!("ending job {job}, which is gone, is success"), ()));
        tell(report, "unknown job", began, unknown)?;
        let began = Instant::now();
        if self.has(Hook::Find) {
            let stranger = SessionId::from_random(wharf_core::random::id());
            let found = self.job_in_find(&stranger).await.and_then(|jobs| {
                if jobs.is_empty() {
                    Ok(("no job is found for a session that never was".to_owned(), ()))
                } else {
                    Err(format!("jobs {jobs:?} are found for a session that never was"))
                }
            });
            tell(report, "unknown session", began, found)?;
            let began = Instant::now();
            let request =
                json!({ "session": { "id": stranger, "name": "stranger" }, "job_id": false, "mode": "stop" });
            let nothing = self.ask(Hook::Terminate, request).await;
            let nothing = nothing.map(|_| ("ending a session without any job is success".to_owned(), ()));
            tell(report, "terminate nothing", began, nothing)?;
        }
        Ok(())
    }

    /// Waits until nobody says of a job that it is there.
    async fn gone(&self, report: &mut Report, step: &str, id: &SessionId, job: &str) -> Outcome<()> {
        let began = Instant::now();
        if !self.has(Hook::Status) {
            return report.step(step, StepResult::Skipped, "the template has no status hook", began);
        }
        let state = self
            .settled("a job that has ended is told to be there", || async {
                let state = self.state(id, job).await?;
                Ok(if ALIVE.contains(&state.as_str()) {
                    Err(format!("job {job} is {state}"))
                } else {
                    Ok(state)
                })
            })
            .await;
        tell(report, step, began, state.map(|state| (format!("job {job} is {state}"), ()))).map(|_| ())
    }

    /// Several at once: one status for all, and an end by the session's id alone.
    async fn many(&mut self, report: &mut Report, gone: &str) -> Outcome<()> {
        let began = Instant::now();
        let mut jobs = Vec::new();
        let mut failed = None;
        for number in 0..BULK {
            let started = async {
                let id = self.start(&format!("conformance-{number}")).await?;
                let session = self.until(&id, "submitted", QUEUE, |session| session.job.is_some()).await?;
                Ok::<_, String>((id, session.job.map(|job| job.id).unwrap_or_default()))
            };
            match started.await {
                Ok(job) => jobs.push(job),
                Err(why) => failed = Some(why),
            }
        }
        if let Some(why) = failed {
            report.step("bulk status", StepResult::Failed, &why, began)?;
        } else if self.has(Hook::Status) {
            let first = self.started.first().cloned();
            let mut asked = jobs.clone();
            asked.extend(first.map(|id| (id, gone.to_owned())));
            let states = self
                .settled("one question for all jobs is answered wrongly", || async {
                    let states = self.states(&asked).await?;
                    let alive =
                        |job: &String| states.get(job).is_some_and(|state| ALIVE.contains(&state.as_str()));
                    let good = jobs.iter().all(|(_, job)| alive(job)) && !alive(&gone.to_owned());
                    Ok(if good { Ok(states.len()) } else { Err(format!("{states:?}")) })
                })
                .await;
            let detail =
                states.map(|count| (format!("one question about {} jobs, {count} answers", asked.len()), ()));
            tell(report, "bulk status", began, detail)?;
        } else {
            report.step("bulk status", StepResult::Skipped, "the template has no status hook", began)?;
        }
        let began = Instant::now();
        if let (Some((id, job)), true) = (jobs.last().cloned(), self.has(Hook::Find)) {
            let request =
                json!({ "session": { "id": id, "name": "conformance" }, "job_id": false, "mode": "kill" });
            let ended = match self.ask(Hook::Terminate, request).await {
                Err(why) => Err(why),
                Ok(_) => {
                    self.settled("the job is still there", || async {
                        let (state, there) = if self.has(Hook::Status) {
                            let state = self.state(&id, &job).await?;
                            let there = ALIVE.contains(&state.as_str());
                            (state, there)
                        } else {
                            ("there".to_owned(), self.job_in_find(&id).await?.contains(&job))
                        };
                        Ok(if there { Err(format!("job {job} is {state}")) } else { Ok(()) })
                    })
                    .await
                }
            };
            let detail =
                ended.map(|()| ("a job whose id is not known is ended by its session's id".to_owned(), ()));
            tell(report, "terminate by session", began, detail)?;
        }
        let began = Instant::now();
        let mut failed = None;
        for (id, _) in &jobs {
            failed = self.terminate(id).await.err().or(failed);
        }
        let all = failed.map_or_else(|| Ok((format!("{} sessions have ended", jobs.len()), ())), Err);
        tell(report, "terminate all", began, all).map(|_| ())
    }

    /// One that is ended as soon as it has a job.
    async fn pending(&mut self, report: &mut Report) -> Outcome<()> {
        let began = Instant::now();
        let step = async {
            let id = self.start("conformance-pending").await?;
            let session = self.until(&id, "submitted", QUEUE, |session| session.job.is_some()).await?;
            let pending = session.state == State::Pending;
            let ended = self.terminate(&id).await?;
            let cause = ended.end.map(|end| end.cause.as_str()).unwrap_or_default();
            let was = if pending { "pending" } else { "running already" };
            Ok((
                format!("ended while {was}: {cause}"),
                (id, session.job.map(|job| job.id).unwrap_or_default()),
            ))
        };
        if let Some((id, job)) = tell(report, "terminate pending", began, step.await)? {
            self.gone(report, "gone from the queue", &id, &job).await?;
        }
        Ok(())
    }

    /// Nothing may be left of any session.
    async fn orphans(&self, report: &mut Report) -> Outcome<()> {
        let began = Instant::now();
        let left = self
            .settled("something is left", || async {
                let mut left = Vec::new();
                for id in &self.started {
                    if self.session(id).await.is_ok_and(|session| session.state != State::Ended) {
                        left.push(format!("session {id} has not ended"));
                    }
                    if self.has(Hook::Find) {
                        left.extend(self.alive_in_find(id).await?);
                    }
                    left.extend(processes(id.as_str(), self.bench.keeps_leftovers()));
                }
                Ok(if left.is_empty() { Ok(()) } else { Err(left.join(", ")) })
            })
            .await;
        let detail = format!("nothing is left of {} sessions", self.started.len());
        tell(report, "no orphans", began, left.map(|()| (detail, ()))).map(|_| ())
    }
}

/// What has ended a session, in words.
const fn stopped_by(by: StoppedBy) -> &'static str {
    match by {
        StoppedBy::Command => "its stop command",
        StoppedBy::Signal => "a signal to its command",
        StoppedBy::Kill => "killing its processes",
        StoppedBy::Hook => "the terminate hook",
        StoppedBy::NotStarted => "not submitting it",
    }
}
