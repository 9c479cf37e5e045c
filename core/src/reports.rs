//! Reports of conformance runs, `DATA/reports/TEMPLATE.json`: the newest of each template.
//!
//! `wharf template test --live` leaves them, with or without a launcher that runs; the launcher shows them to
//! administrators. What is in them was said by hooks and schedulers: it is cut when it is kept, and a file that is not
//! one of ours is as good as none. Which template they are of is a matter of its version; see
//! `wharf_protocol::template::LiveReport`.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use wharf_protocol::template::LiveReport;

use crate::files::{make_dir, write};

/// Bytes of what one step says.
const DETAIL: usize = 4 << 10;
/// Steps of one run.
const STEPS: usize = 64;
/// Bytes of a file: as many as escaping can make of these.
const FILE: u64 = 2 << 20;

fn path(data: &Path, template: &str) -> PathBuf {
    data.join("reports").join(format!("{template}.json"))
}

/// The beginning of a text, with a mark where it was cut.
fn cut(text: &mut String) {
    if text.len() > DETAIL {
        text.truncate(text.floor_char_boundary(DETAIL));
        text.push_str(" […]");
    }
}

/// Keeps a report in the place of the template's last one.
///
/// # Errors
/// What the file system says.
pub fn keep(data: &Path, mut report: LiveReport) -> io::Result<()> {
    report.steps.truncate(STEPS);
    report.steps.iter_mut().for_each(|step| cut(&mut step.detail));
    make_dir(&data.join("reports"), 0o700)?;
    let text = serde_json::to_vec(&report).map_err(io::Error::other)?;
    write(&path(data, &report.template), 0o600, &text, true)
}

/// The report of a template, given its version now.
pub(crate) fn read(data: &Path, template: &str, version: Option<&str>) -> Option<LiveReport> {
    let file = fs::File::open(path(data, template)).ok()?;
    let mut text = Vec::new();
    file.take(FILE).read_to_end(&mut text).ok()?;
    let mut report: LiveReport = serde_json::from_slice(&text)
        .map_err(|error| tracing::warn!(template, %error, "the report of its conformance run cannot be read"))
        .ok()?;
    report.outdated = version != Some(report.version.as_str());
    Some(report)
}

#[cfg(test)]
mod tests;
