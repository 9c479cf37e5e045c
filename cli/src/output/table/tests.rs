use super::*;
use crate::args::Format;

const PIPED: Output = Output { format: Format::Table, terminal: false, error_terminal: false };

fn a_session(name: &str) -> Session {
    serde_json::from_value(serde_json::json!({
        "id": "k3v9x2m7q4t8w1z6b5n0", "name": name, "owner": "alice", "template": "slurm", "backend": "slurm",
        "scheduler": "slurm", "state": "pending", "phase": "submitted", "link": "none", "terminating": false,
        "reason": {"code": "queued", "message": "waiting (Priority)"},
        "job": {"id": "8123", "node": null, "state": "queued", "raw": "PENDING", "reason": "Priority",
                "position": null, "starts_at": null, "ends_at": null, "checked_at": null},
        "command": ["sh", "-c", "echo 'a b'"], "params": {"partition": "gpu", "n": 2}, "tags": {"k": "v"},
        "connections": 0, "created_at": "2026-01-01T10:00:00Z", "submitted_at": null, "started_at": null,
        "ended_at": null, "end": null, "launcher": "n", "rev": 1, "params_rev": 1
    }))
    .unwrap()
}

#[test]
fn a_piped_list_is_plain_and_exact() {
    insta::assert_snapshot!(sessions(&PIPED, &[a_session("one"), a_session("\u{1b}]0;owned\u{7}")]));
    assert!(!sessions(&PIPED, &[]).is_empty(), "the heads stay, for whoever reads by column");
}

#[test]
fn a_session_in_full() {
    insta::assert_snapshot!(session(&PIPED, &a_session("one"), &[]));
}

#[test]
fn a_list_tells_the_place_in_the_queue_and_when_time_is_over() {
    let mut one = a_session("one");
    let at = |text: &str| text.parse::<Time>().ok();
    if let Some(job) = &mut one.job {
        job.position = Some(3);
        job.starts_at = at("2026-01-01T12:00:00Z");
        job.ends_at = at("2026-01-01T14:00:00Z");
    }
    assert_eq!(outlook(&PIPED, &one), "waiting (Priority); place 3; expected 2026-01-01T12:00:00Z");
    let shown = session(&PIPED, &one, &[]);
    assert!(shown.lines().any(|line| line.starts_with("place in queue") && line.ends_with('3')), "{shown}");
    (one.state, one.reason) = (State::Running, None);
    if let Some(job) = &mut one.job {
        job.reason = None;
    }
    assert_eq!(outlook(&PIPED, &one), "ends 2026-01-01T14:00:00Z");
}

#[test]
fn command_lines_are_quoted_as_a_shell_would_read_them() {
    let argv = ["sh", "-c", "it's", ""].map(str::to_owned);
    assert_eq!(words(&argv), r"sh -c 'it'\''s' ''");
}

#[test]
fn ages_are_short() {
    let now: Time = jiff::Timestamp::now().into();
    let before = |seconds: i64| Time::from_millis(now.millis() - seconds * 1000);
    for (seconds, text) in [(5, "5s"), (180, "3m"), (3 * 3600, "3h"), (3 * 86_400, "3d")] {
        assert_eq!(age(before(seconds)), text);
    }
    assert!(age(before(-400)).starts_with("in "));
}
