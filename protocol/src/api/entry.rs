//! Bodies about who asks: tokens, the page's sign-in, link shares, and what somebody may do with a session.

use serde::{Deserialize, Serialize};

use super::Role;
use crate::id::{SessionId, TokenId};
use crate::time::{Dur, Time};

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Acts as the owner.
    #[default]
    Full,
    /// Sees what the owner sees.
    Read,
    /// Acts as its user on what is shared with that user.
    Guest,
}

/// `POST /tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// A label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The user it acts as; the owner when absent. Needed for `guest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What it may do.
    #[serde(default)]
    pub scope: Scope,
    /// For how long; for ever when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Dur>,
}

/// An API token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Token {
    /// Its id, for revoking.
    pub id: TokenId,
    /// Its label.
    pub name: String,
    /// The user it acts as.
    pub user: String,
    /// What it may do.
    pub scope: Scope,
    /// The secret; in the answer that made it, and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// When it was made.
    pub created_at: Time,
    /// Until when it is good.
    pub expires_at: Option<Time>,
}

/// `POST /login`: with a secret or a token it signs the page in; with neither the owner gets a one-time address.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// The one-time secret of an address that `wharf login` gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// An API token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// A one-time address of the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LoginAddress {
    /// The address, with the secret in its fragment.
    pub url: String,
    /// Until when it is good.
    pub expires_at: Time,
}

/// Who is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SignedIn {
    /// The user's name.
    pub user: String,
    /// What the token allows.
    pub scope: Scope,
    /// The one session that a redeemed link share opens.
    pub session_id: Option<SessionId>,
    /// Until when.
    pub expires_at: Option<Time>,
    /// The launcher's release.
    pub version: String,
    /// What the page has to show beside its cookie, where applications share its origin: told at the sign-in alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_token: Option<String>,
}

/// What the caller may do with a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Access {
    /// May change, share, end and purge it.
    pub own: bool,
    /// May enter its terminal in that role; `control` opens its endpoints too.
    pub role: Option<Role>,
    /// May run commands in it.
    pub exec: bool,
    /// Whether it has a terminal to attach to.
    #[serde(default)]
    pub terminal: bool,
}

/// `POST /redeem`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RedeemRequest {
    /// The one-time or link-share secret.
    pub secret: String,
}

/// A redeemed link share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Redeemed {
    /// A guest token.
    pub token: String,
    /// The session it opens.
    pub session_id: SessionId,
    /// View or control.
    pub role: Role,
    /// Until when.
    pub expires_at: Option<Time>,
    /// As [`SignedIn::page_token`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_token: Option<String>,
}
