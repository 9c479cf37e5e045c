//! How a conformance run looks at sessions and jobs: through the launcher's API, and by asking hooks directly.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wharf_core::hook::Hook;
use wharf_core::template::Template;
use wharf_hooks::bench::{Asked, Bench};
use wharf_protocol::api::{StartRequest, TerminateRequest};
use wharf_protocol::{Session, SessionId, State};

use crate::client::Client;
use crate::failure::Failure;

/// How long a job may wait in the queue.
pub(super) const QUEUE: Duration = Duration::from_secs(300);
/// How long a scheduler may take to show what has happened, beside the template's own `settle`.
pub(super) const LATE: Duration = Duration::from_secs(10);
/// Between two looks.
pub(super) const LOOK: Duration = Duration::from_millis(200);
/// Sessions of the bulk status.
pub(super) const BULK: usize = 3;
/// What sessions write.
pub(super) const HELLO: &str = "hello from the conformance run";
/// States of a job that is there.
pub(super) const ALIVE: [&str; 6] = ["queued", "held", "starting", "running", "suspended", "completing"];

/// What a step gives: a sentence, or why it failed.
pub(super) type Step<T> = Result<T, String>;

pub(super) struct Live<'a> {
    pub(super) bench: &'a Bench,
    pub(super) template: &'a Template,
    pub(super) client: &'a Client,
    pub(super) params: BTreeMap<String, Value>,
    pub(super) started: Vec<SessionId>,
}

pub(super) fn words(failure: Failure) -> String {
    match failure {
        Failure::Problem(problem) | Failure::Coded(problem, _) => {
            let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
            format!("{}{hint}", problem.detail)
        }
        Failure::Unread => "standard output is closed".to_owned(),
    }
}

impl Live<'_> {
    /// Starts a session whose command says hello and waits.
    pub(super) async fn start(&mut self, name: &str) -> Step<SessionId> {
        let script = format!("echo {HELLO}; exec sleep 1000");
        let command =
            self.template.command.overridable.then(|| vec!["sh".to_owned(), "-c".to_owned(), script]);
        let request = StartRequest {
            template: self.bench.name().to_owned(),
            name: Some(name.to_owned()),
            params: self.params.clone(),
            command,
            tty: Some(false),
            ..StartRequest::default()
        };
        let key = SessionId::from_random(wharf_core::random::id());
        let id = self.client.start(&request, key.as_str()).await.map_err(words)?.value.id;
        self.started.push(id.clone());
        Ok(id)
    }

    pub(super) async fn session(&self, id: &SessionId) -> Step<Session> {
        self.client.session(id).await.map(|reply| reply.value).map_err(words)
    }

    /// Waits until a session is so far; why not, with what its hooks said.
    pub(super) async fn until(
        &self,
        id: &SessionId,
        goal: &str,
        within: Duration,
        is: impl Fn(&Session) -> bool,
    ) -> Step<Session> {
        let until = Instant::now() + within;
        loop {
            let session = self.client.wait(id, goal, Duration::from_secs(5)).await.map_err(words)?.value;
            if is(&session) {
                return Ok(session);
            }
            if session.state == State::Ended || Instant::now() >= until {
                let end = session.end.as_ref().map(|end| end.message.clone());
                let reason = session.reason.as_ref().map(|reason| reason.message.clone());
                let why = end.or(reason).unwrap_or_else(|| "nobody says why".to_owned());
                let said = self.last_hook(id).await;
                return Err(format!("the session {id} is not {goal}: {why}{said}"));
            }
        }
    }

    /// What the last hook that failed for a session said.
    pub(super) async fn last_hook(&self, id: &SessionId) -> String {
        let Ok(history) = self.client.history(id).await else { return String::new() };
        for entry in history.iter().rev() {
            let Some(trace) = &entry.value.trace_id else { continue };
            let Ok(trace) = self.client.trace(trace).await else { continue };
            let trace = trace.value;
            if trace.outcome == "ok" {
                continue;
            }
            let mut said =
                format!("\n{}: {}: {}\n{}", trace.hook, trace.outcome, trace.detail, trace.log.trim_end());
            for command in &trace.commands {
                said.push_str(&format!(
                    "\n$ {}\n(status {:?}) {}{}",
                    command.argv.join(" "),
                    command.status,
                    command.stdout,
                    command.stderr
                ));
            }
            return said;
        }
        String::new()
    }

    /// Asks a hook directly.
    pub(super) async fn ask(&self, hook: Hook, request: Value) -> Step<Value> {
        let asked = Asked { request: Some(request), user: Some(crate::user::current()), ..Asked::default() };
        let report = self.bench.run(hook, &asked).await.map_err(|error| error.to_string())?;
        match report.outcome {
            Some(Ok(result)) => Ok(result),
            Some(Err(error)) => {
                Err(format!("the hook {} says: {error}\n{}", hook.as_str(), report.log.trim_end()))
            }
            None => Err("nothing was run".to_owned()),
        }
    }

    pub(super) fn has(&self, hook: Hook) -> bool {
        self.template.hooks.contains(&hook)
    }

    pub(super) async fn job_in_find(&self, id: &SessionId) -> Step<Vec<String>> {
        let answer = self.ask(Hook::Find, json!({ "sessions": [{ "id": id }] })).await?;
        Ok(match answer.get(id.as_str()) {
            Some(Value::String(job)) => vec![job.clone()],
            Some(Value::Array(jobs)) => jobs.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        })
    }

    pub(super) async fn states(&self, jobs: &[(SessionId, String)]) -> Step<BTreeMap<String, String>> {
        let jobs: Vec<Value> =
            jobs.iter().map(|(id, job)| json!({ "session_id": id, "job_id": job, "handle": null })).collect();
        let answer = self.ask(Hook::Status, json!({ "jobs": jobs })).await?;
        let states = answer.as_object().into_iter().flatten();
        Ok(states
            .filter_map(|(job, report)| Some((job.clone(), report.get("state")?.as_str()?.to_owned())))
            .collect())
    }

    pub(super) async fn state(&self, id: &SessionId, job: &str) -> Step<String> {
        let states = self.states(&[(id.clone(), job.to_owned())]).await?;
        Ok(states.get(job).cloned().unwrap_or_else(|| "left out".to_owned()))
    }

    /// Looks again until something holds, as long as a scheduler may take to show it.
    pub(super) async fn settled<T, F>(&self, what: &str, mut look: impl FnMut() -> F) -> Step<T>
    where
        F: Future<Output = Step<Result<T, String>>>,
    {
        let until = Instant::now() + self.template.timeouts.settle + LATE;
        loop {
            let last = match look().await? {
                Ok(value) => return Ok(value),
                Err(last) => last,
            };
            if Instant::now() >= until {
                return Err(format!("{what}: {last}"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(super) async fn terminate(&self, id: &SessionId) -> Step<Session> {
        let wait = self.template.timeouts.terminate + Duration::from_secs(60);
        let (over, reply) =
            self.client.terminate(id, &TerminateRequest::default(), wait).await.map_err(words)?;
        if over && reply.value.state == State::Ended {
            return Ok(reply.value);
        }
        Err(format!("the session {id} has not ended{}", self.last_hook(id).await))
    }

    /// Jobs of a session that are still there; schedulers list ended ones for a while.
    pub(super) async fn alive_in_find(&self, id: &SessionId) -> Step<Vec<String>> {
        let mut left = Vec::new();
        for job in self.job_in_find(id).await? {
            let state = if self.has(Hook::Status) { self.state(id, &job).await? } else { "there".to_owned() };
            if !self.has(Hook::Status) || ALIVE.contains(&state.as_str()) {
                left.push(format!("job {job} of {id} is {state}"));
            }
        }
        Ok(left)
    }
}

/// Processes of this host that belong to a session. With `servers_stay` a server that a hook has started, in the hook's
/// own environment, is the scheduler's and none of them.
pub(super) fn processes(id: &str, servers_stay: bool) -> Vec<String> {
    let own = std::process::id().to_string();
    let names = |file: &Path| {
        std::fs::read(file).is_ok_and(|bytes| bytes.windows(id.len()).any(|part| part == id.as_bytes()))
    };
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let pid = entry.file_name();
            let dir = entry.path();
            let dead = std::fs::read_to_string(dir.join("stat")).is_ok_and(|stat| {
                stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
            });
            let server = || servers_stay && of_a_hook(&dir.join("environ"));
            let belongs = names(&dir.join("cmdline")) || names(&dir.join("environ")) && !server();
            pid != *own && !dead && belongs
        })
        .map(|entry| format!("process {} of {id}", entry.file_name().to_string_lossy()))
        .collect()
}

/// Whether a process still has the environment of the hook that started it; monitors and sessions have not.
fn of_a_hook(environ: &Path) -> bool {
    std::fs::read(environ)
        .is_ok_and(|bytes| bytes.split(|byte| *byte == 0).any(|entry| entry.starts_with(b"WHARF_HOOK=")))
}
