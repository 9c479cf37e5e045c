//! Feeds hostile values to every parameter, name, tag, variable and command, and sees what the hooks make of them.
//!
//! ```text
//! for each hook (and golden case): once with harmless markers ─┐
//!   for each hostile value: what no rule refuses takes the     ├─ judge: data, refused, or broken
//!   markers' places, and the hook runs again ──────────────────┘
//! ```
//!
//! Nothing real runs: commands are mocked out of the golden cases, and answered in some plausible way where there are
//! none. Rules are those of every start ([`wharf_core::admission`]) and what a hook itself refuses.

mod corpus;
mod judge;
mod quoting;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};
use wharf_core::hook::Hook;
use wharf_core::template::Template;
use wharf_protocol::api::StartRequest;

use super::case::{Case, Expect, Mock};
use super::rehearsal::Mode;
use super::{Attempt, Bench, BenchError, golden, request};
use corpus::Hostile;
use judge::{Played, Verdict};

/// Most golden cases of one hook.
const CASES_MAX: usize = 4;

/// One place that a user fills.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Name,
    Tag,
    Env,
    Command,
    Param(String),
}

impl Slot {
    fn describe(&self) -> String {
        match self {
            Self::Name => "the session's name".to_owned(),
            Self::Tag => "a tag".to_owned(),
            Self::Env => "a variable".to_owned(),
            Self::Command => "the command".to_owned(),
            Self::Param(name) => format!("the parameter {name}"),
        }
    }

    /// In a start request, where the rules look at it.
    fn ask(&self, start: &mut StartRequest, value: &str) {
        match self {
            Self::Name => start.name = Some(value.to_owned()),
            Self::Tag => drop(start.tags.insert("inject".to_owned(), value.to_owned())),
            Self::Env => drop(start.env.insert("INJECT".to_owned(), value.to_owned())),
            Self::Command => start.command = Some(vec!["run".to_owned(), value.to_owned()]),
            Self::Param(name) => drop(start.params.insert(name.clone(), Value::from(value))),
        }
    }

    /// In a hook's request, wherever it has a session.
    fn put(&self, hook_request: &mut Value, value: &str) {
        let mut sessions = Vec::new();
        if let Some(members) = hook_request.as_object_mut() {
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("session", session) => sessions.push(session),
                    ("sessions", Value::Array(all)) => sessions.extend(all),
                    ("jobs", Value::Array(all)) => {
                        sessions.extend(all.iter_mut().filter_map(|job| job.get_mut("session")));
                    }
                    ("params", params) => {
                        if let Self::Param(name) = self {
                            params[name.as_str()] = Value::from(value);
                        }
                    }
                    ("command", command) if *self == Self::Command => *command = json!(["run", value]),
                    _ => {}
                }
            }
        }
        for session in sessions {
            match self {
                Self::Name => session["name"] = Value::from(value),
                Self::Tag => session["tags"]["inject"] = Value::from(value),
                Self::Env => session["env"]["INJECT"] = Value::from(value),
                Self::Command => session["command"] = json!(["run", value]),
                Self::Param(name) => session["params"][name.as_str()] = Value::from(value),
            }
        }
    }
}

/// A value that did not stay data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InjectFailure {
    /// The hook.
    pub hook: Hook,
    /// The golden case whose answers the commands gave; none: plausible ones.
    pub case: Option<String>,
    /// Where the value was put.
    pub slot: String,
    /// What the value is called.
    pub value: &'static str,
    /// What happened.
    pub detail: String,
}

/// What came of all values.
#[derive(Debug, Clone, Default, Serialize)]
pub struct InjectReport {
    /// How often a hook ran.
    pub runs: usize,
    /// How many values arrived as data, or were not used, counted by slot and hook.
    pub data: usize,
    /// Values refused by a rule, by slot: before any hook, or by the hook itself.
    pub refused: BTreeMap<String, Vec<&'static str>>,
    /// Hooks that could not be tried, and why.
    pub untried: Vec<String>,
    /// What did not stay data.
    pub failures: Vec<InjectFailure>,
}

/// One hook to be tried, with the answers of its commands.
struct Base {
    hook: Hook,
    case: Option<String>,
    request: Value,
    mocks: Vec<Mock>,
    now: f64,
}

impl Bench {
    /// Feeds hostile values to every hook; `progress` hears of each hook before it is tried.
    ///
    /// # Errors
    /// The template cannot be used.
    pub async fn inject(&self, progress: &mut (dyn FnMut(&str) + Send)) -> Result<InjectReport, BenchError> {
        let version = self.version()?;
        let canary = self.data.path().join("canary");
        let hostile = corpus::all(&canary);
        let mut report = InjectReport::default();
        let slots = self.slots(&version.template);
        for base in self.bases()? {
            let name = base.case.as_deref().unwrap_or("no case");
            progress(&format!("{}: {} values ({name})", base.hook.as_str(), hostile.len()));
            self.try_hook(&base, &slots, &hostile, &canary, &mut report).await?;
        }
        Ok(report)
    }

    fn slots(&self, template: &Template) -> Vec<(Slot, String)> {
        let fixed = [Slot::Name, Slot::Tag, Slot::Env, Slot::Command];
        let params = template.params.keys().cloned().map(Slot::Param);
        let all = fixed.into_iter().chain(params).enumerate();
        // A marker that some rule does not take leaves its slot to values that it does not take either.
        all.map(|(at, slot)| {
            let candidates = [format!("zq{at}xmarker"), format!("zq{at}"), format!("9081726354{at}")];
            let marker = candidates.into_iter().find(|marker| refused(template, &slot, marker).is_none());
            (slot, marker.unwrap_or_default())
        })
        .collect()
    }

    fn bases(&self) -> Result<Vec<Base>, BenchError> {
        let version = self.version()?;
        let (cases, _) = self.cases();
        let mut bases = Vec::new();
        #[expect(clippy::cast_precision_loss, reason = "seconds with milliseconds fit a float")]
        let seconds = |case: Option<&Case>| {
            case.and_then(|case| case.now).unwrap_or_else(request::now).millis() as f64 / 1000.0
        };
        for hook in version.hooks.keys().copied() {
            let good =
                cases.iter().filter(|case| case.hook == hook && matches!(case.expect, Expect::Result(_)));
            let good: Vec<_> = good.take(CASES_MAX).collect();
            for case in &good {
                bases.push(Base {
                    hook,
                    case: Some(case.file.clone()),
                    request: request::filled(hook, &version.template, &case.request),
                    mocks: case.commands.clone(),
                    now: seconds(Some(case)),
                });
            }
            if good.is_empty() {
                bases.push(Base {
                    hook,
                    case: None,
                    request: request::filled(hook, &version.template, &json!({})),
                    mocks: Vec::new(),
                    now: seconds(None),
                });
            }
        }
        // Requests in which no user has a say.
        bases.retain(|base| {
            ["session", "sessions", "params"].iter().any(|name| base.request.get(name).is_some())
        });
        Ok(bases)
    }

    async fn try_hook(
        &self,
        base: &Base,
        slots: &[(Slot, String)],
        hostile: &[Hostile],
        canary: &Path,
        report: &mut InjectReport,
    ) -> Result<(), BenchError> {
        let template = &self.version()?.template;
        let marked: Vec<&(Slot, String)> = slots.iter().filter(|(_, marker)| !marker.is_empty()).collect();
        let calm = self.play_values(base, &values(&marked, &[]), report).await?;
        for value in hostile {
            let mut accepted = Vec::new();
            for (slot, marker) in slots {
                match refused(template, slot, &value.text) {
                    None if !marker.is_empty() => accepted.push((slot.clone(), marker.clone())),
                    None => {}
                    Some(rule) => refuse(report, slot, value.label, &rule),
                }
            }
            let together: Vec<_> =
                accepted.iter().map(|(slot, _)| (slot.clone(), value.text.as_str())).collect();
            if together.is_empty() {
                continue;
            }
            let pairs: Vec<_> =
                accepted.iter().map(|(_, marker)| (marker.as_str(), value.text.as_str())).collect();
            let wild = self.play_values(base, &values(&marked, &together), report).await?;
            let verdict = judge::judge(&calm, &wild, &pairs, canary);
            let _ = std::fs::remove_file(canary);
            if verdict == Verdict::Data {
                report.data += accepted.len();
                continue;
            }
            self.blame(base, &marked, (&accepted, value), (&calm, canary), verdict, report).await?;
        }
        Ok(())
    }

    /// Finds out which of several slots it was.
    async fn blame(
        &self,
        base: &Base,
        marked: &[&(Slot, String)],
        (accepted, value): (&[(Slot, String)], &Hostile),
        (calm, canary): (&Played, &Path),
        together: Verdict,
        report: &mut InjectReport,
    ) -> Result<(), BenchError> {
        let failure = |slot: String, detail: String| InjectFailure {
            hook: base.hook,
            case: base.case.clone(),
            slot,
            value: value.label,
            detail,
        };
        let mut found = false;
        for (slot, marker) in accepted {
            let one = [(slot.clone(), value.text.as_str())];
            let wild = self.play_values(base, &values(marked, &one), report).await?;
            let verdict = judge::judge(calm, &wild, &[(marker.as_str(), value.text.as_str())], canary);
            let _ = std::fs::remove_file(canary);
            match verdict {
                Verdict::Data => report.data += 1,
                Verdict::Refused(rule) => {
                    found = true;
                    refuse(report, slot, value.label, &rule);
                }
                Verdict::Broken(detail) => {
                    found = true;
                    report.failures.push(failure(slot.describe(), detail));
                }
            }
        }
        if !found && let Verdict::Broken(detail) = together {
            report.failures.push(failure("several together".to_owned(), detail));
        }
        Ok(())
    }

    async fn play_values(
        &self,
        base: &Base,
        values: &[(Slot, String)],
        report: &mut InjectReport,
    ) -> Result<Played, BenchError> {
        report.runs += 1;
        let mut request = base.request.clone();
        for (slot, value) in values {
            slot.put(&mut request, value);
        }
        // The canary's command is a stand-in, so that it is seen when it runs.
        let canary = Mock { argv: vec![corpus::CANARY.to_owned()], ..Mock::default() };
        let mocks = base.mocks.iter().cloned().chain(std::iter::once(canary)).collect();
        let attempt = Attempt {
            hook: base.hook,
            request: &request,
            mode: Mode::Lenient(mocks),
            pinned: Some(base.now),
            hermetic: true,
        };
        let (run, seen) = self.attempt(attempt).await?;
        let outcome = match (run.outcome, &seen.answer) {
            (Ok(_), Some(answer)) => Ok(answer.clone()),
            (Ok(_), None) => Ok(json!({})),
            (Err(error), _) => Err(golden::error_value(&error)),
        };
        Ok(Played { seen, outcome })
    }
}

/// Markers everywhere, but for what takes their place.
fn values(marked: &[&(Slot, String)], hostile: &[(Slot, &str)]) -> Vec<(Slot, String)> {
    marked
        .iter()
        .map(|(slot, marker)| {
            let value =
                hostile.iter().find(|(other, _)| other == slot).map_or(marker.as_str(), |(_, value)| value);
            (slot.clone(), value.to_owned())
        })
        .collect()
}

/// The rule that keeps a value out of that slot, if one does.
fn refused(template: &Template, slot: &Slot, value: &str) -> Option<String> {
    let mut start = request::start(template);
    slot.ask(&mut start, value);
    let findings = request::session(template, &start).err()?;
    // Something else about the template may be refused as well: that is not this slot's rule.
    let usual: BTreeSet<String> = request::session(template, &request::start(template))
        .err()
        .into_iter()
        .flatten()
        .map(|wrong| wrong.field)
        .collect();
    findings.into_iter().find(|wrong| !usual.contains(&wrong.field)).map(|wrong| wrong.message)
}

fn refuse(report: &mut InjectReport, slot: &Slot, label: &'static str, _rule: &str) {
    let labels = report.refused.entry(slot.describe()).or_default();
    if !labels.contains(&label) {
        labels.push(label);
    }
}
