//! Reading and changing a session's parameters.

use serde_json::Value;
use tokio::sync::oneshot;
use wharf_protocol::api::ParamsAnswer;
use wharf_protocol::{ErrorCode, Problem, SessionId};

use super::{Target, ended, from_store, unknown_session};
use crate::actor::{Actor, Verb};
use crate::admission;
use crate::driver::Command;
use crate::launcher::Launcher;
use crate::record::Record;
use crate::registry::Handle;
use crate::state::{Edit, Event};

impl Launcher {
    /// All parameters but secret ones.
    ///
    /// # Errors
    /// `unknown_session`.
    pub async fn params(&self, by: &Actor, id: &SessionId) -> Result<ParamsAnswer, Problem> {
        let (target, _) = self.find(by, id, Verb::See).await?;
        Ok(match &target {
            Target::Live(handle) => answer(&handle.view.borrow().record),
            Target::Ended(record) => answer(record),
        })
    }

    /// Applies a merge patch.
    ///
    /// # Errors
    /// `session_ended`, `rev_conflict`, `invalid` with every member at fault.
    pub async fn patch_params(
        &self,
        by: &Actor,
        id: &SessionId,
        patch: Value,
        if_match: Option<u64>,
    ) -> Result<ParamsAnswer, Problem> {
        // Two patches at once both apply: the later one is made on top of the earlier one.
        for _ in 0..16 {
            let (target, _) = self.find(by, id, Verb::Own).await?;
            let Target::Live(handle) = target else { return Err(ended()) };
            let record = handle.view.borrow().record.clone();
            if if_match.is_some_and(|expected| expected != record.params_rev) {
                return Err(Problem::new(
                    ErrorCode::RevConflict,
                    format!("the parameters are at revision {}, not at the one you named", record.params_rev),
                )
                .hint("read them again and repeat the change on what they are now"));
            }
            let template = self.inner.template(&record.template);
            let params = admission::patch(template.as_deref(), &record, &patch).map_err(Problem::fields)?;
            let edit = Edit::Params { was: record.params_rev, params: params.clone() };
            let changed = self::edit(&handle, by, edit).await?;
            if changed.params == params {
                return Ok(answer(&changed));
            }
        }
        Err(Problem::new(ErrorCode::Unavailable, "the parameters change too often right now").retry_after(1))
    }
}

/// Has a driver make a user's change.
pub(super) async fn ask(handle: &Handle, event: Event) -> Result<std::sync::Arc<Record>, Problem> {
    let (reply, answer) = oneshot::channel();
    handle.mail.send(Command::Ask(event, reply)).map_err(|_| unknown_session())?;
    let record = answer.await.map_err(|_| unknown_session())?.map_err(|error| from_store(&error))?;
    if record.is_ended() { Err(ended()) } else { Ok(record) }
}

/// Has a driver make a change.
pub(super) async fn edit(handle: &Handle, by: &Actor, edit: Edit) -> Result<std::sync::Arc<Record>, Problem> {
    ask(handle, Event::Edit { by: by.user.clone(), edit }).await
}

fn answer(record: &Record) -> ParamsAnswer {
    ParamsAnswer { params: record.open_params(), params_rev: record.params_rev }
}
