//! What the functions are called with.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use wharf_protocol::SessionId;

pub(super) use crate::arguments::read;
use crate::arguments::{list, map};

/// Names as a list, or as one text with commas between them.
fn names<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    match Value::deserialize(from)? {
        Value::String(text) => {
            Ok(text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect())
        }
        other => list(other).map_err(serde::de::Error::custom),
    }
}

/// A size as text, or a number of bytes.
fn size<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    let text = match Value::deserialize(from)? {
        Value::Null => return Ok(None),
        Value::String(text) => text,
        Value::Number(number) => number.to_string().trim_end_matches(".0").to_owned(),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
    };
    let bytes = wharf_core::params::size(&text).and_then(|bytes| i64::try_from(bytes).ok());
    bytes.map(Some).ok_or_else(|| serde::de::Error::custom("has to be a size such as 512MiB"))
}

/// Lua has one kind of number.
fn whole<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    let number: Option<f64> = Deserialize::deserialize(from)?;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
    match number {
        None => Ok(None),
        Some(number) if number.fract() == 0.0 && number.abs() < 1e15 => Ok(Some(number as i64)),
        Some(_) => Err(serde::de::Error::custom("has to be a whole number")),
    }
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum When {
    /// When the engine has none of that name.
    #[default]
    Missing,
    /// Before every start.
    Always,
    /// Images are brought by other means.
    Never,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pull {
    pub(super) image: String,
    #[serde(default)]
    pub(super) when: When,
}

/// The request's `monitor`.
#[derive(Debug, Deserialize)]
pub(super) struct Monitor {
    pub(super) argv: Vec<String>,
    #[serde(default, deserialize_with = "map")]
    pub(super) env: BTreeMap<String, String>,
    pub(super) dir: String,
}

/// What a container is to be. Nothing here widens what it may do: that stands in the template's `[config]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    /// The session's id.
    pub(super) id: SessionId,
    pub(super) monitor: Monitor,
    pub(super) image: String,
    /// Bytes of memory; there is no swap beyond.
    #[serde(default, deserialize_with = "size")]
    pub(super) memory: Option<i64>,
    /// Processors, in parts too.
    #[serde(default)]
    pub(super) cpus: Option<f64>,
    /// Most processes and threads.
    #[serde(default, deserialize_with = "whole")]
    pub(super) pids: Option<i64>,
    /// Bytes of `/dev/shm`.
    #[serde(default, deserialize_with = "size")]
    pub(super) shm: Option<i64>,
    /// `none`, `bridge`, or a network's name.
    #[serde(default)]
    pub(super) network: Option<String>,
    /// Names of `[config.mounts.…]`.
    #[serde(default, deserialize_with = "names")]
    pub(super) mounts: Vec<String>,
    /// Further variables.
    #[serde(default, deserialize_with = "map")]
    pub(super) env: BTreeMap<String, String>,
    /// Further labels.
    #[serde(default, deserialize_with = "map")]
    pub(super) labels: BTreeMap<String, String>,
    /// Another user than the image's.
    #[serde(default)]
    pub(super) user: Option<String>,
    /// Another host name than the engine's choice.
    #[serde(default)]
    pub(super) hostname: Option<String>,
}

/// One session's container.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct One {
    pub(super) id: SessionId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    #[serde(deserialize_with = "list")]
    pub(super) ids: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Logs {
    pub(super) id: SessionId,
    /// Lines from the end.
    #[serde(default, deserialize_with = "whole")]
    pub(super) tail: Option<i64>,
    /// `next` of an earlier answer: only what came since.
    #[serde(default)]
    pub(super) after: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exec {
    pub(super) id: SessionId,
    #[serde(deserialize_with = "list")]
    pub(super) argv: Vec<String>,
    #[serde(default)]
    pub(super) stdin: String,
}
