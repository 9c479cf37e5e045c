//! Reads what squeue and sacct print of jobs, and sbatch of a new one. Pure: text in, rows out; what may be chosen is read by
//! [`super::choices`].
//!
//! A line that does not fit is left out and never spoils the others: banners, warnings, clusters' headings, half a line
//! of an answer that broke off. Fields that hold text of users come last, or are not asked for.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use wharf_core::hook::JobReport;
use wharf_protocol::{JobState, Time};

use super::{reasons, words};

/// The fields of [`queue`]; `|` is part of none of them.
pub(super) const QUEUE: &str =
    "JobID:|,State:|,RestartCnt:|,exit_code:|,NodeList:|,StartTime:|,EndTime:|,Reason:|";
/// The fields of [`ranked`]: of everybody's jobs, in front of those of [`QUEUE`].
pub(super) const RANKED: &str = "PriorityLong:|,Partition:|,";
/// The fields of [`names`]; the name is the last.
pub(super) const NAMES: &str = "JobID:|,State:|,SubmitTime:|,Name:|";
/// The fields of [`accounting`].
pub(super) const ACCOUNTING: &str = "JobIDRaw,State,ExitCode,Start,End,NodeList,Reason";
/// The fields of [`accounted_names`].
pub(super) const ACCOUNTED_NAMES: &str = "JobIDRaw,State,Submit,JobName";

/// A plain job id; ids of array tasks and of parts of heterogeneous jobs are none of ours.
pub(super) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A job id as sessions keep it: `8123`, or `8123;cluster` of another cluster than the default one.
pub(super) fn split_id(text: &str) -> Option<(&str, Option<&str>)> {
    let (id, cluster) = match text.split_once(';') {
        Some((id, cluster)) => (id, Some(cluster)),
        None => (text, None),
    };
    let word = |cluster: &str| {
        !cluster.is_empty()
            && cluster.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !cluster.starts_with('-')
    };
    (is_id(id) && cluster.is_none_or(word)).then_some((id, cluster))
}

/// The id that `sbatch --parsable` printed: the last line that is one, whatever a wrapper said around it.
pub(super) fn submitted(text: &str) -> Option<&str> {
    text.lines().rev().map(str::trim).find(|line| split_id(line).is_some())
}

/// A time as Slurm prints it with `TZ=UTC`, or none (`N/A`, `NONE`, `Unknown`).
fn time(text: &str) -> Option<Time> {
    let text = text.trim();
    let civil: DateTime = text.parse().ok()?;
    if text.len() < 16 {
        return None;
    }
    TimeZone::UTC.to_timestamp(civil).ok().map(Time::from)
}

/// The exit code and signal of `3:0`, or of a wait status.
fn exit(text: &str) -> Option<(i32, i32)> {
    match text.split_once(':') {
        Some((code, signal)) => Some((code.parse().ok()?, signal.parse().ok()?)),
        None => {
            let status: i32 = text.parse().ok()?;
            Some(((status >> 8) & 0xff, status & 0x7f))
        }
    }
}

fn node(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && !matches!(text, "None assigned" | "(null)" | "None" | "n/a"))
        .then(|| text.chars().filter(|letter| !letter.is_control()).take(256).collect())
}

/// A word of Slurm's for people, bounded.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(200).collect()
}

fn describe(report: &mut JobReport, raw: &str, reason: &str) {
    report.raw = Some(plain(raw));
    let reason = reason.trim().trim_matches(['(', ')']);
    let shown = match (reasons::reason(reason), reason) {
        (Some(words), word) => Some(format!("{words} ({})", plain(word))),
        (None, "" | "None" | "NONE" | "null") => None,
        (None, word) => Some(plain(word)),
    };
    // Of a job that runs or is over the reason is a leftover of its time in the queue, or says the state again.
    if matches!(report.state, JobState::Queued | JobState::Held | JobState::Starting) {
        report.reason = shown;
    }
    if report.state == JobState::Queued && reasons::is_hold(reason) {
        report.state = JobState::Held;
    }
}

/// `squeue --noheader --Format` of [`QUEUE`]: by job id.
pub(super) fn queue(text: &str) -> BTreeMap<String, JobReport> {
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.splitn(8, '|').collect();
        let &[id, raw, restarts, code, nodes, start, end, reason] = fields.as_slice() else { continue };
        let (id, raw) = (id.trim(), raw.trim());
        // The last field ends with the delimiter: without it the line broke off.
        let Some(reason) = reason.trim_end().strip_suffix('|') else { continue };
        if !is_id(id) || raw.is_empty() {
            continue;
        }
        let meaning = words::state(raw);
        let mut report = JobReport { state: meaning.state, cause: meaning.cause, ..JobReport::default() };
        report.restarts = restarts.trim().parse().ok();
        report.node = node(nodes);
        match report.state {
            JobState::Queued | JobState::Held => report.starts_at = time(start),
            JobState::Running | JobState::Suspended | JobState::Starting => report.ends_at = time(end),
            JobState::Ended => report.exit_code = exit(code.trim()).map(|(code, _)| code),
            JobState::Completing | JobState::Gone | JobState::Unknown => {}
        }
        describe(&mut report, raw, reason);
        rows.insert(id.to_owned(), report);
    }
    rows
}

/// `squeue --noheader --Format` of [`RANKED`] and [`QUEUE`]: the same, with the place in the queue. Slurm looks at the jobs of a
/// partition by priority, and at the older one first; a job that may run in several counts in the first of them.
pub(super) fn ranked(text: &str) -> BTreeMap<String, JobReport> {
    let mut ranks: BTreeMap<String, (String, u64)> = BTreeMap::new();
    let mut rest = String::with_capacity(text.len());
    for line in text.lines() {
        let mut fields = line.splitn(3, '|');
        let (Some(priority), Some(partition), Some(row)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let id = row.split('|').next().unwrap_or_default().trim();
        if let Ok(priority) = priority.trim().parse() {
            let partition = partition.trim().split(',').next().unwrap_or_default();
            ranks.insert(id.to_owned(), (partition.to_owned(), priority));
        }
        rest.push_str(row);
        rest.push('\n');
    }
    let mut rows = queue(&rest);
    let mut waiting: Vec<(&str, std::cmp::Reverse<u64>, u64, &String)> = ranks
        .iter()
        .filter(|(id, _)| rows.get(*id).is_some_and(|row| row.state == JobState::Queued))
        .filter_map(|(id, (partition, priority))| {
            Some((partition.as_str(), std::cmp::Reverse(*priority), id.parse().ok()?, id))
        })
        .collect();
    waiting.sort_unstable();
    let (mut partition, mut place) = ("", 0);
    for (of, _, _, id) in waiting {
        if of != partition {
            (partition, place) = (of, 0);
        }
        place += 1;
        if let Some(row) = rows.get_mut(id) {
            row.position = Some(place);
        }
    }
    rows
}

/// One job that carries a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) id: String,
    pub(super) name: String,
    /// Still alive, as far as the row says.
    pub(super) alive: bool,
    submitted: String,
}

fn named(id: &str, raw: &str, submitted: &str, name: &str) -> Option<Named> {
    let (id, submitted) = (id.trim(), submitted.trim());
    is_id(id).then(|| Named {
        id: id.to_owned(),
        name: name.trim().to_owned(),
        alive: words::state(raw.trim()).state != JobState::Ended,
        submitted: submitted.to_owned(),
    })
}

/// Oldest first: times in UTC sort as text, and ids tell what the same second does not.
fn oldest_first(rows: &mut [Named]) {
    rows.sort_by(|one, other| {
        one.submitted
            .cmp(&other.submitted)
            .then_with(|| one.id.len().cmp(&other.id.len()))
            .then_with(|| one.id.cmp(&other.id))
    });
}

/// `squeue --noheader --Format` of [`NAMES`], oldest first.
pub(super) fn names(text: &str) -> Vec<Named> {
    let mut rows: Vec<Named> = text
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(4, '|');
            let (id, raw, submitted) = (fields.next()?, fields.next()?, fields.next()?);
            named(id, raw, submitted, fields.next()?.trim_end().strip_suffix('|')?)
        })
        .collect();
    oldest_first(&mut rows);
    rows
}

/// `sacct -X -n -P` of [`ACCOUNTED_NAMES`], oldest first.
pub(super) fn accounted_names(text: &str) -> Vec<Named> {
    let mut rows: Vec<Named> = text
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(4, '|');
            let (id, raw, submitted) = (fields.next()?, fields.next()?, fields.next()?);
            named(id, raw, submitted, fields.next()?)
        })
        .collect();
    oldest_first(&mut rows);
    rows
}

/// `sacct -X -n -P` of [`ACCOUNTING`]: by job id. A job that was requeued has several rows; the last one counts.
pub(super) fn accounting(text: &str) -> BTreeMap<String, JobReport> {
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.splitn(7, '|').collect();
        let &[id, raw, code, _start, _end, nodes, reason] = fields.as_slice() else { continue };
        let (id, raw) = (id.trim(), raw.trim());
        if !is_id(id) || raw.is_empty() {
            continue;
        }
        let meaning = words::state(raw);
        let mut report = JobReport { state: meaning.state, cause: meaning.cause, ..JobReport::default() };
        report.node = node(nodes);
        if report.state == JobState::Ended {
            report.exit_code = exit(code.trim()).map(|(code, _)| code);
        }
        describe(&mut report, raw, reason);
        rows.insert(id.to_owned(), report);
    }
    rows
}

#[cfg(test)]
mod tests;
