//! Sharing: who else may see or enter a session.

use wharf_protocol::api::{Redeemed, Scope, Share, ShareRequest};
use wharf_protocol::monitor::SnapshotShare;
use wharf_protocol::{ErrorCode, Problem, SessionId, ShareId, TokenId};

use super::{Target, ended, from_store, terminating};
use crate::actor::{Actor, Verb};
use crate::launcher::Launcher;
use crate::params::is_unprintable;
use crate::random;
use crate::state::Edit;
use crate::store::{Change, TokenRecord};

/// Most tokens that one link has made and that are good: whoever has it could fill the datastore, and every request looks
/// through all tokens.
const MOST_GUESTS: usize = 1000;

fn shown(share: &SnapshotShare) -> Share {
    Share {
        id: share.id.clone(),
        grantee: share.grantee.clone(),
        role: share.role,
        exec: share.exec,
        expires_at: share.expires_at,
        url: None,
    }
}

fn check_grantee(grantee: &str) -> Result<(), Problem> {
    let name = grantee.strip_prefix("user:").or_else(|| grantee.strip_prefix("group:"));
    let good = grantee == "link"
        || name.is_some_and(|name| !name.is_empty() && name.len() <= 256 && !is_unprintable(name));
    if good { Ok(()) } else { Err(Problem::field("grantee", "has to be user:NAME, group:NAME or link")) }
}

impl Launcher {
    /// The shares of a session.
    ///
    /// # Errors
    /// `forbidden` for all but the owner and read tokens.
    pub async fn shares(&self, by: &Actor, id: &SessionId) -> Result<Vec<Share>, Problem> {
        let target = self.find_all_of(by, id).await?;
        let now = self.inner.clock.now();
        let alive = |share: &&SnapshotShare| share.expires_at.is_none_or(|until| now < until);
        Ok(match target {
            Target::Live(handle) => {
                handle.view.borrow().record.shares.iter().filter(alive).map(shown).collect()
            }
            Target::Ended(record) => record.shares.iter().filter(alive).map(shown).collect(),
        })
    }

    /// Shares a session. Of a link the address is told once.
    ///
    /// # Errors
    /// `session_ended`, `session_terminating`, `invalid`.
    pub async fn share(
        &self,
        by: &Actor,
        id: &SessionId,
        request: ShareRequest,
        base_url: &str,
    ) -> Result<Share, Problem> {
        let (target, _) = self.find(by, id, Verb::Own).await?;
        let Target::Live(handle) = target else { return Err(ended()) };
        if handle.view.borrow().record.wish.is_some() {
            return Err(terminating());
        }
        check_grantee(&request.grantee)?;
        let now = self.inner.clock.now();
        if request.expires_at.is_some() && request.expires_in.is_some() {
            return Err(Problem::field("expires_in", "give either expires_in or expires_at"));
        }
        if request.expires_in.is_some_and(|dur| dur.0.is_zero()) {
            return Err(Problem::field("expires_in", "has to be longer than nothing"));
        }
        let expires_at = request.expires_at.or_else(|| request.expires_in.map(|dur| now.after(dur.0)));
        if expires_at.is_some_and(|at| at <= now) {
            return Err(Problem::field("expires_at", "is over already"));
        }
        if handle.view.borrow().record.shares.len() >= 256 {
            return Err(Problem::field("grantee", "a session has at most 256 shares"));
        }
        let secret = (request.grantee == "link").then(|| random::secret("whs"));
        let share = SnapshotShare {
            id: ShareId::from_random(random::id()),
            grantee: request.grantee,
            role: request.role,
            exec: request.exec,
            expires_at,
            secret_hash: secret
                .as_deref()
                .map(|secret| wharf_protocol::signed::encode(&random::hash(secret))),
        };
        super::params::edit(&handle, by, Edit::Share(share.clone())).await?;
        let url = secret.map(|secret| format!("{}/#/join/{secret}", base_url.trim_end_matches('/')));
        Ok(Share { url, ..shown(&share) })
    }

    /// Withdraws a share; streams that it let in are cut.
    ///
    /// # Errors
    /// `unknown_share`.
    pub async fn unshare(&self, by: &Actor, id: &SessionId, share: &ShareId) -> Result<(), Problem> {
        let (target, _) = self.find(by, id, Verb::Own).await?;
        let Target::Live(handle) = target else { return Ok(()) };
        if !handle.view.borrow().record.shares.iter().any(|known| known.id == *share) {
            return Err(Problem::new(ErrorCode::UnknownShare, "there is no such share"));
        }
        match super::params::edit(&handle, by, Edit::Unshare(share.clone())).await {
            Err(problem) if problem.code == ErrorCode::SessionEnded => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Turns a link share's secret into a guest token for that one session.
    ///
    /// # Errors
    /// `not_found` for a secret that is wrong, withdrawn or over.
    pub async fn redeem(&self, secret: &str) -> Result<Redeemed, Problem> {
        let unknown = || Problem::new(ErrorCode::NotFound, "this link is not valid, or no longer");
        let hash = wharf_protocol::signed::encode(&random::hash(secret));
        let now = self.inner.clock.now();
        let found: Vec<_> = self.inner.sessions.each(|(id, handle)| {
            let view = handle.view.borrow();
            let share = view.record.shares.iter().find(|share| {
                share.secret_hash.as_deref() == Some(hash.as_str())
                    && share.expires_at.is_none_or(|until| now < until)
            })?;
            Some((id.clone(), share.clone()))
        });
        let (session_id, share) = found.into_iter().next().ok_or_else(unknown)?;
        let tokens = self.inner.store.tokens().await.map_err(|error| from_store(&error))?;
        let mine = |by: &(SessionId, ShareId)| by.0 == session_id && by.1 == share.id;
        if tokens.iter().filter(|token| token.share.as_ref().is_some_and(mine)).count() >= MOST_GUESTS {
            let detail = "this link was opened too often";
            return Err(
                Problem::new(ErrorCode::RateLimited, detail).hint("the session's owner can make another one")
            );
        }
        let token = random::secret("whg");
        let record = TokenRecord {
            id: TokenId::from_random(random::id()),
            name: "link share".to_owned(),
            user: format!("guest-{}", &share.id.as_str()[..6]),
            scope: Scope::Guest,
            share: Some((session_id.clone(), share.id.clone())),
            hash: random::hash(&token),
            created_at: now,
            expires_at: share
                .expires_at
                .or_else(|| Some(now.after(std::time::Duration::from_secs(30 * 24 * 3600)))),
        };
        let expires_at = record.expires_at;
        self.inner.store.commit(vec![Change::AddToken(record)]).await.map_err(|error| from_store(&error))?;
        Ok(Redeemed { token, session_id, role: share.role, expires_at, page_token: None })
    }
}
