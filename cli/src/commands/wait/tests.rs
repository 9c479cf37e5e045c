use serde_json::{Value, json};

use super::*;

fn a_session(change: Value) -> Session {
    let mut session = json!({
        "id": "k3v9x2m7q4t8w1z6b5n0", "name": "n", "owner": "a", "template": "t", "backend": "shell",
        "scheduler": "shell", "state": "pending", "phase": "recorded", "link": "none", "terminating": false,
        "reason": null, "job": null, "command": ["x"], "params": {}, "tags": {}, "connections": 0,
        "created_at": "2026-01-01T10:00:00Z", "submitted_at": null, "started_at": null, "ended_at": null,
        "end": null, "launcher": "n", "rev": 1, "params_rev": 1
    });
    for (name, value) in change.as_object().cloned().unwrap_or_default() {
        session[name] = value;
    }
    serde_json::from_value(session).unwrap()
}

#[test]
fn what_is_reached_and_what_never_will_be() {
    let recorded = a_session(json!({}));
    let submitted = a_session(json!({"phase": "submitted"}));
    let running = a_session(json!({"state": "running", "phase": null}));
    let failed = a_session(json!({"state": "ended", "phase": null}));
    let ran = a_session(json!({"state": "ended", "phase": null, "submitted_at": "2026-01-01T10:00:00Z"}));
    for (session, goal, expected) in [
        (&recorded, Goal::Submitted, Reached::NotYet),
        (&submitted, Goal::Submitted, Reached::Yes),
        (&submitted, Goal::Running, Reached::NotYet),
        (&running, Goal::Submitted, Reached::Yes),
        (&running, Goal::Running, Reached::Yes),
        (&running, Goal::Ended, Reached::NotYet),
        (&failed, Goal::Submitted, Reached::Never),
        (&failed, Goal::Running, Reached::Never),
        (&failed, Goal::Ended, Reached::Yes),
        (&ran, Goal::Submitted, Reached::Yes),
        (&ran, Goal::Running, Reached::Never),
    ] {
        assert_eq!(reached(session, goal), expected, "{:?} {goal:?}", session.state);
    }
}

#[test]
fn ended_otherwise_is_exit_6_with_the_words() {
    let end = json!({"cause": "submit_failed", "exit_code": null, "signal": null, "message": "no such account", "stopped_by": null});
    let problem = otherwise(&a_session(json!({"state": "ended", "phase": null, "end": end})), Goal::Running);
    assert_eq!(problem.exit_code(), 6);
    assert!(problem.detail.contains("submit_failed") && problem.detail.contains("no such account"));
}
