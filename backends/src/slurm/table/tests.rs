//! Answers as squeue(1), sacct(1) and sbatch(1) document them (Slurm 20.11 to 25.05), and odd
//! ones that sites see.

use wharf_protocol::EndCause;

use super::*;

#[test]
fn a_queue_is_read_and_odd_rows_spoil_nothing() {
    let text = "\
CLUSTER: main
slurm_load_jobs: this is a warning that a site prints
101|RUNNING|2|0|n1|2026-01-01T10:00:00|2026-01-01T12:30:00|None|
102|PENDING|0|0||2026-01-02T08:00:00|N/A|Priority|
103|PENDING|0|0||N/A|N/A|JobHeldUser|
104|PENDING|0|0||N/A|N/A|(Nodes required for job are DOWN, DRAINED or reserved | odd)|
105_[1-9]|PENDING|0|0||N/A|N/A|Resources|
106+0|RUNNING|0|0|n1|N/A|N/A|None|
107|FLYING|0|0||N/A|N/A|None|
108|FAILED|0|1792|n[1-2]|N/A|N/A|NonZeroExitCode|
109|SUSPENDED|x|0|n3|bad|worse|None|
110|RUNNING|0|0|n1|2026-01-01T10:00:00|2026-01-0
";
    let rows = queue(text);
    let ids: Vec<&str> = rows.keys().map(String::as_str).collect();
    assert_eq!(ids, ["101", "102", "103", "104", "107", "108", "109"]);
    let running = &rows["101"];
    assert_eq!(
        (running.state, running.restarts, running.reason.as_deref()),
        (JobState::Running, Some(2), None)
    );
    assert_eq!(running.node.as_deref(), Some("n1"));
    assert_eq!(running.ends_at.map(|at| at.to_string()).as_deref(), Some("2026-01-01T12:30:00Z"));
    let waiting = &rows["102"];
    assert_eq!(waiting.reason.as_deref(), Some("waiting for jobs of higher priority (Priority)"));
    assert_eq!(waiting.starts_at.map(|at| at.to_string()).as_deref(), Some("2026-01-02T08:00:00Z"));
    assert_eq!((rows["103"].state, rows["103"].starts_at), (JobState::Held, None));
    assert_eq!(rows["104"].state, JobState::Queued);
    assert_eq!((rows["107"].state, rows["107"].raw.as_deref()), (JobState::Unknown, Some("FLYING")));
    assert_eq!((rows["108"].state, rows["108"].exit_code), (JobState::Ended, Some(7)));
    assert_eq!(
        (rows["109"].state, rows["109"].restarts, rows["109"].ends_at),
        (JobState::Suspended, None, None)
    );
}

#[test]
fn places_in_the_queue_are_counted_in_each_partition_by_priority_and_age() {
    let text = "\
CLUSTER: other
4294901754|gpu|101|PENDING|0|0||N/A|N/A|Priority|
4294901754|gpu|99|PENDING|0|0||N/A|N/A|Priority|
4294901760|gpu|102|PENDING|0|0||N/A|N/A|Resources|
4294901760|gpu|103|RUNNING|0|0|n1|N/A|N/A|None|
0|gpu|104|PENDING|0|0||N/A|N/A|JobHeldUser|
7|cpu,gpu|105|PENDING|0|0||N/A|N/A|Priority|
odd|cpu|106|PENDING|0|0||N/A|N/A|Priority|
9|cpu|107_[1-3]|PENDING|0|0||N/A|N/A|Priority|
5|cpu|108|PENDING|0|0||N/A|N/A|Prio";
    let rows = ranked(text);
    let places: Vec<(&str, Option<u64>)> = rows.iter().map(|(id, row)| (id.as_str(), row.position)).collect();
    assert_eq!(
        places,
        [
            ("101", Some(3)),
            ("102", Some(1)),
            ("103", None),
            ("104", None),
            ("105", Some(1)),
            ("106", None),
            ("99", Some(2))
        ]
    );
}

#[test]
fn accounting_tells_ends() {
    let text = "\
101|TIMEOUT|0:0|2026-01-01T10:00:00|2026-01-01T11:00:00|n1|None
102|OUT_OF_MEMORY|0:125|2026-01-01T10:00:00|2026-01-01T11:00:00|n1|None
103|CANCELLED by 1000|0:15|Unknown|2026-01-01T11:00:00|None assigned|None
104|FAILED|3:0|2026-01-01T10:00:00|2026-01-01T11:00:00|n1|None
101.batch|CANCELLED|0:15|2026-01-01T10:00:00|2026-01-01T11:00:00|n1|
";
    let rows = accounting(text);
    let cause = |id: &str| rows[id].cause;
    assert_eq!(cause("101"), Some(EndCause::Timeout));
    assert_eq!(cause("102"), Some(EndCause::OutOfMemory));
    assert_eq!((cause("103"), rows["103"].node.as_deref()), (Some(EndCause::Vanished), None));
    assert_eq!((cause("104"), rows["104"].exit_code), (None, Some(3)));
    assert_eq!(rows.len(), 4);
}

#[test]
fn a_job_id_is_found_in_noise_or_not_at_all() {
    assert_eq!(submitted("8123\n"), Some("8123"));
    assert_eq!(submitted("8123;main\n"), Some("8123;main"));
    assert_eq!(submitted("Welcome, 12 nodes are free\n\n8123\r\nHave a nice day\n"), Some("8123"));
    for none in ["", "Submitted batch job 8123\n", "8123;-M\n", "8123;a b", "81230000000000", "-1"] {
        assert_eq!(submitted(none), None, "{none:?}");
    }
    assert_eq!(split_id("8123;main"), Some(("8123", Some("main"))));
    for none in ["8123_4", "8123+0", "--all", "8123;", "8123;--user=x", "1,2", "1 2"] {
        assert_eq!(split_id(none), None, "{none:?}");
    }
}
