//! The API's objects as JSON text.

use serde_json::Value;

use super::escape;

/// For `--output json`.
pub(crate) fn pretty(value: &Value) -> String {
    escape::json(&serde_json::to_string_pretty(value).unwrap_or_default()).into_owned()
}

/// For `--output jsonl`: one line.
pub(crate) fn compact(value: &Value) -> String {
    escape::json(&value.to_string()).into_owned()
}

/// For `--output id`: what the object is called.
pub(crate) fn id(value: &Value) -> String {
    let name = |member: &str| value.get(member).and_then(Value::as_str);
    let text = name("id").or_else(|| name("name")).unwrap_or_default();
    escape::line(text).into_owned()
}
