//! Slurm's words: job states, and what an error text means. Pure; reasons for waiting are in [`super::reasons`].
//!
//! States as in squeue(1) of 20.11 to 25.05; a word that is not here is a state that nobody can tell.

use wharf_core::hook::HookErrorKind;
use wharf_protocol::{EndCause, JobState};

/// What a state means: ours, and the cause when it is an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) state: JobState,
    pub(super) cause: Option<EndCause>,
}

const fn alive(state: JobState) -> Meaning {
    Meaning { state, cause: None }
}

const fn ended(cause: Option<EndCause>) -> Meaning {
    Meaning { state: JobState::Ended, cause }
}

/// Reads a state, long or compact, with whatever follows it (`CANCELLED by 1000`, `CANCELLED+`).
pub(super) fn state(word: &str) -> Meaning {
    let word = word.split_whitespace().next().unwrap_or_default().trim_end_matches('+');
    match word {
        "PENDING" | "PD" | "REQUEUED" | "RQ" | "REQUEUE_FED" | "RF" => alive(JobState::Queued),
        "REQUEUE_HOLD" | "RH" | "SPECIAL_EXIT" | "SE" | "RESV_DEL_HOLD" | "RD" => alive(JobState::Held),
        "CONFIGURING" | "CF" | "POWER_UP_NODE" => alive(JobState::Starting),
        "RUNNING" | "R" | "RESIZING" | "RS" | "SIGNALING" | "SI" => alive(JobState::Running),
        "SUSPENDED" | "S" | "STOPPED" | "ST" => alive(JobState::Suspended),
        "COMPLETING" | "CG" | "STAGE_OUT" | "SO" => alive(JobState::Completing),
        "COMPLETED" | "CD" | "FAILED" | "F" | "LAUNCH_FAILED" | "RECONFIG_FAIL" => ended(None),
        // By somebody outside Wharf; who asked for it himself is told "terminated" before this is looked at.
        "CANCELLED" | "CA" => ended(Some(EndCause::Vanished)),
        "TIMEOUT" | "TO" | "DEADLINE" | "DL" => ended(Some(EndCause::Timeout)),
        "OUT_OF_MEMORY" | "OOM" => ended(Some(EndCause::OutOfMemory)),
        "NODE_FAIL" | "NF" | "BOOT_FAIL" | "BF" => ended(Some(EndCause::NodeFailed)),
        "PREEMPTED" | "PR" => ended(Some(EndCause::Preempted)),
        // Another cluster of the federation may have it.
        _ => alive(JobState::Unknown),
    }
}

/// Whether the text says that Slurm surely knows no such job.
pub(super) fn is_no_such_job(text: &str) -> bool {
    text.contains("Invalid job id specified") || text.contains("Invalid job id ")
}

/// Whether a text is the controller's (or the database's) absence, or a glitch on the way: nobody can tell.
pub(super) fn is_absence(text: &str) -> bool {
    [
        "Unable to contact slurm controller",
        "Unable to establish controller machine",
        "Unable to contact",
        "Socket timed out",
        "Connection refused",
        "Connection timed out",
        "standby mode",
        "Zero Bytes were transmitted",
        "Unexpected message received",
        "communication connection failure",
        "Problem talking to the database",
        "slurmdbd",
        "Resource temporarily unavailable",
        "Could not authenticate",
        "Protocol authentication error",
        "Munge",
        "MUNGE",
    ]
    .iter()
    .any(|known| text.contains(known))
}

/// What a failed sbatch means. Only what surely left nothing in the queue has a kind of its own; anything else is
/// `command_failed`: the job is looked for.
pub(super) fn refusal(text: &str) -> HookErrorKind {
    let says = |known: &[&str]| known.iter().any(|known| text.contains(known));
    // The connection was never made, so nothing was sent.
    if says(&["controller (connect failure)", "Unable to establish controller machine", "standby mode"]) {
        return HookErrorKind::Unavailable;
    }
    // The request was on its way, or may have been.
    if says(&[
        "(receive failure)",
        "(send failure)",
        "(shutdown failure)",
        "Socket timed out",
        "Zero Bytes",
        "Unexpected message",
        "Unable to contact slurm controller",
        "Connection reset",
        "Broken pipe",
    ]) {
        return HookErrorKind::CommandFailed;
    }
    // munge refuses before anything is sent.
    if says(&["Munge encode failed", "Failed to access \"/run/munge", "Resource temporarily unavailable"]) {
        return HookErrorKind::Unavailable;
    }
    if says(&[
        "Access/permission denied",
        "Permission denied",
        "User's group not permitted",
        "Job has invalid credential",
        "Invalid account or account/partition combination",
        "not permitted to use this partition",
        "Submission not allowed",
    ]) {
        return HookErrorKind::Denied;
    }
    if says(&[
        "invalid partition specified",
        "Invalid partition name",
        "Invalid account",
        "Invalid qos",
        "Invalid feature",
        "Invalid license",
        "Invalid generic resource",
        "Invalid Trackable RESource",
        "Invalid wckey",
        "Invalid node name",
        "Invalid node count",
        "Invalid number of tasks",
        "Invalid time limit",
        "Invalid --time",
        "Invalid --mem",
        "invalid memory constraint",
        "Requested reservation is invalid",
        "Requested reservation not",
        "Requested node configuration is not available",
        "Requested time limit is invalid",
        "Requested partition configuration not available",
        "Node count specification invalid",
        "CPU count per node can not be satisfied",
        "Memory specification can not be satisfied",
        "More processors requested than permitted",
        "Job violates accounting/QOS policy",
        "Invalid job array specification",
        "Pathname of a file, directory or other parameter too long",
        "Script is empty",
        "Required node not available",
        "Required partition not available",
        "unrecognized option",
        "invalid option",
    ]) {
        return HookErrorKind::Invalid;
    }
    HookErrorKind::CommandFailed
}

#[cfg(test)]
mod tests;
