//! The launcher's public actions, one family a file: each checks the right first, then the state, then asks the
//! session's driver, and answers with what the API shows.

mod administration;
mod enter;
mod following;
mod list;
mod logs;
mod monitors;
mod params;
mod passes;
mod purge;
mod shares;
mod sign_in;
mod start;
mod terminate;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use wharf_protocol::{ErrorCode, Problem, Session, SessionId};

use crate::actor::{Actor, Rights, Standing, Verb};
use crate::hook::{Hook, HookError, HookErrorKind};
use crate::inner::{Inner, present_record};
use crate::launcher::Launcher;
use crate::record::Record;
use crate::registry::Handle;
use crate::store::StoreError;
use crate::streams::Change;
use crate::telling::Word;

pub use following::HookLog;
pub(crate) use logs::{keep_hook_logs, keep_logs};
pub use passes::Passed;
pub(crate) use passes::Ticket;

/// A session that was found: live with its driver, or ended.
#[derive(Debug)]
pub(crate) enum Target {
    Live(Handle),
    Ended(Box<Record>),
}

pub(crate) fn unknown_session() -> Problem {
    Problem::new(ErrorCode::UnknownSession, "there is no such session")
        .hint("see `wharf list --all` for those there are; a purged one is forgotten")
}

pub(crate) fn forbidden() -> Problem {
    Problem::new(ErrorCode::Forbidden, "your token or share does not allow that")
}

pub(crate) fn ended() -> Problem {
    Problem::new(ErrorCode::SessionEnded, "the session has ended").hint("start a new one")
}

pub(crate) fn terminating() -> Problem {
    Problem::new(ErrorCode::SessionTerminating, "the session is being terminated")
}

/// What the datastore's refusals mean to a client.
pub(crate) fn from_store(error: &StoreError) -> Problem {
    match error {
        StoreError::Full(detail) => Problem::new(
            ErrorCode::StorageFull,
            format!("the datastore takes no more: {detail}"),
        )
        .hint("make room on the disk of the data directory; nothing was changed, and nothing needs a restart")
        .retry_after(5),
        StoreError::Conflict
        | StoreError::KeyTaken(_)
        | StoreError::Failed(_)
        | StoreError::Corrupt { .. }
        | StoreError::TooNew { .. } => {
            tracing::error!(%error, "the datastore failed");
            Problem::new(ErrorCode::Unavailable, "the datastore did not take the change").retry_after(2)
        }
    }
}

/// What a hook's failure means to a client.
pub(crate) fn from_hook(hook: Hook, error: &HookError, trace: Option<&str>) -> Problem {
    let words = crate::effects::public_words(error);
    let (code, status) = match error.kind {
        HookErrorKind::Timeout => (ErrorCode::HookTimeout, 504),
        HookErrorKind::Denied => (ErrorCode::HookFailed, 403),
        HookErrorKind::Unavailable | HookErrorKind::RateLimited => (ErrorCode::HookFailed, 503),
        HookErrorKind::Invalid
        | HookErrorKind::NotFound
        | HookErrorKind::Unsupported
        | HookErrorKind::Misconfigured
        | HookErrorKind::Memory
        | HookErrorKind::CommandFailed
        | HookErrorKind::Internal => (ErrorCode::HookFailed, 502),
    };
    let mut problem =
        Problem::new(code, format!("the template's {} hook: {words}", hook.as_str())).status(status);
    problem.kind = Some(error.kind.as_str().to_owned());
    // Of the others the code's own hint holds: the administrator has to look.
    let hint = match error.kind {
        HookErrorKind::Invalid
        | HookErrorKind::Denied
        | HookErrorKind::NotFound
        | HookErrorKind::Unsupported => Some("the same again will be refused until what it says has changed"),
        HookErrorKind::Unavailable | HookErrorKind::RateLimited => Some("try again in a moment"),
        HookErrorKind::Timeout
        | HookErrorKind::Misconfigured
        | HookErrorKind::Memory
        | HookErrorKind::CommandFailed
        | HookErrorKind::Internal => None,
    };
    problem.hint = error.hint.clone().or_else(|| hint.map(str::to_owned));
    problem.retry_after = error.retry_after.map(|after| after.as_secs().max(1));
    problem.trace_id = trace.map(str::to_owned);
    problem
}

impl Launcher {
    /// Finds a session and checks that this actor may do that with it.
    pub(crate) async fn find(
        &self,
        by: &Actor,
        id: &SessionId,
        verb: Verb,
    ) -> Result<(Target, Rights), Problem> {
        let inner = &self.inner;
        let (target, record) = match inner.sessions.get(id) {
            Some(handle) => {
                let view = handle.view.borrow().clone();
                if view.record.is_ended() {
                    (Target::Ended(Box::new((*view.record).clone())), view.record)
                } else {
                    (Target::Live(handle), view.record)
                }
            }
            None => {
                let record = inner.store.get(id).await.map_err(|error| from_store(&error))?;
                let record = record.ok_or_else(unknown_session)?;
                (Target::Ended(Box::new(record.clone())), Arc::new(record))
            }
        };
        let rights = by.rights(&record, inner.clock.now()).ok_or_else(unknown_session)?;
        if !rights.allow(verb) {
            return Err(forbidden());
        }
        Ok((target, rights))
    }

    /// Finds a session for whoever sees all that its owner sees: also who else is let in.
    pub(crate) async fn find_all_of(&self, by: &Actor, id: &SessionId) -> Result<Target, Problem> {
        let (target, rights) = self.find(by, id, Verb::See).await?;
        if rights.own || by.standing == Standing::Reader { Ok(target) } else { Err(forbidden()) }
    }

    pub(crate) fn show(&self, target: &Target) -> Session {
        match target {
            Target::Live(handle) => self.inner.present(&handle.view.borrow()),
            Target::Ended(record) => present_record(record, &self.inner.node),
        }
    }
}

/// A counted stream came or went: the session is published again, and its template told.
pub(crate) fn stream_changed(inner: &Arc<Inner>, id: &SessionId, change: Change, user: &str) {
    let Some(handle) = inner.sessions.get(id) else { return };
    let _ = handle.mail.send(crate::driver::Command::Touch);
    let hook = match change {
        Change::Entered => Hook::OnConnect,
        Change::Left => Hook::OnDisconnect,
    };
    let record = Arc::clone(&handle.view.borrow().record);
    if !inner.template(&record.template).is_some_and(|template| template.hooks.contains(&hook)) {
        return;
    }
    let (inner, user) = (Arc::clone(inner), user.to_owned());
    tokio::spawn(async move {
        let event = serde_json::json!({ "user": user });
        let number = u64::from_le_bytes(crate::random::bytes::<8>());
        let word = Word::new(&record.id, hook, Some(event), number);
        // What cannot be written down is told all the same.
        let _ = inner.store.commit(vec![word.noted()]).await;
        crate::telling::tell(&inner, &record, word).await;
    });
}

/// Waits for a change of a session's view; `false` when there will be none.
pub(crate) async fn changed(handle: &mut Handle, within: Duration) -> bool {
    tokio::time::timeout(within, handle.view.changed()).await.is_ok_and(|changed| changed.is_ok())
}
