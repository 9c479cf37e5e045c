//! The demo's steps, one function each, in the order in which they are shown.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wharf_protocol::api::{ConnectRequest, ExecRequest, Role, ShareRequest, StartRequest, TerminateRequest};
use wharf_protocol::session::Params;
use wharf_protocol::{Dur, ErrorCode, Problem, Session, SessionId, State};

use crate::args::Format;
use crate::client::stream::Incoming;
use crate::client::{CallError, Client};
use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::output::escape;

/// How long one thing may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Prints steps as they are done.
struct Stage<'a> {
    context: &'a Context,
    client: &'a Client,
}

/// All steps; the first that fails ends them.
pub(super) async fn all(context: &Context, client: &Client, began: Instant) -> Outcome<()> {
    let stage = Stage { context, client };
    stage.done("serve", "a launcher in a directory of its own, on a Unix socket and loopback", began)?;
    let id = stage.running().await?;
    stage.connect(&id).await?;
    stage.exec(&id).await?;
    stage.params(&id).await?;
    stage.logs(&id).await?;
    stage.share(&id).await?;
    stage.disconnect(&id).await?;
    stage.purge_refused(&id).await?;
    stage.terminate(&id).await?;
    let pending = stage.pending("to be purged").await?;
    stage.purge(&pending).await?;
    let pending = stage.pending("to be terminated").await?;
    stage.terminate_pending(&pending).await
}

fn failed(detail: impl Into<String>) -> Failure {
    Problem::new(ErrorCode::Internal, detail).into()
}

impl Stage<'_> {
    /// One step is done.
    fn done(&self, step: &str, what: &str, began: Instant) -> Outcome<()> {
        let millis = began.elapsed().as_millis();
        let output = &self.context.output;
        if output.format != Format::Table {
            let line = json!({ "step": step, "ok": true, "detail": what, "ms": u64::try_from(millis).unwrap_or(u64::MAX) });
            return output.line(&crate::output::json::compact(&line));
        }
        let what = escape::line(what);
        output.line(&if output.colour() {
            format!("\u{1b}[32m✓\u{1b}[0m \u{1b}[1m{step:<11}\u{1b}[0m {what} \u{1b}[2m{millis} ms\u{1b}[0m")
        } else {
            format!("✓ {step:<11} {what} ({millis} ms)")
        })
    }

    async fn start(&self, request: StartRequest) -> Outcome<SessionId> {
        let key = SessionId::from_random(wharf_core::random::id());
        Ok(self.client.start(&request, key.as_str()).await?.value.id)
    }

    /// Waits until a session is so far.
    async fn until(&self, id: &SessionId, goal: &str, is: impl Fn(&Session) -> bool) -> Outcome<Session> {
        let session = self.client.wait(id, goal, PATIENCE).await?.value;
        if is(&session) {
            return Ok(session);
        }
        let end = session.end.as_ref().map(|end| end.message.as_str());
        let reason = session.reason.as_ref().map(|reason| reason.message.as_str());
        let why = end.or(reason).unwrap_or("nobody knows why");
        Err(failed(format!("the session {id} is not {goal} after {} s: {why}", PATIENCE.as_secs())))
    }

    async fn running(&self) -> Outcome<SessionId> {
        let began = Instant::now();
        let script = "echo \"hello from $WHARF_SESSION_NAME\"; exec sleep 1000";
        let id = self
            .start(StartRequest {
                template: "shell".to_owned(),
                name: Some("demo".to_owned()),
                command: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
                tty: Some(true),
                tags: BTreeMap::from([("what".to_owned(), "demo".to_owned())]),
                ..StartRequest::default()
            })
            .await?;
        let session = self.until(&id, "running", |session| session.state == State::Running).await?;
        let job = session.job.map(|job| job.id).unwrap_or_default();
        self.done("start", &format!("session {id} of template shell runs as job {job}"), began)?;
        Ok(id)
    }

    async fn connect(&self, id: &SessionId) -> Outcome<()> {
        let began = Instant::now();
        let connection = self.client.connection(id, &ConnectRequest::default(), None).await?.value;
        let names: Vec<&str> = connection.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
        self.done("connect", &format!("its monitor offers: {}", names.join(", ")), began)
    }

    async fn exec(&self, id: &SessionId) -> Outcome<()> {
        let began = Instant::now();
        let argv =
            ["sh", "-c", "echo $((6 * 7)), asked inside $WHARF_SESSION_NAME"].map(str::to_owned).to_vec();
        let result = self.client.exec(id, &ExecRequest { argv, ..ExecRequest::default() }).await?.value;
        if result.exit_code != Some(0) {
            return Err(failed(format!("the command inside failed: {}", result.stderr)));
        }
        self.done("exec", &format!("a command inside says: {}", result.stdout.trim()), began)
    }

    async fn params(&self, id: &SessionId) -> Outcome<()> {
        let began = Instant::now();
        let patch = Params::from([("note".to_owned(), Value::from("look here"))]);
        let answer = self.client.patch_params(id, &patch, None).await?.value;
        if answer.params.get("note") != patch.get("note") {
            return Err(failed("the parameter that was set is not there"));
        }
        self.done("params", &format!("note = \"look here\" (params_rev {})", answer.params_rev), began)
    }

    async fn logs(&self, id: &SessionId) -> Outcome<()> {
        let began = Instant::now();
        loop {
            let mut pieces = self.client.text(&format!("/sessions/{id}/logs")).await?;
            let mut text = Vec::new();
            while let Some(piece) = pieces.next().await? {
                text.extend_from_slice(&piece);
            }
            let text = String::from_utf8_lossy(&text);
            if text.contains("hello from demo") {
                return self.done("logs", &format!("its command wrote: {}", text.trim()), began);
            }
            if began.elapsed() > PATIENCE {
                return Err(failed("its command's words are not in the log"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn share(&self, id: &SessionId) -> Outcome<()> {
        let began = Instant::now();
        let request = ShareRequest {
            grantee: "user:guest".to_owned(),
            role: Role::View,
            exec: false,
            expires_at: None,
            expires_in: Some(Dur::secs(3600)),
        };
        let share = self.client.share(id, &request).await?.value;
        self.done("share", &format!("{} may look for an hour (share {})", share.grantee, share.id), began)
    }

    /// A terminal is opened first, so that there is something to cut.
    async fn disconnect(&self, id: &SessionId) -> Outcome<()> {
        let began = Instant::now();
        let (_sender, mut receiver) = self.client.stream(&format!("/sessions/{id}/attach?role=view")).await?;
        let cut = async {
            loop {
                let cut = self.client.disconnect(id, None).await?.value.disconnected;
                if cut > 0 {
                    return Ok::<_, Failure>(cut);
                }
                if began.elapsed() > PATIENCE {
                    return Err(failed("there was no stream to cut"));
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let cut = cut.await?;
        let closed = async { while let Ok(Some(Incoming::Data(..))) = receiver.next().await {} };
        if tokio::time::timeout(PATIENCE, closed).await.is_err() {
            return Err(failed("the terminal was still open after it had been cut"));
        }
        self.done("disconnect", &format!("{cut} open terminal was cut, the session goes on"), began)
    }

    async fn purge_refused(&self, id: &SessionId) -> Outcome<()> {
        let began = Instant::now();
        match self.client.purge(id).await {
            Err(CallError::Refused(problem)) if problem.code == ErrorCode::SessionReachable => {
                self.done("purge", &format!("refused, as it must be: {}", problem.detail), began)
            }
            Ok(()) => Err(failed("a session that answers was purged")),
            Err(error) => Err(error.into()),
        }
    }

    async fn terminate(&self, id: &SessionId) -> Outcome<()> {
        let began = Instant::now();
        let (_, reply) = self.client.terminate(id, &TerminateRequest::default(), PATIENCE * 2).await?;
        let Some(end) = reply.value.end else { return Err(failed("it did not end")) };
        let how = end.stopped_by.map(|by| serde_json::to_value(by).unwrap_or_default());
        let how = how.as_ref().and_then(Value::as_str).unwrap_or("itself");
        self.done("terminate", &format!("it has ended ({}, by {how})", end.cause.as_str()), began)
    }

    async fn pending(&self, what: &str) -> Outcome<SessionId> {
        let began = Instant::now();
        let request = StartRequest {
            template: "queue".to_owned(),
            name: Some(what.replace(' ', "-")),
            ..StartRequest::default()
        };
        let id = self.start(request).await?;
        let session = self
            .until(&id, "submitted", |session| session.state == State::Pending && session.job.is_some())
            .await?;
        let job = session.job.map(|job| job.id).unwrap_or_default();
        self.done(
            "start",
            &format!("session {what}: pending as job {job}, in a queue that never moves"),
            began,
        )?;
        Ok(id)
    }

    async fn purge(&self, id: &SessionId) -> Outcome<()> {
        let began = Instant::now();
        self.client.purge(id).await?;
        match self.client.session(id).await {
            Err(failure) if failure.exit_code() == 3 => {
                self.done("purge", "the pending session is forgotten at once, no hook was asked", began)
            }
            Err(failure) => Err(failure),
            Ok(_) => Err(failed("the purged session is still there")),
        }
    }

    async fn terminate_pending(&self, id: &SessionId) -> Outcome<()> {
        let began = Instant::now();
        let (over, reply) = self.client.terminate(id, &TerminateRequest::default(), PATIENCE).await?;
        if !over {
            return Err(failed("the pending session did not end"));
        }
        let end = reply.value.end.map(|end| end.cause.as_str()).unwrap_or_default();
        self.done(
            "terminate",
            &format!("the pending session has ended by its template's hook ({end})"),
            began,
        )
    }
}
