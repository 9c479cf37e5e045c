//! Who asks, and what they may do: the whole of authorisation is [`Actor::rights`].
//!
//! | verb | owner | read token | shared: view | shared: control |
//! |---|---|---|---|---|
//! | see it, its logs, history, parameters (not secret ones) | yes | yes | yes | yes |
//! | see its shares, and who is in it | yes | yes | no | no |
//! | enter the terminal | yes | no | read-only | yes |
//! | connect, applications, tunnels | yes | no | no | yes |
//! | exec | yes | no | with `exec` | with `exec` |
//! | anything else | yes | no | no | no |
//!
//! Who may not see a session is told that there is none.

use wharf_protocol::api::Role;
use wharf_protocol::{SessionId, ShareId, Time, TokenId};

use crate::record::Record;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The user's name.
    pub user: String,
    /// In what capacity.
    pub standing: Standing,
    /// The API token that was shown, if one was.
    pub token: Option<TokenId>,
    /// Until when that is good, where it ends by itself.
    pub until: Option<Time>,
}

/// In what capacity somebody asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The launcher's own user, or a `full` token: owner and administrator.
    Owner,
    /// A `read` token: sees all that its owner sees.
    Reader,
    /// A `guest` token: only what is shared with its user.
    Guest {
        /// The user's groups.
        groups: Vec<String>,
        /// A redeemed link share opens just this session by this share.
        share: Option<(SessionId, ShareId)>,
    },
}

/// What somebody wants to do with one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// See it, its logs, its history, its parameters.
    See,
    /// Ask how to enter it.
    Connect,
    /// Enter its terminal, at most in that role.
    Attach(Role),
    /// Use an endpoint.
    Tunnel,
    /// Ask a web application of it something.
    Application,
    /// Run a program in it.
    Exec,
    /// Change it, share it, end it, purge it.
    Own,
}

/// What somebody may do with one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// May change, share, end it.
    pub own: bool,
    /// May enter its terminal, in that role.
    pub enter: Option<Role>,
    /// May run programs in it.
    pub exec: bool,
}

impl Actor {
    /// Whether this is the launcher's owner and administrator.
    pub fn is_owner(&self) -> bool {
        self.standing == Standing::Owner
    }

    /// What this actor may do with that session; `None`: not even know of it.
    pub fn rights(&self, record: &Record, now: Time) -> Option<Rights> {
        match &self.standing {
            Standing::Owner => Some(Rights { own: true, enter: Some(Role::Control), exec: true }),
            Standing::Reader => Some(Rights { own: false, enter: None, exec: false }),
            Standing::Guest { groups, share } => {
                let granted = record.shares.iter().filter(|candidate| {
                    let alive = candidate.expires_at.is_none_or(|until| now < until);
                    let mine = match share {
                        Some((session, id)) => *session == record.id && *id == candidate.id,
                        None => {
                            candidate.grantee.strip_prefix("user:").is_some_and(|user| user == self.user)
                                || candidate
                                    .grantee
                                    .strip_prefix("group:")
                                    .is_some_and(|group| groups.iter().any(|mine| mine == group))
                        }
                    };
                    alive && mine
                });
                granted.fold(None, |rights: Option<Rights>, share| {
                    Some(Rights {
                        own: false,
                        enter: rights.and_then(|rights| rights.enter).max(Some(share.role)),
                        exec: rights.is_some_and(|rights| rights.exec) || share.exec,
                    })
                })
            }
        }
    }
}

impl Rights {
    /// Whether that verb is among them.
    pub fn allow(&self, verb: Verb) -> bool {
        match verb {
            Verb::See => true,
            Verb::Connect | Verb::Tunnel | Verb::Application => self.own || self.enter == Some(Role::Control),
            Verb::Attach(_) => self.enter.is_some(),
            Verb::Exec => self.own || self.exec,
            Verb::Own => self.own,
        }
    }
}
