//! `[params.NAME]`: one declared parameter, and whether its own default, limits and choices fit its type.
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else a TOML value is, it is a finding")]

use serde_json::Value;
use wharf_core::template::{ParamKind, ParamSpec};
use wharf_protocol::Dur;
use wharf_protocol::template::Finding;

use super::manifest::whole_pattern;
use super::node::{At, Kind, Node};
use super::section::{Section, closest, parse_size};

const KINDS: [(&str, ParamKind); 8] = [
    ("string", ParamKind::String),
    ("int", ParamKind::Int),
    ("float", ParamKind::Float),
    ("bool", ParamKind::Bool),
    ("choice", ParamKind::Choice),
    ("duration", ParamKind::Duration),
    ("size", ParamKind::Size),
    ("path", ParamKind::Path),
];

/// Reads one parameter.
pub(crate) fn read(name: &str, at: &At, node: &Node, out: &mut Vec<Finding>) -> Option<ParamSpec> {
    let mut letters = name.bytes();
    let first = letters.next().is_some_and(|byte| byte.is_ascii_lowercase());
    let rest = letters.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !first || !rest || name.len() > 63 {
        out.push(
            at.error("name", format!("\"{name}\": names of parameters are a-z, 0-9 and _, a letter first")),
        );
    }
    let mut section = Section::new(format!("[params.{name}]"), node, out);
    let word = section.take("type");
    let default = section.take("default");
    let min = section.take("min");
    let max = section.take("max");
    let pattern = section.take("pattern");
    let choices = section.take("choices");
    let mut spec = ParamSpec {
        kind: ParamKind::String,
        default: default.map(Node::to_json),
        required: section.flag("required", out).unwrap_or(false),
        min: min.map(Node::to_json),
        max: max.map(Node::to_json),
        pattern: None,
        max_length: section.number("max_length", out).and_then(|length| usize::try_from(length).ok()),
        choices: Vec::new(),
        title: section.text("title", out),
        help: section.text("help", out),
        secret: section.flag("secret", out).unwrap_or(false),
        group: section.text("group", out),
    };
    section.finish(out);
    spec.kind = kind(name, at, word, out)?;
    if let Some(node) = pattern {
        match &node.kind {
            Kind::String(pattern) => {
                spec.pattern = Some(pattern.clone());
                if let Some(Err(error)) = whole_pattern(&spec) {
                    let reason = error.to_string().lines().last().unwrap_or_default().to_owned();
                    out.push(node.at.error("bad_pattern", format!("`pattern` of {name}: {reason}")));
                    spec.pattern = None;
                }
            }
            _ => out.push(node.at.error("type", format!("`pattern` of {name} has to be a text"))),
        }
    }
    if let Some(node) = choices {
        match &node.kind {
            Kind::Array(items) => spec.choices = items.iter().map(Node::to_json).collect(),
            _ => out.push(node.at.error("type", format!("`choices` of {name} has to be a list"))),
        }
    }
    for (word, node) in [("min", min), ("max", max)] {
        let Some(node) = node else { continue };
        if measure(spec.kind, &node.to_json()).is_none() {
            let message = format!("`{word}` of {name} does not fit its type, {}", spelled(spec.kind));
            out.push(node.at.error("type", message));
        }
    }
    if let Some(node) = default
        && let Some(reason) = misfit(&spec, &node.to_json())
    {
        out.push(node.at.error("default", format!("`default` of {name} {reason}")));
    }
    Some(spec)
}

fn spelled(kind: ParamKind) -> &'static str {
    KINDS.iter().find(|(_, known)| *known == kind).map_or("string", |(word, _)| word)
}

fn kind(name: &str, at: &At, word: Option<&Node>, out: &mut Vec<Finding>) -> Option<ParamKind> {
    let all = "string, int, float, bool, choice, duration, size or path";
    let Some(node) = word else {
        out.push(at.error("missing", format!("[params.{name}] needs `type`: {all}")));
        return None;
    };
    let word = match &node.kind {
        Kind::String(word) => word.as_str(),
        _ => "",
    };
    let found = KINDS.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind);
    if found.is_none() {
        let hint = closest(word, KINDS.iter().map(|(known, _)| *known))
            .map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
        out.push(node.at.error("type", format!("`type` of {name} has to be {all}{hint}")));
    }
    found
}

/// A value as a number to compare with `min` and `max`; none when it does not fit the type.
fn measure(kind: ParamKind, value: &Value) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "limits are compared, not stored")]
    match (kind, value) {
        (ParamKind::Int, Value::Number(number)) => number.as_i64().map(|number| number as f64),
        (ParamKind::Float, Value::Number(number)) => number.as_f64(),
        (ParamKind::Duration, Value::String(text)) => text.parse::<Dur>().ok().map(|dur| dur.0.as_secs_f64()),
        (ParamKind::Duration, Value::Number(seconds)) => seconds
            .as_f64()
            .and_then(|seconds| Dur::from_secs_f64(seconds).ok())
            .map(|dur| dur.0.as_secs_f64()),
        (ParamKind::Size, Value::String(text)) => parse_size(text).map(|bytes| bytes as f64),
        (ParamKind::Size, Value::Number(bytes)) => bytes.as_u64().map(|bytes| bytes as f64),
        _ => None,
    }
}

fn misfit(spec: &ParamSpec, value: &Value) -> Option<String> {
    let kind = spec.kind;
    let fits = match kind {
        ParamKind::String => value.is_string(),
        ParamKind::Bool => value.is_boolean(),
        ParamKind::Choice => !value.is_null(),
        ParamKind::Path => value
            .as_str()
            .is_some_and(|path| path.starts_with('/') || path.starts_with("~/") || path.is_empty()),
        ParamKind::Int | ParamKind::Float | ParamKind::Duration | ParamKind::Size => {
            measure(kind, value).is_some()
        }
    };
    if !fits {
        return Some(format!("does not fit its type, {}", spelled(kind)));
    }
    if !spec.choices.is_empty() && !spec.choices.contains(value) {
        return Some("is none of its `choices`".to_owned());
    }
    let beyond = |limit: &Option<Value>, worse: fn(f64, f64) -> bool| {
        let limit = limit.as_ref().and_then(|limit| measure(kind, limit));
        matches!((measure(kind, value), limit), (Some(value), Some(limit)) if worse(value, limit))
    };
    if beyond(&spec.min, |value, limit| value < limit) {
        return Some("is below `min`".to_owned());
    }
    if beyond(&spec.max, |value, limit| value > limit) {
        return Some("is above `max`".to_owned());
    }
    let text = value.as_str()?;
    if let Some(Ok(pattern)) = whole_pattern(spec)
        && !text.is_empty()
        && !pattern.is_match(text)
    {
        return Some("does not match its `pattern`".to_owned());
    }
    spec.max_length
        .is_some_and(|length| text.chars().count() > length)
        .then(|| "is longer than `max_length`".to_owned())
}
