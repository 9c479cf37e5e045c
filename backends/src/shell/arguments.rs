//! What the functions are called with.

use std::collections::BTreeMap;

use serde::Deserialize;
use wharf_protocol::SessionId;

pub(super) use crate::arguments::read;
use crate::arguments::{list, map};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spawn {
    /// The request's `monitor.argv`.
    pub(super) argv: Vec<String>,
    /// The request's `monitor.env`.
    #[serde(default, deserialize_with = "map")]
    pub(super) env: BTreeMap<String, String>,
    /// The session directory.
    pub(super) dir: String,
    /// The session id.
    pub(super) tag: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Inspect {
    #[serde(deserialize_with = "list")]
    pub(super) job_ids: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    #[serde(deserialize_with = "list")]
    pub(super) tags: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignalOne {
    pub(super) job_id: String,
    /// `TERM` or `KILL`.
    pub(super) signal: String,
    /// Kill all that descends from it, too.
    #[serde(default)]
    pub(super) tree: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Clear {
    /// The session id.
    pub(super) tag: SessionId,
}
