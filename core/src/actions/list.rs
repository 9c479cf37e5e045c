//! list, show, wait, history.

use std::time::Duration;

use tokio::time::Instant;
use wharf_protocol::api::{HistoryEntry, Page};
use wharf_protocol::{ErrorCode, Phase, Problem, Session, SessionId, State, Time};

use super::{Target, from_store, unknown_session};
use crate::actor::{Actor, Standing, Verb};
use crate::inner::present_record;
use crate::launcher::{Launcher, ListFilter, WaitFor};
use crate::store::ListQuery;

fn encode(at: Time, id: &SessionId) -> String {
    wharf_protocol::signed::encode(format!("{}:{id}", at.millis()).as_bytes())
}

fn decode(cursor: &str) -> Option<(Time, SessionId)> {
    let text = String::from_utf8(wharf_protocol::signed::decode(cursor)?).ok()?;
    let (millis, id) = text.split_once(':')?;
    Some((Time::from_millis(millis.parse().ok()?), id.parse().ok()?))
}

impl Launcher {
    /// A page of sessions, newest first; stable while sessions change.
    ///
    /// # Errors
    /// `bad_cursor`; `invalid` for a limit outside 1–500.
    pub async fn list(&self, by: &Actor, filter: ListFilter) -> Result<Page<Session>, Problem> {
        if !(1..=500).contains(&filter.limit) {
            return Err(Problem::field("limit", "has to be between 1 and 500"));
        }
        let after = match &filter.cursor {
            Some(cursor) => Some(decode(cursor).ok_or_else(|| {
                Problem::new(ErrorCode::BadCursor, "the cursor is not one of this list")
                    .hint("take next_cursor of the page before, or begin without one")
            })?),
            None => None,
        };
        let now = self.inner.clock.now();
        let ids = match &by.standing {
            Standing::Owner | Standing::Reader => None,
            Standing::Guest { .. } => Some(self.shared_with(by).await?),
        };
        let mut query = ListQuery {
            states: filter.states,
            template: filter.template,
            owner: filter.owner,
            name: filter.name,
            tags: filter.tags,
            ids,
            after,
            // One more tells whether there is a next page.
            limit: filter.limit + 1,
        };
        query.states.sort_unstable();
        query.states.dedup();
        let mut records = self.inner.store.list(&query).await.map_err(|error| from_store(&error))?;
        let more = records.len() > filter.limit;
        records.truncate(filter.limit);
        let next_cursor = records.last().filter(|_| more).map(|record| encode(record.created_at, &record.id));
        let items = records
            .iter()
            .filter(|record| by.rights(record, now).is_some())
            .map(|record| match self.inner.sessions.get(&record.id) {
                Some(handle) if !record.is_ended() => self.inner.present(&handle.view.borrow()),
                Some(_) | None => present_record(record, &self.inner.node),
            })
            .collect();
        Ok(Page { items, next_cursor })
    }

    /// Ids of sessions that are shared with a guest, ended ones included.
    async fn shared_with(&self, by: &Actor) -> Result<Vec<SessionId>, Problem> {
        let now = self.inner.clock.now();
        let query = ListQuery {
            states: vec![State::Pending, State::Running, State::Ended],
            limit: usize::MAX >> 1,
            ..ListQuery::default()
        };
        let records = self.inner.store.list(&query).await.map_err(|error| from_store(&error))?;
        Ok(records
            .into_iter()
            .filter(|record| by.rights(record, now).is_some())
            .map(|record| record.id)
            .collect())
    }

    /// One session.
    ///
    /// # Errors
    /// `unknown_session`.
    pub async fn get(&self, by: &Actor, id: &SessionId) -> Result<Session, Problem> {
        let (target, _) = self.find(by, id, Verb::See).await?;
        Ok(self.show(&target))
    }

    /// The session at a state or beyond it, or as it is when the time is over.
    ///
    /// # Errors
    /// `unknown_session`, also when it is purged meanwhile.
    pub async fn wait(
        &self,
        by: &Actor,
        id: &SessionId,
        what: WaitFor,
        within: Duration,
    ) -> Result<Session, Problem> {
        let deadline = Instant::now() + within;
        let (target, _) = self.find(by, id, Verb::See).await?;
        let Target::Live(mut handle) = target else { return Ok(self.show(&target)) };
        // Who loses the right to see it meanwhile does not get to see it.
        let guard = self.inner.streams.enter(id, by, Verb::See, self.inner.clock.now());
        loop {
            let view = handle.view.borrow_and_update().clone();
            if view.gone {
                return Err(unknown_session());
            }
            let record = &view.record;
            let reached = match what {
                WaitFor::Submitted => {
                    record.state() != State::Pending || record.phase() == Some(Phase::Submitted)
                }
                WaitFor::Running => record.state() != State::Pending,
                WaitFor::Ended => record.is_ended(),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if reached || left.is_zero() {
                return self.get(by, id).await;
            }
            tokio::select! {
                changed = super::changed(&mut handle, left) => {
                    if !changed {
                        return self.get(by, id).await;
                    }
                }
                problem = guard.cut() => {
                    // Withdrawn: it is as if there were none; a token that is over says so.
                    self.find(by, id, Verb::See).await?;
                    return Err(problem);
                }
            }
        }
    }

    /// What happened to a session, oldest first.
    ///
    /// # Errors
    /// `unknown_session`.
    pub async fn history(&self, by: &Actor, id: &SessionId) -> Result<Vec<HistoryEntry>, Problem> {
        self.find(by, id, Verb::See).await?;
        self.inner.store.history(id).await.map_err(|error| from_store(&error))
    }
}
