//! States as squeue(1) of 20.11 to 25.05 documents them, and the texts of failing sbatch.

use super::*;

#[test]
fn every_job_state_has_a_meaning() {
    use JobState::{Completing, Ended, Held, Queued, Running, Starting, Suspended, Unknown};
    let table = [
        ("BOOT_FAIL", "BF", Ended, Some(EndCause::NodeFailed)),
        ("CANCELLED", "CA", Ended, Some(EndCause::Vanished)),
        ("COMPLETED", "CD", Ended, None),
        ("CONFIGURING", "CF", Starting, None),
        ("COMPLETING", "CG", Completing, None),
        ("DEADLINE", "DL", Ended, Some(EndCause::Timeout)),
        ("FAILED", "F", Ended, None),
        ("NODE_FAIL", "NF", Ended, Some(EndCause::NodeFailed)),
        ("OUT_OF_MEMORY", "OOM", Ended, Some(EndCause::OutOfMemory)),
        ("PENDING", "PD", Queued, None),
        ("PREEMPTED", "PR", Ended, Some(EndCause::Preempted)),
        ("RUNNING", "R", Running, None),
        ("RESV_DEL_HOLD", "RD", Held, None),
        ("REQUEUE_FED", "RF", Queued, None),
        ("REQUEUE_HOLD", "RH", Held, None),
        ("REQUEUED", "RQ", Queued, None),
        ("RESIZING", "RS", Running, None),
        ("REVOKED", "RV", Unknown, None),
        ("SIGNALING", "SI", Running, None),
        ("SPECIAL_EXIT", "SE", Held, None),
        ("STAGE_OUT", "SO", Completing, None),
        ("STOPPED", "ST", Suspended, None),
        ("SUSPENDED", "S", Suspended, None),
        ("TIMEOUT", "TO", Ended, Some(EndCause::Timeout)),
        ("LAUNCH_FAILED", "LAUNCH_FAILED", Ended, None),
    ];
    for (long, short, means, cause) in table {
        for word in [long, short] {
            assert_eq!(state(word), Meaning { state: means, cause }, "{word}");
        }
    }
    assert_eq!(state("CANCELLED by 1000").cause, Some(EndCause::Vanished));
    assert_eq!(state("CANCELLED+").cause, Some(EndCause::Vanished));
    for odd in ["", "SOMETHING_NEW", "running", "\u{1b}[31mRUNNING"] {
        assert_eq!(state(odd).state, Unknown, "{odd:?}");
    }
}

#[test]
fn what_surely_left_nothing_is_told_and_the_rest_is_unknown() {
    let failed = "sbatch: error: Batch job submission failed: ";
    let table = [
        ("Invalid partition name specified", HookErrorKind::Invalid),
        (
            "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
            HookErrorKind::Invalid,
        ),
        ("Requested node configuration is not available", HookErrorKind::Invalid),
        ("Invalid account or account/partition combination specified", HookErrorKind::Denied),
        ("User's group not permitted to use this partition", HookErrorKind::Denied),
        ("Unable to contact slurm controller (connect failure)", HookErrorKind::Unavailable),
        ("Slurm backup controller in standby mode", HookErrorKind::Unavailable),
        ("Unable to contact slurm controller (receive failure)", HookErrorKind::CommandFailed),
        ("Socket timed out on send/recv operation", HookErrorKind::CommandFailed),
        ("Zero Bytes were transmitted or received", HookErrorKind::CommandFailed),
        ("Something that nobody has seen", HookErrorKind::CommandFailed),
    ];
    for (text, kind) in table {
        assert_eq!(refusal(&format!("{failed}{text}")), kind, "{text}");
    }
}
