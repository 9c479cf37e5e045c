//! Reads what sinfo and sacctmgr print of what users may choose. Pure: text in, rows out.
//!
//! A line that does not fit is left out and never spoils the others, as in [`super::table`].

use std::time::Duration;

use wharf_protocol::Dur;

use super::table::plain;

/// The format of [`partitions`]: a line for each kind of nodes of each partition.
pub(super) const PARTITIONS: &str = "%R|%a|%l|%P|%c|%m|%G";

/// One partition, with what its largest nodes have.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct Partition {
    pub(super) name: String,
    available: bool,
    default: bool,
    /// In Slurm's words.
    time_limit: String,
    /// The same as a parameter of the type `duration` takes it; none: there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    longest: Option<Dur>,
    /// Of one node.
    cpus: u64,
    /// Of one node, in MiB.
    memory_mib: u64,
    /// Of one node.
    gpus: u64,
}

/// The partitions, the default one first.
pub(super) fn partitions(text: &str) -> Vec<Partition> {
    let mut found: Vec<Partition> = Vec::new();
    for line in text.lines() {
        let mut fields = line.split('|').map(str::trim);
        let (Some(name), Some(available), Some(limit), Some(marked)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if name.is_empty() || name.contains(char::is_whitespace) {
            continue;
        }
        let mut number = || number(fields.next().unwrap_or_default());
        let (cpus, memory_mib) = (number(), number());
        let gpus = fields.next().map_or(0, gpus);
        if let Some(known) = found.iter_mut().find(|one| one.name == name) {
            known.cpus = known.cpus.max(cpus);
            known.memory_mib = known.memory_mib.max(memory_mib);
            known.gpus = known.gpus.max(gpus);
            continue;
        }
        found.push(Partition {
            name: plain(name),
            available: available == "up",
            default: marked.ends_with('*'),
            time_limit: plain(limit),
            longest: duration(limit).map(Dur),
            cpus,
            memory_mib,
            gpus,
        });
    }
    found.sort_by_key(|one| !one.default);
    found
}

/// `64`, or `64+` where nodes differ.
fn number(text: &str) -> u64 {
    text.trim_end_matches('+').parse().unwrap_or(0)
}

/// `days-hours:minutes:seconds`, without what is zero in front; `infinite` is none.
fn duration(text: &str) -> Option<Duration> {
    let (days, rest) = text.split_once('-').unwrap_or(("0", text));
    let mut seconds = days.parse::<u64>().ok()?.checked_mul(86_400)?;
    let parts: Vec<u64> = rest.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
    let (hours, minutes, rest) = match (parts.as_slice(), text.contains('-')) {
        ([hours, minutes, seconds], _) => (*hours, *minutes, *seconds),
        ([minutes, seconds], false) => (0, *minutes, *seconds),
        _ => return None,
    };
    seconds = seconds.checked_add(hours.checked_mul(3600)?)?;
    Some(Duration::from_secs(seconds.checked_add(minutes.checked_mul(60)?)?.checked_add(rest)?))
}

/// The GPUs of `gpu:a100:4(S:0-1),gpu:2,shard:8`.
fn gpus(text: &str) -> u64 {
    // What stands in brackets may hold commas.
    let mut depth = 0;
    let bare: String = text
        .chars()
        .filter(|letter| {
            depth += i32::from(*letter == '(');
            let is_outside = depth == 0;
            depth -= i32::from(*letter == ')');
            is_outside
        })
        .collect();
    let of_one = |entry: &str| {
        let rest = entry.strip_prefix("gpu")?;
        (rest.is_empty() || rest.starts_with(':')).then(|| rest.rsplit(':').next()?.parse::<u64>().ok())?
    };
    bare.split(',').filter_map(of_one).sum()
}

/// Accounts and QOS of `sacctmgr -n -P show assoc format=account,qos`, without repeats.
pub(super) fn associations(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut accounts, mut qos): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let fits = |word: &str| !word.is_empty() && !word.contains(char::is_whitespace);
    for line in text.lines() {
        let Some((account, list)) = line.trim_end().split_once('|') else { continue };
        if !fits(account) {
            continue;
        }
        let all = std::iter::once((account, true)).chain(list.split(',').map(|word| (word, false)));
        for (word, is_account) in all {
            let into = if is_account { &mut accounts } else { &mut qos };
            if fits(word) && !into.iter().any(|known| known == word) {
                into.push(plain(word));
            }
        }
    }
    (accounts, qos)
}

#[cfg(test)]
mod tests;
