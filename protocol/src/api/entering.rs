//! Bodies about being in a session: how to enter it, who is in, and dropping them.

use serde::{Deserialize, Serialize};

use super::Role;
use crate::time::Time;

/// `POST /sessions/{id}/connect`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ConnectRequest {
    /// Only this endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// At most this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// How to enter a session, as its monitor answered just now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Connection {
    /// The ways in.
    pub endpoints: Vec<Endpoint>,
    /// Until when what stands here is good.
    pub expires_at: Option<Time>,
}

/// One way into a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Endpoint {
    /// Its name; `terminal` is the session's own terminal.
    pub name: String,
    /// What is spoken on it.
    pub kind: EndpointKind,
    /// Where a client enters it, on the launcher.
    pub url: String,
}

/// What is spoken on an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EndpointKind {
    /// A web application.
    Http,
    /// A byte stream.
    Tcp,
    /// A remote desktop.
    Vnc,
    /// A terminal.
    Tty,
}

/// Somebody who is in a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OpenStream {
    /// The user's name.
    pub user: String,
    /// In what way.
    pub kind: StreamKind,
    /// The endpoint; none for the session's own terminal.
    pub endpoint: Option<String>,
    /// What they may do.
    pub role: Role,
    /// Since when.
    pub since: Time,
}

/// In what way somebody is in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StreamKind {
    /// At its terminal.
    Terminal,
    /// By a tunnel to an endpoint.
    Tunnel,
    /// In a web application.
    Application,
}

/// `POST /sessions/{id}/disconnect`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DisconnectRequest {
    /// Only this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// How many streams were cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Disconnected {
    /// Streams cut.
    pub disconnected: u32,
}
