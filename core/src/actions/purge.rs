//! purge: repairs the record, never touches the job.

use std::time::Duration;

use tokio::sync::oneshot;
use wharf_protocol::{ErrorCode, Problem, SessionId};

use super::{Target, from_store};
use crate::actor::{Actor, Verb};
use crate::changes::purge_changes;
use crate::driver::{Command, Purged};
use crate::last_words;
use crate::launcher::Launcher;
use crate::over;
use crate::record::Stage;
use crate::registry::{Handle, View};
use crate::state::{BACK_AFTER_BOOT, Edit};

/// How long a monitor may take to answer the probe.
const PROBE: Duration = Duration::from_secs(3);

impl Launcher {
    /// Forgets a session that cannot be reached; a pending one without asking anybody.
    ///
    /// # Errors
    /// `session_reachable` when it answers, and its record is written again; `cannot_tell` when that cannot be known yet.
    pub async fn purge(&self, by: &Actor, id: &SessionId) -> Result<(), Problem> {
        let inner = &self.inner;
        for _ in 0..8 {
            let (target, _) = self.find(by, id, Verb::Own).await?;
            match target {
                Target::Ended(record) => {
                    let changes = purge_changes(&record, inner.clock.now());
                    inner.store.commit(changes).await.map_err(|error| from_store(&error))?;
                    over::cut_down(inner, id).await;
                    inner.feed.publish(id, None);
                    self.forget_logs(id);
                    return Ok(());
                }
                Target::Live(handle) => match self.purge_live(by, &handle).await? {
                    Some(Purged::Done) => return Ok(()),
                    // Ended or linked anew meanwhile: look again.
                    Some(Purged::Changed | Purged::Ended) | None => tokio::task::yield_now().await,
                },
            }
        }
        Err(Problem::new(ErrorCode::CannotTell, "the session's monitor comes and goes").retry_after(5))
    }

    async fn purge_live(&self, by: &Actor, handle: &Handle) -> Result<Option<Purged>, Problem> {
        let view = handle.view.borrow().clone();
        let silent = match view.record.stage {
            Stage::Pending { .. } | Stage::Ended { .. } => None,
            Stage::Running { .. } => self.probe(by, handle, &view).await?,
        };
        let (reply, answer) = oneshot::channel();
        if handle.mail.send(Command::Purge { silent, reply }).is_err() {
            return Ok(None);
        }
        match answer.await {
            Ok(outcome) => outcome.map(Some).map_err(|error| from_store(&error)),
            Err(_) => Ok(None),
        }
    }

    /// Asks a running session whether it is there; the serial of the link that stayed silent.
    async fn probe(&self, by: &Actor, handle: &Handle, view: &View) -> Result<Option<u64>, Problem> {
        let Some(serial) = view.serial else {
            let uptime = self.inner.clock.now().since(self.inner.boot);
            if !view.linked_here && uptime < BACK_AFTER_BOOT {
                let left = BACK_AFTER_BOOT.saturating_sub(uptime).as_secs() + 1;
                return Err(Problem::new(
                    ErrorCode::CannotTell,
                    "the launcher started only now: the session's monitor may still be on its way back",
                )
                .hint(format!("try again in {left} s"))
                .retry_after(left));
            }
            return Ok(None);
        };
        let (reply, answer) = oneshot::channel();
        let asked = handle.mail.send(Command::Link(reply));
        let link = match (asked, answer.await) {
            (Ok(()), Ok(Some((current, link)))) if current == serial => link,
            // Lost or replaced while we looked.
            (Ok(()) | Err(_), _) => return Ok(Some(serial)),
        };
        if link.ping(PROBE).await {
            super::params::edit(handle, by, Edit::Refresh).await?;
            return Err(Problem::new(
                ErrorCode::SessionReachable,
                "the session is alive and answers: it was not purged",
            )
            .hint("to end it, terminate it"));
        }
        Ok(Some(serial))
    }

    fn forget_logs(&self, id: &SessionId) {
        let (inner, id) = (self.inner.clone(), id.clone());
        tokio::spawn(async move {
            last_words::kept(&inner, &id).await;
            let remove = move || {
                if let Err(error) = inner.data.remove_logs(&id).and_then(|()| inner.data.remove_words(&id)) {
                    tracing::warn!(%id, %error, "logs of a purged session cannot be removed");
                }
            };
            let _ = tokio::task::spawn_blocking(remove).await;
        });
    }
}
