//! Reasons as "Job Reason Codes" of Slurm's documentation has them, and as slurmctld 22.05 writes them.

use super::{is_hold, reason};

#[test]
fn reasons_are_words_for_people_and_holds_are_told() {
    let table = [
        ("Priority", "waiting for jobs of higher priority"),
        ("Resources", "waiting for resources"),
        (
            "QOSGrpCpuLimit",
            "waiting: the jobs of its quality of service together are at their limit of processors",
        ),
        (
            "QOSGrpCPURunMinutesLimit",
            "waiting: the jobs of its quality of service together are at their limit of processor time",
        ),
        (
            "AssocGrpGRES",
            "waiting: the jobs of its account together are at their limit of devices such as GPUs",
        ),
        (
            "QOSMaxJobsPerUserLimit",
            "waiting: its user's jobs are at the limit of jobs of their quality of service",
        ),
        (
            "MaxNodePerAccount",
            "waiting: its account's jobs are at the limit of nodes of their quality of service",
        ),
        ("AssocMaxNodePerJobLimit", "asks for more nodes than its account gives one job"),
        ("QOSMaxWallDurationPerJobLimit", "asks for more time than its quality of service gives one job"),
        ("QOSMinGRES", "has to ask for more devices such as GPUs: its quality of service requires it"),
        ("AssocMaxJobsLimit", "waiting for a limit of jobs of its account"),
        ("QOSResourceLimit", "waiting for a limit of its quality of service"),
        ("ReqNodeNotAvail, UnavailableNodes:n1", "waiting for nodes that are down or reserved"),
        (
            "Nodes_required_for_job_are_DOWN,_DRAINED_or_reserved",
            "waiting for nodes that are down or reserved",
        ),
        ("job requeued in held state", "held: it was put back into the queue"),
    ];
    for (word, words) in table {
        assert_eq!(reason(word).as_deref(), Some(words), "{word}");
    }
    for none in ["None", "SomethingNew", ""] {
        assert_eq!(reason(none), None, "{none:?}");
    }
    for held in
        ["JobHeldAdmin", "job_requeued_in_held_state", "launch failed requeued held", "ReservationDeleted"]
    {
        assert!(is_hold(held), "{held}");
    }
    assert!(!is_hold("Priority") && !is_hold("JobArrayTaskLimit"));
}

#[test]
fn every_reason_of_the_documentation_has_words() {
    let plain = "AccountNotAllowed AccountingPolicy BadConstraints BeginTime BurstBufferOperation BurstBufferResources \
        BurstBufferStageIn Cleaning Constraints DeadLine Dependency DependencyNeverSatisfied FedJobLock FrontEndDown \
        InactiveLimit InvalidAccount InvalidQOS JobArrayTaskLimit JobHeldAdmin JobHeldUser JobHoldMaxRequeue \
        JobLaunchFailure Licenses MaxMemPerLimit MaxPoweredUpNodes MpiPortsBusy NodeDown NonZeroExitCode OutOfMemory \
        PartitionConfig PartitionDown PartitionInactive PartitionNodeLimit PartitionTimeLimit PowerNotAvail \
        PowerReserved Priority Prolog QOSJobLimit QOSNotAllowed QOSResourceLimit QOSTimeLimit QOSUsageThreshold \
        RaisedSignal ReqNodeNotAvail Reservation ReservationDeleted ReservationInvalid Resources SchedDefer \
        SystemFailure TimeLimit WaitingForScheduling AssociationJobLimit AssociationResourceLimit \
        AssociationTimeLimit AssocMaxJobsLimit AssocMaxSubmitJobLimit AssocMaxCpuMinutesPerJobLimit \
        AssocMaxCpuPerJobLimit AssocMaxNodePerJobLimit AssocMaxWallDurationPerJobLimit QOSMinCpuNotSatisfied \
        QOSMaxCpuMinutesPerJobLimit QOSMaxCpuPerJobLimit QOSMaxCpuPerUserLimit QOSMaxJobsPerUserLimit \
        QOSMaxNodePerJobLimit QOSMaxNodePerUserLimit QOSMaxSubmitJobPerUserLimit QOSMaxWallDurationPerJobLimit \
        MaxJobsPerAccount MaxSubmitJobsPerAccount";
    let mut known: Vec<String> = plain.split_whitespace().map(str::to_owned).collect();
    for whose in ["QOS", "Assoc"] {
        for group in [
            "CpuLimit",
            "CPUMinutesLimit",
            "CPURunMinutesLimit",
            "JobsLimit",
            "MemLimit",
            "NodeLimit",
            "SubmitJobsLimit",
            "WallLimit",
        ] {
            known.push(format!("{whose}Grp{group}"));
        }
    }
    for what in ["BB", "Billing", "Cpu", "Energy", "GRES", "License", "Mem", "Memory", "Node", "Unknown"] {
        for whose in ["QOS", "Assoc"] {
            known.extend(["", "Minutes", "RunMinutes"].map(|unit| format!("{whose}Grp{what}{unit}")));
            known.extend(
                ["PerJob", "PerNode", "PerUser", "MinutesPerJob"].map(|per| format!("{whose}Max{what}{per}")),
            );
        }
        known.push(format!("QOSMin{what}"));
        known.extend(
            ["PerAccount", "RunMinsPerAccount", "RunMinsPerUser"].map(|per| format!("Max{what}{per}")),
        );
    }
    for word in known {
        let words = reason(&word).unwrap_or_else(|| panic!("{word} has no words"));
        assert!(!words.contains(&word) && words.chars().all(|letter| letter != '_'), "{word}: {words}");
    }
}
