//! Reading what hooks call a backend's functions with, the same for all backends.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wharf_core::backend::HostError;
use wharf_core::hook::HookErrorKind;

/// Reads a call's arguments.
pub(crate) fn read<T: DeserializeOwned>(arguments: Value) -> Result<T, HostError> {
    serde_json::from_value(arguments)
        .map_err(|error| HostError::new(HookErrorKind::Misconfigured, error.to_string()))
}

/// An empty Lua table may come as an object.
pub(crate) fn list<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
where
    T: DeserializeOwned,
    D: serde::Deserializer<'de>,
{
    match Value::deserialize(from)? {
        Value::Object(members) if members.is_empty() => Ok(Vec::new()),
        other => serde_json::from_value(other).map_err(serde::de::Error::custom),
    }
}

/// An empty Lua table may come as a list.
pub(crate) fn map<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    match Value::deserialize(from)? {
        Value::Array(items) if items.is_empty() => Ok(BTreeMap::new()),
        other => serde_json::from_value(other).map_err(serde::de::Error::custom),
    }
}
