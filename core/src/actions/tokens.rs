//! API tokens: made, listed, revoked, and who comes with one. The page's sign-in is in [`super::sign_in`].

use wharf_protocol::api::{Scope, Token, TokenRequest};
use wharf_protocol::{ErrorCode, Problem, Time, TokenId};

use super::{forbidden, from_store};
use crate::actor::{Actor, Standing};
use crate::launcher::Launcher;
use crate::params::is_unprintable;
use crate::random;
use crate::store::{Change, TokenKey, TokenRecord};

fn shown(record: &TokenRecord, token: Option<String>) -> Token {
    Token {
        id: record.id.clone(),
        name: record.name.clone(),
        user: record.user.clone(),
        scope: record.scope,
        token,
        created_at: record.created_at,
        expires_at: record.expires_at,
    }
}

impl Launcher {
    /// The launcher's own user, as who comes through the Unix socket.
    pub fn owner_actor(&self) -> Actor {
        Actor { user: self.inner.owner.name.clone(), standing: Standing::Owner, token: None, until: None }
    }

    /// Who comes with that token.
    ///
    /// # Errors
    /// `unauthenticated`.
    pub async fn authenticate(&self, token: &str) -> Result<Actor, Problem> {
        Ok(self.actor_of(self.token_record(token).await?))
    }

    /// Who the bearer of that token is.
    pub(super) fn actor_of(&self, record: TokenRecord) -> Actor {
        let standing = match record.scope {
            Scope::Full => Standing::Owner,
            Scope::Read => Standing::Reader,
            Scope::Guest => {
                // Who came by a link is nobody of this host.
                let link = record.share.is_some();
                let groups = if link { Vec::new() } else { (self.inner.groups_of)(&record.user) };
                Standing::Guest { groups, share: record.share }
            }
        };
        Actor { user: record.user, standing, token: Some(record.id), until: record.expires_at }
    }

    /// What is known of that token.
    pub(super) async fn token_record(&self, token: &str) -> Result<TokenRecord, Problem> {
        let refused = || {
            Problem::new(ErrorCode::Unauthenticated, "the token is not valid, or no longer")
                .hint("make one with `wharf token create` on the launcher's host")
        };
        // Found by a hash that nobody can steer, how long the search takes tells nothing of the secret.
        let key = TokenKey::Hash(random::hash(token));
        let now = self.inner.clock.now();
        let found = self.inner.store.token(key).await.map_err(|error| from_store(&error))?;
        found.filter(|record| record.expires_at.is_none_or(|until| now < until)).ok_or_else(refused)
    }

    /// Makes a token; its secret is told once.
    ///
    /// # Errors
    /// `forbidden`, `invalid`.
    pub async fn create_token(&self, by: &Actor, request: TokenRequest) -> Result<Token, Problem> {
        if !by.is_owner() {
            return Err(forbidden());
        }
        let owner = self.inner.owner.name.clone();
        let user = match (request.scope, request.user) {
            (Scope::Guest, None) => {
                return Err(Problem::field("user", "is needed for a guest token: whom is it for?"));
            }
            (Scope::Guest, Some(user)) => user,
            (Scope::Full | Scope::Read, Some(user)) if user != owner => {
                return Err(Problem::field("user", format!("has to be {owner}, but for a guest token")));
            }
            (Scope::Full | Scope::Read, _) => owner,
        };
        let name = request.name.unwrap_or_else(|| "token".to_owned());
        for (field, text) in [("user", &user), ("name", &name)] {
            if text.is_empty() || text.chars().count() > 128 || is_unprintable(text) {
                return Err(Problem::field(field, "has to be 1 to 128 printable characters"));
            }
        }
        let now = self.inner.clock.now();
        if request.expires_in.is_some_and(|dur| dur.0.is_zero()) {
            return Err(Problem::field("expires_in", "has to be longer than nothing"));
        }
        let expires_at = request.expires_in.map(|dur| now.after(dur.0));
        self.add_token("wht", name, user, request.scope, expires_at).await
    }

    pub(super) async fn add_token(
        &self,
        prefix: &str,
        name: String,
        user: String,
        scope: Scope,
        expires_at: Option<Time>,
    ) -> Result<Token, Problem> {
        let secret = random::secret(prefix);
        let record = TokenRecord {
            id: TokenId::from_random(random::id()),
            name,
            user,
            scope,
            share: None,
            hash: random::hash(&secret),
            created_at: self.inner.clock.now(),
            expires_at,
        };
        let token = shown(&record, Some(secret));
        self.inner.store.commit(vec![Change::AddToken(record)]).await.map_err(|error| from_store(&error))?;
        Ok(token)
    }

    /// All tokens, without their secrets.
    ///
    /// # Errors
    /// `forbidden`.
    pub async fn tokens(&self, by: &Actor) -> Result<Vec<Token>, Problem> {
        if matches!(by.standing, Standing::Guest { .. }) {
            return Err(forbidden());
        }
        let tokens = self.inner.store.tokens().await.map_err(|error| from_store(&error))?;
        Ok(tokens.iter().map(|record| shown(record, None)).collect())
    }

    /// Revokes one; streams that it let in are cut.
    ///
    /// # Errors
    /// `unknown_token`.
    pub async fn revoke_token(&self, by: &Actor, id: &TokenId) -> Result<(), Problem> {
        if !by.is_owner() {
            return Err(forbidden());
        }
        if !self.tokens(by).await?.iter().any(|token| token.id == *id) {
            return Err(Problem::new(ErrorCode::UnknownToken, "there is no such token"));
        }
        self.drop_token(id).await
    }

    /// Forgets a token, and cuts what it has open.
    pub(super) async fn drop_token(&self, id: &TokenId) -> Result<(), Problem> {
        let changes = vec![Change::RevokeToken(id.clone())];
        self.inner.store.commit(changes).await.map_err(|error| from_store(&error))?;
        self.inner.streams.revoke(id);
        let _ = self.inner.revoked.send(id.clone());
        Ok(())
    }
}
