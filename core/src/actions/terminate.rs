//! terminate and extend.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wharf_protocol::api::TerminateRequest;
use wharf_protocol::{ErrorCode, Problem, SessionId, Time};

use super::{Target, ended, from_hook, from_store, unknown_session};
use crate::actor::{Actor, Verb};
use crate::driver::{Command, Terminating};
use crate::hook::{Hook, HookAnswer, HookError};
use crate::launcher::{Launcher, Terminated};
use crate::requests;
use crate::state::{Edit, Event};

impl Launcher {
    /// Ends a session. Waits for the end as long as asked; for a pending one whose terminate hook runs, for the
    /// hook's verdict in any case.
    ///
    /// # Errors
    /// The hook's failure: the wish stays.
    pub async fn terminate(
        &self,
        by: &Actor,
        id: &SessionId,
        request: TerminateRequest,
        wait: Duration,
    ) -> Result<Terminated, Problem> {
        let deadline = Instant::now() + wait;
        let (target, _) = self.find(by, id, Verb::Own).await?;
        let Target::Live(mut handle) = target else {
            return Ok(Terminated { session: self.show(&target), over: true });
        };
        let event = Event::Terminate { by: by.user.clone(), grace: request.grace.map(|grace| grace.0) };
        let (reply, answer) = oneshot::channel();
        if handle.mail.send(Command::Terminate { event, reply }).is_err() {
            return self.as_it_ended(by, id).await;
        }
        let Terminating { mut verdict, awaited } = match answer.await {
            Ok(answer) => answer.map_err(|error| from_store(&error))?,
            Err(_) => return self.as_it_ended(by, id).await,
        };
        let mut heard = false;
        loop {
            let view = handle.view.borrow_and_update().clone();
            if view.gone {
                return Err(unknown_session());
            }
            if view.record.is_ended() {
                return Ok(Terminated { session: self.inner.present(&view), over: true });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() && (!awaited || heard) {
                return Ok(Terminated { session: self.inner.present(&view), over: false });
            }
            tokio::select! {
                outcome = &mut verdict, if !heard => {
                    heard = true;
                    if let Ok(Err(error)) = outcome {
                        return Err(self.refused(id, &error).await);
                    }
                }
                changed = handle.view.changed() => {
                    if changed.is_err() {
                        return self.as_it_ended(by, id).await;
                    }
                }
                () = tokio::time::sleep(left), if !awaited || heard => {}
            }
        }
    }

    /// The session ended while it was being asked.
    async fn as_it_ended(&self, by: &Actor, id: &SessionId) -> Result<Terminated, Problem> {
        let (target, _) = self.find(by, id, Verb::Own).await?;
        let over = matches!(target, Target::Ended(_));
        Ok(Terminated { session: self.show(&target), over })
    }

    /// A terminate hook's refusal, with the trace of its run.
    async fn refused(&self, id: &SessionId, error: &HookError) -> Problem {
        let history = self.inner.store.history(id).await.unwrap_or_default();
        let trace = history
            .iter()
            .rev()
            .find(|entry| entry.event == "hook" && entry.detail.starts_with("terminate:"))
            .and_then(|entry| entry.trace_id.clone());
        let problem = from_hook(Hook::Terminate, error, trace.as_deref());
        if problem.hint.is_some() {
            return problem;
        }
        problem.hint("the wish stays: it ends as soon as its job appears; terminate again to try the hook again, or purge to forget the session")
    }

    /// Gives a session's job more time.
    ///
    /// # Errors
    /// `not_extendable` without the hook; the hook's failure.
    pub async fn extend(&self, by: &Actor, id: &SessionId, more: Duration) -> Result<Time, Problem> {
        let (target, _) = self.find(by, id, Verb::Own).await?;
        let Target::Live(handle) = target else { return Err(ended()) };
        let record = handle.view.borrow().record.clone();
        let inner = &self.inner;
        let extendable = record.job.is_some()
            && inner
                .template(&record.template)
                .is_some_and(|template| template.hooks.contains(&Hook::Extend));
        if !extendable {
            return Err(Problem::new(
                ErrorCode::NotExtendable,
                format!("sessions of the template {} cannot be given more time", record.template),
            ));
        }
        let request =
            requests::about(&record, &inner.owner, &[("by_seconds", serde_json::json!(more.as_secs()))]);
        let run = inner
            .run_hook(Hook::Extend, &record, Some(id.clone()), request, None, CancellationToken::new())
            .await;
        let changes = crate::effects::kept(id, inner.clock.now(), &run);
        let _ = inner.store.commit(changes).await;
        match run.outcome {
            Ok(HookAnswer::Extend(ends_at)) => {
                let event = Event::Edit { by: by.user.clone(), edit: Edit::Extend(ends_at) };
                // Given it is, whether or not it can be written down; the scheduler tells of it again.
                let _ = super::params::ask(&handle, event).await;
                Ok(ends_at)
            }
            Ok(_) => Err(Problem::new(ErrorCode::HookFailed, "the extend hook gave no time")),
            Err(error) => Err(from_hook(Hook::Extend, &error, Some(&run.trace.id))),
        }
    }
}
