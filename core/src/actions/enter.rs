//! Entering a session: connect, attach, tunnel, exec; who is in, and dropping them.

use wharf_protocol::api::{Access, OpenStream, Role};
use wharf_protocol::{ErrorCode, Problem, SessionId};

use super::{Target, ended, forbidden, terminating};
use crate::actor::{Actor, Verb};
use crate::launcher::{Entry, Launcher};
use crate::record::{LinkState, Stage};

impl Launcher {
    /// Lets an actor in, if right and state allow it.
    ///
    /// # Errors
    /// `session_pending`, `session_ended`, `session_terminating`, `unreachable`, `no_terminal`, `forbidden`.
    pub async fn enter(&self, by: &Actor, id: &SessionId, verb: Verb) -> Result<Entry, Problem> {
        let (target, rights) = self.find(by, id, verb).await?;
        let Target::Live(handle) = target else { return Err(ended()) };
        let view = handle.view.borrow().clone();
        if verb != Verb::See {
            if view.record.wish.is_some() {
                return Err(terminating());
            }
            match (&view.record.stage, view.link) {
                (Stage::Pending { .. }, _) => {
                    return Err(Problem::new(ErrorCode::SessionPending, "the session has not started yet")
                        .hint(format!("wait for it: wharf wait {id} --for running")));
                }
                (Stage::Ended { .. }, _) => return Err(ended()),
                (Stage::Running { .. }, LinkState::Connected) => {}
                (Stage::Running { .. }, LinkState::Lost { .. } | LinkState::None) => {
                    return Err(unreachable());
                }
            }
        }
        let granted = rights.enter.unwrap_or(Role::View);
        let (verb, role) = match verb {
            Verb::Attach(asked) => {
                if !view.record.tty {
                    return Err(Problem::new(ErrorCode::NoTerminal, "the session has no terminal")
                        .hint("start it with --tty, or see what it prints with `wharf logs -f`"));
                }
                (Verb::Attach(asked.min(granted)), asked.min(granted))
            }
            Verb::See | Verb::Connect | Verb::Tunnel | Verb::Application | Verb::Exec | Verb::Own => {
                (verb, granted)
            }
        };
        let guard = self.inner.streams.enter(id, by, verb, self.inner.clock.now());
        // A share that was withdrawn just before its streams were cut did not find this one.
        let (_, rights) = self.find(by, id, verb).await?;
        if matches!(verb, Verb::Attach(_)) && rights.enter < Some(role) {
            return Err(forbidden());
        }
        Ok(Entry::new(self.inner.present(&view), by.user.clone(), role, view.record.tty, guard))
    }

    /// What this actor may do with that session.
    ///
    /// # Errors
    /// `unknown_session`.
    pub async fn access(&self, by: &Actor, id: &SessionId) -> Result<Access, Problem> {
        let (target, rights) = self.find(by, id, Verb::See).await?;
        let terminal = matches!(target, Target::Live(handle) if handle.view.borrow().record.tty);
        Ok(Access { own: rights.own, role: rights.enter, exec: rights.exec, terminal })
    }

    /// Who is in: the streams that `connections` counts.
    ///
    /// # Errors
    /// `forbidden`.
    pub async fn open_streams(&self, by: &Actor, id: &SessionId) -> Result<Vec<OpenStream>, Problem> {
        self.find_all_of(by, id).await?;
        Ok(self.inner.streams.list(id))
    }

    /// Drops all users, or one; the session goes on. The number of streams cut.
    ///
    /// # Errors
    /// `forbidden`.
    pub async fn disconnect(&self, by: &Actor, id: &SessionId, user: Option<&str>) -> Result<u32, Problem> {
        let (target, _) = self.find(by, id, Verb::Own).await?;
        Ok(match target {
            Target::Live(_) => self.inner.streams.disconnect(id, user),
            Target::Ended(_) => 0,
        })
    }
}

pub(crate) fn unreachable() -> Problem {
    Problem::new(ErrorCode::Unreachable, "the session's monitor cannot be reached now")
        .hint("it may come back by itself; `wharf show` tells its link")
        .retry_after(5)
}
