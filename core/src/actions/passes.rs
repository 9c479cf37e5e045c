//! How a browser comes to use one web application of a session: a ticket, good once and for a minute, becomes a pass
//! that the browser keeps.
//!
//! ```text
//! connect ─▶ ticket (in memory) ─ opened in a browser ─▶ pass (signed, kept as a cookie of that application's origin)
//! ```
//!
//! A pass says who asks, never what that one may do: rights, tokens and shares are looked at anew with each request, so
//! a pass outlives the launcher's restart and no revocation.

use std::sync::PoisonError;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use wharf_protocol::signed::Purpose;
use wharf_protocol::{ErrorCode, Problem, SessionId, Time, TokenId};

use super::from_store;
use crate::actor::Actor;
use crate::launcher::Launcher;
use crate::random;
use crate::store::TokenKey;

/// How long a ticket is good.
const TICKET: Duration = Duration::from_secs(60);
/// How long somebody may think about opening an application.
const THOUGHT: Duration = Duration::from_secs(600);
/// How long a pass is good.
const PASS: Duration = Duration::from_secs(24 * 3600);
/// A pass with less time left than this is renewed when it is used.
const RENEW: Duration = Duration::from_secs(12 * 3600);
/// Tickets that may wait to be used; the oldest go first.
const MOST: usize = 10_000;

/// A ticket that nobody has used yet.
#[derive(Debug)]
pub(crate) struct Ticket {
    hash: [u8; 32],
    session: SessionId,
    endpoint: String,
    actor: Actor,
    until: Time,
}

/// What a pass says.
#[derive(Debug, Serialize, Deserialize)]
struct Pass {
    session: SessionId,
    endpoint: String,
    /// The token that it was given for; none: the owner, by the Unix socket.
    token: Option<TokenId>,
    until: Time,
}

/// Who comes with a pass.
#[derive(Debug)]
pub struct Passed {
    /// Who it is.
    pub actor: Actor,
    /// The pass is good for less than half of its time: give a new one.
    pub renew: bool,
}

fn unauthenticated(detail: &str) -> Problem {
    Problem::new(ErrorCode::Unauthenticated, detail)
        .hint("open the application anew, from the page or with `wharf connect ID --open`")
}

impl Launcher {
    /// A ticket to one application for whoever opens it in a browser, and until when it is good.
    pub fn ticket(&self, by: &Actor, session: &SessionId, endpoint: &str) -> (String, Time) {
        self.add_ticket(by, session, endpoint, TICKET)
    }

    fn add_ticket(&self, by: &Actor, session: &SessionId, endpoint: &str, life: Duration) -> (String, Time) {
        let secret = random::secret("wha");
        let now = self.inner.clock.now();
        let until = now.after(life);
        let mut tickets = self.inner.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.retain(|ticket| now < ticket.until);
        if tickets.len() >= MOST {
            tickets.remove(0);
        }
        tickets.push(Ticket {
            hash: random::hash(&secret),
            session: session.clone(),
            endpoint: endpoint.to_owned(),
            actor: by.clone(),
            until,
        });
        (secret, until)
    }

    /// Spends a ticket for a pass.
    ///
    /// # Errors
    /// `unauthenticated` for one that is spent, over, or of another application.
    pub fn spend_ticket(&self, secret: &str, session: &SessionId, endpoint: &str) -> Result<String, Problem> {
        let actor = self.take_ticket(secret, session, endpoint)?;
        Ok(self.pass(&actor, session, endpoint))
    }

    /// Spends a ticket for another one, which lasts until somebody has read what they are asked to confirm.
    ///
    /// # Errors
    /// As [`Self::spend_ticket`].
    pub fn renew_ticket(&self, secret: &str, session: &SessionId, endpoint: &str) -> Result<String, Problem> {
        let actor = self.take_ticket(secret, session, endpoint)?;
        Ok(self.add_ticket(&actor, session, endpoint, THOUGHT).0)
    }

    fn take_ticket(&self, secret: &str, session: &SessionId, endpoint: &str) -> Result<Actor, Problem> {
        let hash = random::hash(secret);
        let now = self.inner.clock.now();
        let spent = {
            let mut tickets = self.inner.tickets.lock().unwrap_or_else(PoisonError::into_inner);
            let found = tickets.iter().position(|ticket| bool::from(ticket.hash.ct_eq(&hash)));
            found.map(|at| tickets.remove(at))
        };
        spent
            .filter(|ticket| now < ticket.until && ticket.session == *session && ticket.endpoint == endpoint)
            .map(|ticket| ticket.actor)
            .ok_or_else(|| unauthenticated("this address was used already, or is older than a minute"))
    }

    /// A pass to one application.
    pub fn pass(&self, by: &Actor, session: &SessionId, endpoint: &str) -> String {
        let pass = Pass {
            session: session.clone(),
            endpoint: endpoint.to_owned(),
            token: by.token.clone(),
            until: self.inner.clock.now().after(PASS),
        };
        self.inner.keys().sign(Purpose::Pass, &pass)
    }

    /// Who comes with that pass.
    ///
    /// # Errors
    /// `unauthenticated` when it is none, or of another application, or its token is no longer there.
    pub async fn admit_pass(
        &self,
        text: &str,
        session: &SessionId,
        endpoint: &str,
    ) -> Result<Passed, Problem> {
        let now = self.inner.clock.now();
        let pass: Pass = self
            .inner
            .keys()
            .verify(Purpose::Pass, text)
            .filter(|pass: &Pass| now < pass.until && pass.session == *session && pass.endpoint == endpoint)
            .ok_or_else(|| unauthenticated("this browser's pass to the application is over"))?;
        let renew = pass.until.since(now) < RENEW;
        let Some(token) = pass.token else {
            return Ok(Passed { actor: self.owner_actor(), renew });
        };
        let found = self.inner.store.token(TokenKey::Id(token)).await.map_err(|error| from_store(&error))?;
        let record = found
            .filter(|record| record.expires_at.is_none_or(|until| now < until))
            .ok_or_else(|| unauthenticated("the token that this application was opened with is revoked"))?;
        Ok(Passed { actor: self.actor_of(record), renew })
    }
}
