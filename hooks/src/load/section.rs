//! Reading one table of `template.toml`: each key is taken once, with its type; what is left over is unknown.
//!
//! Nothing here stops at the first mistake: a value that cannot be read becomes a finding and counts as absent.
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else a TOML value is, it is a finding")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wharf_protocol::template::Finding;
use wharf_protocol::{Dur, InvalidDuration};

use super::node::{At, Kind, Node};

/// One table while it is read.
pub(crate) struct Section<'a> {
    /// Its name for messages, such as `[hooks]`.
    name: String,
    /// Where it stands.
    pub(crate) at: At,
    table: BTreeMap<&'a str, &'a (At, Node)>,
    known: BTreeSet<&'static str>,
}

impl<'a> Section<'a> {
    /// The table `node`; another kind of value is a finding.
    pub(crate) fn new(name: impl Into<String>, node: &'a Node, out: &mut Vec<Finding>) -> Self {
        let name = name.into();
        let table = match &node.kind {
            Kind::Table(table) => table.iter().map(|(key, value)| (key.as_str(), value)).collect(),
            Kind::String(_)
            | Kind::Integer(_)
            | Kind::Float(_)
            | Kind::Bool(_)
            | Kind::Datetime(_)
            | Kind::Array(_) => {
                out.push(node.at.error("type", format!("{name} has to be a table, not {}", node.word())));
                BTreeMap::new()
            }
        };
        Self { name, at: node.at.clone(), table, known: BTreeSet::new() }
    }

    /// The value of a key, and that there is such a key.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.insert(key);
        self.table.remove(key).map(|(_, node)| node)
    }

    /// Names of the keys that nobody has taken yet, for tables whose keys are names.
    pub(crate) fn rest(&mut self) -> Vec<(&'a str, &'a At, &'a Node)> {
        std::mem::take(&mut self.table).into_iter().map(|(key, (at, node))| (key, at, node)).collect()
    }

    /// Everything that was not taken is unknown.
    pub(crate) fn finish(self, out: &mut Vec<Finding>) {
        for (key, (at, _)) in self.table {
            let hint = match closest(key, self.known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    let known: Vec<_> = self.known.iter().copied().collect();
                    format!("there are: {}", known.join(", "))
                }
            };
            out.push(at.error("unknown_key", format!("unknown key `{key}` in {}; {hint}", self.name)));
        }
    }

    fn wrong(&self, key: &str, expected: &str, node: &Node, out: &mut Vec<Finding>) {
        let message = format!("`{key}` in {} has to be {expected}, not {}", self.name, node.word());
        out.push(node.at.error("type", message));
    }

    /// A text.
    pub(crate) fn text(&mut self, key: &'static str, out: &mut Vec<Finding>) -> Option<String> {
        let node = self.take(key)?;
        if let Kind::String(text) = &node.kind {
            return Some(text.clone());
        }
        self.wrong(key, "a text", node, out);
        None
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, key: &'static str, out: &mut Vec<Finding>) -> Option<bool> {
        let node = self.take(key)?;
        if let Kind::Bool(value) = node.kind {
            return Some(value);
        }
        self.wrong(key, "true or false", node, out);
        None
    }

    /// A whole number that is not negative.
    pub(crate) fn number(&mut self, key: &'static str, out: &mut Vec<Finding>) -> Option<u64> {
        let node = self.take(key)?;
        if let Kind::Integer(number) = node.kind
            && let Ok(number) = u64::try_from(number)
        {
            return Some(number);
        }
        self.wrong(key, "a whole number from 0", node, out);
        None
    }

    /// A duration.
    pub(crate) fn duration(&mut self, key: &'static str, out: &mut Vec<Finding>) -> Option<Duration> {
        let node = self.take(key)?;
        let read = match &node.kind {
            Kind::String(text) => text.parse::<Dur>(),
            Kind::Integer(seconds) => u64::try_from(*seconds)
                .map_err(|_| InvalidDuration::Unreadable)
                .and_then(|seconds| Dur::secs(seconds).checked()),
            Kind::Float(seconds) => Dur::from_secs_f64(*seconds),
            Kind::Bool(_) | Kind::Datetime(_) | Kind::Array(_) | Kind::Table(_) => {
                Err(InvalidDuration::Unreadable)
            }
        };
        let shown = || match &node.kind {
            Kind::String(text) => format!("\"{text}\""),
            _ => node.word().to_owned(),
        };
        let message = match read {
            Ok(dur) => return Some(dur.0),
            Err(InvalidDuration::TooLong) => {
                format!("`{key}` in {} is {}", self.name, InvalidDuration::TooLong)
            }
            Err(InvalidDuration::Unreadable) => format!(
                "`{key}` in {} has to be a duration such as \"30s\", \"10m\" or \"7d\", not {}",
                self.name,
                shown()
            ),
        };
        out.push(node.at.error("bad_duration", message));
        None
    }

    /// A size such as `32MiB`, in bytes.
    pub(crate) fn size(&mut self, key: &'static str, out: &mut Vec<Finding>) -> Option<u64> {
        let node = self.take(key)?;
        let read = match &node.kind {
            Kind::String(text) => parse_size(text),
            Kind::Integer(bytes) => u64::try_from(*bytes).ok(),
            _ => None,
        };
        if read.is_none() {
            let message = format!("`{key}` in {} has to be a size such as \"32MiB\" or \"4GiB\"", self.name);
            out.push(node.at.error("bad_size", message));
        }
        read
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, key: &'static str, out: &mut Vec<Finding>) -> Option<Vec<String>> {
        let node = self.take(key)?;
        if let Kind::Array(items) = &node.kind {
            let texts: Vec<_> = items
                .iter()
                .filter_map(|item| match &item.kind {
                    Kind::String(text) => Some(text.clone()),
                    _ => {
                        self.wrong(key, "a list of texts", item, out);
                        None
                    }
                })
                .collect();
            return Some(texts);
        }
        self.wrong(key, "a list of texts", node, out);
        None
    }

    /// A table of texts by name.
    pub(crate) fn pairs(
        &mut self,
        key: &'static str,
        out: &mut Vec<Finding>,
    ) -> Option<BTreeMap<String, String>> {
        let node = self.take(key)?;
        let Kind::Table(table) = &node.kind else {
            self.wrong(key, "a table of texts", node, out);
            return None;
        };
        let mut pairs = BTreeMap::new();
        for (name, (_, value)) in table {
            match &value.kind {
                Kind::String(text) => drop(pairs.insert(name.clone(), text.clone())),
                Kind::Integer(number) => drop(pairs.insert(name.clone(), number.to_string())),
                _ => self.wrong(key, "a table of texts", value, out),
            }
        }
        Some(pairs)
    }

    /// A table within this one.
    pub(crate) fn section(&mut self, key: &'static str, out: &mut Vec<Finding>) -> Option<Self> {
        self.take(key).map(|node| Self::new(format!("[{key}]"), node, out))
    }
}

/// The known word that was probably meant.
pub(crate) fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|near| (strsim::jaro_winkler(word, near), near))
        .filter(|(likeness, near)| *likeness > 0.8 || strsim::damerau_levenshtein(word, near) <= 2)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, near)| near)
}

/// Reads `512MiB`, `4GiB`, `2G` (1000s without the `i`) or a bare number of bytes.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text.get(..digits)?.parse().ok()?;
    let unit: u64 = match text.get(digits..)?.trim() {
        "" | "B" => 1,
        "K" | "KB" | "k" | "kB" => 1000,
        "KiB" | "Ki" => 1 << 10,
        "M" | "MB" => 1_000_000,
        "MiB" | "Mi" => 1 << 20,
        "G" | "GB" => 1_000_000_000,
        "GiB" | "Gi" => 1 << 30,
        "T" | "TB" => 1_000_000_000_000,
        "TiB" | "Ti" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(unit)
}
