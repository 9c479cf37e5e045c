//! What the functions are called with.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wharf_core::backend::HostError;
use wharf_core::hook::HookErrorKind;
use wharf_protocol::SessionId;

/// Reads a call's arguments.
pub(super) fn read<T: DeserializeOwned>(arguments: Value) -> Result<T, HostError> {
    serde_json::from_value(arguments)
        .map_err(|error| HostError::new(HookErrorKind::Misconfigured, error.to_string()))
}

/// An empty Lua table may come as an object.
fn list<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    match Value::deserialize(from)? {
        Value::Object(members) if members.is_empty() => Ok(Vec::new()),
        other => serde_json::from_value(other).map_err(serde::de::Error::custom),
    }
}

/// An empty Lua table may come as a list.
fn map<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    match Value::deserialize(from)? {
        Value::Array(items) if items.is_empty() => Ok(BTreeMap::new()),
        other => serde_json::from_value(other).map_err(serde::de::Error::custom),
    }
}

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
