//! TOML with the place of every value, so that each mistake can be shown where it is.
//!
//! Overlays are merged here as well: a merged tree still knows which file and line each value came from.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use toml::de::{DeTable, DeValue};
use wharf_protocol::template::{Finding, Severity};

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At {
    /// The file, relative to the template.
    pub(crate) file: Arc<str>,
    /// The line, from 1.
    pub(crate) line: u32,
}

impl At {
    /// An error here.
    pub(crate) fn error(&self, code: &str, message: impl Into<String>) -> Finding {
        self.finding(Severity::Error, code, message)
    }

    /// A finding here.
    pub(crate) fn finding(&self, severity: Severity, code: &str, message: impl Into<String>) -> Finding {
        Finding {
            file: self.file.to_string(),
            line: Some(self.line),
            severity,
            code: code.to_owned(),
            message: message.into(),
        }
    }
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Where it stands.
    pub(crate) at: At,
    /// What it is.
    pub(crate) kind: Kind,
}

/// A TOML value.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Text.
    String(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A date or time, as text.
    Datetime(String),
    /// A list.
    Array(Vec<Node>),
    /// A table; each key with its own place.
    Table(BTreeMap<String, (At, Node)>),
}

impl Node {
    /// Reads a document; what does not parse is returned as findings, all at once where the parser can go on.
    pub(crate) fn parse(file: &str, text: &str) -> (Self, Vec<Finding>) {
        let lines = Lines { file: file.into(), text };
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut findings = Vec::new();
        for error in errors {
            let at = lines.at(error.span().map_or(0, |span| span.start));
            findings.push(at.error("syntax", format!("not valid TOML: {}", error.message())));
        }
        let root = lines.table(table.get_ref(), 0, &mut findings);
        (root, findings)
    }

    /// What it is, for messages.
    pub(crate) fn word(&self) -> &'static str {
        match self.kind {
            Kind::String(_) => "a text",
            Kind::Integer(_) => "a whole number",
            Kind::Float(_) => "a number",
            Kind::Bool(_) => "true or false",
            Kind::Datetime(_) => "a date",
            Kind::Array(_) => "a list",
            Kind::Table(_) => "a table",
        }
    }

    /// The value without its places.
    pub(crate) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::String(text) | Kind::Datetime(text) => Value::String(text.clone()),
            Kind::Integer(number) => (*number).into(),
            Kind::Float(number) => serde_json::Number::from_f64(*number).map_or(Value::Null, Value::Number),
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Array(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Kind::Table(table) => {
                Value::Object(table.iter().map(|(key, (_, node))| (key.clone(), node.to_json())).collect())
            }
        }
    }

    /// Lays `over` on top: tables merge key by key, everything else is replaced.
    pub(crate) fn overlay(self, over: Self) -> Self {
        match (self.kind, over.kind) {
            (Kind::Table(mut below), Kind::Table(above)) => {
                for (key, (at, node)) in above {
                    let merged = match below.remove(&key) {
                        Some((_, old)) => old.overlay(node),
                        None => node,
                    };
                    below.insert(key, (at, merged));
                }
                Self { at: over.at, kind: Kind::Table(below) }
            }
            (_, kind) => Self { at: over.at, kind },
        }
    }
}

struct Lines<'a> {
    file: Arc<str>,
    text: &'a str,
}

impl Lines<'_> {
    fn at(&self, offset: usize) -> At {
        let before = self.text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count();
        At { file: Arc::clone(&self.file), line: u32::try_from(before + 1).unwrap_or(u32::MAX) }
    }

    fn table(&self, table: &DeTable<'_>, offset: usize, findings: &mut Vec<Finding>) -> Node {
        let mut entries = BTreeMap::new();
        for (key, value) in table {
            let node = self.value(value.get_ref(), value.span().start, findings);
            entries.insert(key.get_ref().to_string(), (self.at(key.span().start), node));
        }
        Node { at: self.at(offset), kind: Kind::Table(entries) }
    }

    fn value(&self, value: &DeValue<'_>, offset: usize, findings: &mut Vec<Finding>) -> Node {
        let kind = match value {
            DeValue::String(text) => Kind::String(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Kind::Integer(number),
                Err(_) => {
                    findings.push(self.at(offset).error("type", format!("{number} does not fit 64 bits")));
                    Kind::Integer(0)
                }
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => Kind::Float(number),
                Err(_) => {
                    findings.push(self.at(offset).error("type", "not a number"));
                    Kind::Float(0.0)
                }
            },
            DeValue::Boolean(value) => Kind::Bool(*value),
            DeValue::Datetime(date) => Kind::Datetime(date.to_string()),
            DeValue::Array(items) => Kind::Array(
                items.iter().map(|item| self.value(item.get_ref(), item.span().start, findings)).collect(),
            ),
            DeValue::Table(table) => return self.table(table, offset, findings),
        };
        Node { at: self.at(offset), kind }
    }
}
