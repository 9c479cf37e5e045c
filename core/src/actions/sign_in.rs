//! The page's sign-in: by a one-time secret, by a token, and out again.
//!
//! ```text
//! wharf login ─ create_login ─▶ secret in the address ─ login ─▶ a token of the page's own, in its cookie
//! a token ─ signed_in ─▶ the same token in the cookie
//! ```
//!
//! Knows nothing of cookies: that is the server's. Tokens themselves are in [`super::tokens`].

use std::sync::PoisonError;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use wharf_protocol::api::{Scope, SignedIn, Token};
use wharf_protocol::signed::Purpose;
use wharf_protocol::{ErrorCode, Problem, Time, TokenId};

use super::forbidden;
use crate::actor::{Actor, Standing};
use crate::inner::Login;
use crate::launcher::Launcher;
use crate::random;

/// How long a sign-in secret is good.
const LOGIN: Duration = Duration::from_secs(60);
/// How long a signed-in page stays so.
const PAGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Most sign-in secrets that are good at the same time.
const MOST: usize = 100;
/// How a token begins that only a page holds: one made by a sign-in, and one made from a link share.
const OWN: [&str; 2] = ["whp", "whg"];

/// What a page token says.
#[derive(Debug, Serialize, Deserialize)]
struct PageToken {
    /// The token in the cookie.
    token: TokenId,
}

impl Launcher {
    /// A one-time secret for the page's sign-in, and until when it is good.
    ///
    /// # Errors
    /// `forbidden`, `rate_limited`.
    pub fn create_login(&self, by: &Actor) -> Result<(String, Time), Problem> {
        if !by.is_owner() {
            return Err(forbidden());
        }
        let secret = random::secret("whl");
        let now = self.inner.clock.now();
        let until = now.after(LOGIN);
        let mut logins = self.inner.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.retain(|login| now < login.until);
        if logins.len() >= MOST {
            let detail = "there are too many sign-in addresses that nobody has used";
            return Err(Problem::new(ErrorCode::RateLimited, detail).retry_after(LOGIN.as_secs()));
        }
        logins.push(Login { hash: random::hash(&secret), until });
        Ok((secret, until))
    }

    /// Spends a one-time secret for a token of the page's own.
    ///
    /// # Errors
    /// `not_found` for a secret that is wrong, spent or over.
    pub async fn login(&self, secret: &str) -> Result<Token, Problem> {
        let now = self.inner.clock.now();
        let hash = random::hash(secret);
        let good = {
            let mut logins = self.inner.logins.lock().unwrap_or_else(PoisonError::into_inner);
            logins.retain(|login| now < login.until);
            let found = logins.iter().position(|login| bool::from(login.hash.ct_eq(&hash)));
            found.map(|at| logins.swap_remove(at)).is_some()
        };
        if !good {
            let problem = Problem::new(ErrorCode::NotFound, "this sign-in is not valid, or no longer");
            return Err(
                problem.hint("each address works once, for a minute: make another with `wharf login`")
            );
        }
        let owner = self.inner.owner.name.clone();
        self.add_token(OWN[0], "page".to_owned(), owner, Scope::Full, Some(now.after(PAGE))).await
    }

    /// Who is signed in by that token.
    ///
    /// # Errors
    /// `unauthenticated`.
    pub async fn signed_in(&self, token: &str) -> Result<SignedIn, Problem> {
        let record = self.token_record(token).await?;
        Ok(SignedIn {
            user: record.user,
            scope: record.scope,
            session_id: record.share.map(|(session, _)| session),
            expires_at: record.expires_at,
            version: self.inner.version.clone(),
            page_token: None,
        })
    }

    /// Who asks, when no token was shown.
    pub fn signed_in_as(&self, actor: &Actor) -> SignedIn {
        let scope = match &actor.standing {
            Standing::Owner => Scope::Full,
            Standing::Reader => Scope::Read,
            Standing::Guest { .. } => Scope::Guest,
        };
        SignedIn {
            user: actor.user.clone(),
            scope,
            session_id: None,
            expires_at: None,
            version: self.inner.version.clone(),
            page_token: None,
        }
    }

    /// What the page shows beside its cookie where applications share its origin: whoever makes a browser send the
    /// cookie does not have it.
    ///
    /// # Errors
    /// `unauthenticated`.
    pub async fn page_token(&self, token: &str) -> Result<String, Problem> {
        let record = self.token_record(token).await?;
        Ok(self.inner.keys().sign(Purpose::Page, &PageToken { token: record.id }))
    }

    /// Whether that was given to the page together with this actor's cookie.
    pub fn is_page_token(&self, shown: &str, by: &Actor) -> bool {
        let given: Option<PageToken> = self.inner.keys().verify(Purpose::Page, shown);
        given.is_some_and(|given| by.token.as_ref() == Some(&given.token))
    }

    /// Ends a sign-in. A token that only the page holds is revoked; any other one stays good elsewhere.
    ///
    /// # Errors
    /// The datastore's.
    pub async fn sign_out(&self, token: &str) -> Result<(), Problem> {
        let own = token.split_once('_').is_some_and(|(prefix, _)| OWN.contains(&prefix));
        match self.token_record(token).await {
            Ok(record) if own => self.drop_token(&record.id).await,
            Ok(_) => Ok(()),
            Err(problem) if problem.code == ErrorCode::Unauthenticated => Ok(()),
            Err(problem) => Err(problem),
        }
    }
}
