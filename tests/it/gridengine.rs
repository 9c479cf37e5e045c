//! Sessions as jobs of a real Grid Engine, by template alone.

use std::time::Duration;

use serde_json::json;
use wharf_tests::{GridEngine, Launcher};

/// Grid Engine schedules every two seconds.
const RUNS: Duration = Duration::from_secs(60);

#[test]
fn the_conformance_run_passes() {
    let site = GridEngine::shared();
    let home = wharf_tests::Home::new();
    home.install(&site.template("sge", ""));
    let dir = home.templates().join("sge");
    let output = home.cli(&["template", "test", &dir.to_string_lossy(), "--live"]);
    assert!(output.ok().contains("ok    no orphans"), "{output:?}");
}

#[test]
fn a_session_runs_and_ends_with_all_that_it_started() {
    let site = GridEngine::shared();
    let launcher = Launcher::with(&site.template("sge", ""));
    let command = ["sh", "-c", "echo hello from $QUEUE; setsid sleep 1000 & exec sleep 1000"];
    let id = launcher.start_session(&json!({
        "template": "sge", "command": command, "params": {"queue": "main.q", "cores": 2, "time": "30m"},
    }));
    let session = launcher.await_session(&id, "running", RUNS, |session| session["link"] == "connected");
    assert_eq!((&session["backend"], &session["scheduler"]), (&json!("shell"), &json!("gridengine")));
    let seen = launcher.exec(&id, &["sh", "-c", "echo $JOB_ID $NSLOTS"]);
    assert_eq!(
        seen["stdout"],
        format!("{} 2\n", session["job"]["id"].as_str().unwrap_or_default()),
        "{seen}"
    );
    let logs = launcher.http().get(&format!("/sessions/{id}/logs"));
    assert!(logs.text().contains("hello from main.q"), "{logs}");
    let ended = launcher.terminate(&id, "30s");
    assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
    assert_eq!(launcher.inside(&id).len(), 0);
}

#[test]
fn a_held_job_is_pending_and_can_be_purged_and_comes_back() {
    let site = GridEngine::shared();
    let launcher = Launcher::with(&site.template("held", "[config]\noptions = [\"-h\"]"));
    let id = launcher.start_session(&json!({"template": "held", "command": ["sleep", "1000"]}));
    let session = launcher.await_session(&id, "held", RUNS, |session| session["job"]["state"] == "held");
    assert_eq!(
        (&session["state"], &session["reason"]["code"]),
        (&json!("pending"), &json!("held")),
        "{session}"
    );
    let job = session["job"]["id"].as_str().unwrap_or_default().to_owned();
    assert_eq!(launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})).status, 204);
    let released = std::process::Command::new("qrls")
        .arg(&job)
        .env("SGE_ROOT", "/var/lib/gridengine")
        .env("SGE_CELL", "default")
        .output();
    assert!(released.is_ok_and(|output| output.status.success()));
    launcher.await_reappeared(&id, RUNS);
    assert_eq!(launcher.terminate(&id, "30s")["end"]["cause"], "terminated");
}

#[test]
fn a_refused_job_ends_with_its_words() {
    let site = GridEngine::shared();
    let launcher = Launcher::with(&site.template("sge", ""));
    let choices = launcher.http().post("/templates/sge/options", &json!({"params": {}})).expect(200);
    assert_eq!(choices, json!({"queue": ["main.q"]}));
    let id = launcher.start_session(&json!({"template": "sge", "params": {"queue": "nowhere"}}));
    let ended = launcher.await_ended(&id, RUNS);
    assert_eq!(ended["end"]["cause"], "submit_failed", "{ended}");
    assert!(ended["end"]["message"].as_str().is_some_and(|said| said.contains("unknown queue")), "{ended}");
}
