//! Why a job waits, in words for people. Pure.
//!
//! Reasons as in <https://slurm.schedmd.com/job_reason_codes.html>, and the texts that slurmctld puts in their place
//! (20.11 to 26.05). Those of limits say themselves who reached which one: they are taken apart rather than listed. A
//! reason that is not known is shown as it is.

use std::borrow::Cow;

/// In words; `None` for reasons that say nothing (`None`) and for ones that nobody knows.
pub(super) fn reason(reason: &str) -> Option<Cow<'static, str>> {
    plain(reason)
        .or_else(|| text(&spaced(reason)))
        .map(Cow::Borrowed)
        .or_else(|| limit(reason).map(Cow::Owned))
}

/// Whether a waiting job with this reason waits for a person rather than for its turn.
pub(super) fn is_hold(reason: &str) -> bool {
    let text = spaced(reason);
    matches!(reason, "JobHeldUser" | "JobHeldAdmin" | "JobHoldMaxRequeue" | "ReservationDeleted")
        || text.contains("requeued held")
        || text.contains("in held state")
}

/// Some releases write slurmctld's texts with `_` between their words.
fn spaced(reason: &str) -> String {
    reason.replace('_', " ")
}

/// Reasons that are one word.
fn plain(word: &str) -> Option<&'static str> {
    Some(match word {
        "Priority" => "waiting for jobs of higher priority",
        "Resources" => "waiting for resources",
        "WaitingForScheduling" | "SchedDefer" => "waiting for the scheduler to look at it",
        "Dependency" => "waiting for another job",
        "DependencyNeverSatisfied" => "waits for another job that will never fit: it cannot start",
        "BeginTime" => "waiting for the time at which it may begin",
        "JobHeldUser" => "held by its user",
        "JobHeldAdmin" => "held by an administrator",
        "JobHoldMaxRequeue" => "held: it was put back into the queue too often",
        "JobArrayTaskLimit" => "waiting for other tasks of its array",
        "JobLaunchFailure" => "could not be launched; the administrator has to look",
        "NodeDown" | "ReqNodeNotAvail" | "NodesDown" => "waiting for a node that is down or reserved",
        "FrontEndDown" => "waiting for a front end",
        "PartitionDown" => "its partition is down",
        "PartitionInactive" => "its partition takes no jobs now",
        "PartitionNodeLimit" => "asks for more than its partition has",
        "PartitionTimeLimit" => "asks for more time than its partition gives",
        "PartitionConfig" => "does not fit its partition",
        "Licenses" => "waiting for a licence",
        "Reservation" => "waiting for its reservation",
        "ReservationDeleted" => "held: its reservation was deleted",
        "ReservationInvalid" => "its reservation is not valid (any more)",
        "PowerNotAvail" => "waiting for electric power",
        "PowerReserved" => "waiting for electric power that is reserved",
        "MaxPoweredUpNodes" => "waiting until fewer nodes are powered up",
        "MpiPortsBusy" => "waiting for network ports of its nodes",
        "InvalidAccount" => "its account is not valid (any more)",
        "InvalidQOS" => "its quality of service is not valid (any more)",
        "AccountNotAllowed" => "its account may not use the partition",
        "QOSNotAllowed" => "its quality of service may not be used here",
        "AccountingPolicy" => "waiting for a limit of its account",
        "BadConstraints" | "Constraints" => "no node can ever fit what it asks for",
        "Cleaning" => "waiting until its last run is cleaned up",
        "Prolog" => "its node is being prepared",
        "FedJobLock" => "waiting for the clusters of its federation",
        "BurstBufferResources" | "BurstBufferStageIn" | "BurstBufferOperation" => {
            "waiting for the burst buffer"
        }
        "QOSUsageThreshold" => "waiting until usage falls below its quality of service's threshold",
        "MaxMemPerLimit" => "asks for more memory than is allowed",
        // Of jobs that are over.
        "SystemFailure" => "failed by the system",
        "TimeLimit" => "its time was up",
        "DeadLine" => "it could not end before its deadline",
        "InactiveLimit" => "was idle for too long",
        "NonZeroExitCode" => "ended with an error",
        "RaisedSignal" => "was ended by a signal",
        "OutOfMemory" => "was ended for memory",
        _ => return None,
    })
}

/// slurmctld's own texts.
fn text(text: &str) -> Option<&'static str> {
    let says = |known: &str| text.contains(known);
    if says("Nodes required for job are DOWN") || says("ReqNodeNotAvail") {
        Some("waiting for nodes that are down or reserved")
    } else if says("launch failed requeued held") {
        Some("held: it could not be launched")
    } else if says("user env retrieval failed") {
        Some("held: its user's environment could not be read")
    } else if says("requeued held") || says("in held state") {
        Some("held: it was put back into the queue")
    } else {
        None
    }
}

/// Reasons that name a limit: `QOSMaxCpuPerUserLimit`, `AssocGrpGRESRunMinutes`, `MaxJobsPerAccount`.
fn limit(word: &str) -> Option<String> {
    let (whose, rest) = [
        ("QOS", "quality of service"),
        ("Association", "account"),
        ("Assoc", "account"),
        ("Max", "quality of service"),
    ]
    .into_iter()
    .find_map(|(prefix, whose)| Some((whose, word.strip_prefix(prefix)?)))?;
    let what = resource(rest);
    let of = what.map_or_else(String::new, |what| format!(" of {what}"));
    let more = what.map_or_else(|| "more".to_owned(), |what| format!("more {what}"));
    let says = |known: &str| rest.contains(known);
    Some(if rest.starts_with("Grp") {
        format!("waiting: the jobs of its {whose} together are at their limit{of}")
    } else if rest.starts_with("Min") {
        format!("has to ask for {more}: its {whose} requires it")
    } else if says("PerUser") {
        format!("waiting: its user's jobs are at the limit{of} of their {whose}")
    } else if says("PerAccount") {
        format!("waiting: its account's jobs are at the limit{of} of their {whose}")
    } else if says("PerJob") || says("PerNode") {
        format!("asks for {more} than its {whose} gives one job")
    } else {
        format!("waiting for a limit{of} of its {whose}")
    })
}

/// What a limit is one of; longer words before those that they contain.
fn resource(rest: &str) -> Option<&'static str> {
    let of_time = ["Minutes", "Mins"].iter().any(|word| rest.contains(word));
    let known = [
        ("WallDuration", "time"),
        ("Wall", "time"),
        ("Time", "time"),
        ("SubmitJob", "submitted jobs"),
        ("Billing", "billing"),
        ("BB", "burst buffer"),
        ("Cpu", "processors"),
        ("CPU", "processors"),
        ("Energy", "energy"),
        ("GRES", "devices such as GPUs"),
        ("License", "licences"),
        ("Mem", "memory"),
        ("Node", "nodes"),
        ("Job", "jobs"),
    ];
    // `PerJob` and `PerNode` say whose limit it is.
    let rest = ["PerJob", "PerNode", "PerUser", "PerAccount"]
        .iter()
        .fold(rest.to_owned(), |rest, per| rest.replace(per, ""));
    let (_, what) = known.into_iter().find(|(word, _)| rest.contains(word))?;
    Some(match (what, of_time) {
        ("processors", true) => "processor time",
        ("devices such as GPUs", true) => "time of devices such as GPUs",
        ("nodes", true) => "node time",
        ("memory", true) => "memory over time",
        (what, _) => what,
    })
}

#[cfg(test)]
mod tests;
