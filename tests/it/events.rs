//! The event stream: updates, deletes, resuming.

use std::time::Duration;

use serde_json::json;
use wharf_tests::events::Events;
use wharf_tests::{Launcher, Template};

const SOON: Duration = Duration::from_secs(15);

#[test]
fn a_sessions_life_is_told_in_order() {
    let launcher = Launcher::with(&Template::working("plain"));
    let mut events = Events::open(&launcher.http(), None);
    let id = launcher.start_session(&json!({"template": "plain"}));
    let state = |event: &wharf_tests::events::Event, wanted: &str| {
        event.kind == "session"
            && event.data["type"] == "update"
            && event.data["session"]["id"] == id.as_str()
            && event.data["session"]["state"] == wanted
    };
    let first = events.expect("pending", SOON, |event| state(event, "pending"));
    assert!(!first.id.is_empty());
    let running = events.expect("running", SOON, |event| state(event, "running"));
    assert!(running.data["session"]["rev"].as_u64() > first.data["session"]["rev"].as_u64());
    launcher.terminate(&id, "15s");
    let ended = events.expect("ended", SOON, |event| state(event, "ended"));
    assert_eq!(ended.data["session"]["end"]["cause"], "terminated");
    assert_eq!(launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})).status, 204);
    let gone = events.expect("delete", SOON, |event| event.data["type"] == "delete");
    assert_eq!(gone.data["session"], json!({"id": id}));
}

#[test]
fn a_stream_resumes_after_an_id_and_resets_after_an_unknown_one() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let mut events = Events::open(&launcher.http(), None);
    let first = launcher.start_session(&json!({"template": "queue"}));
    let seen = events.expect("the first", SOON, |event| event.data["session"]["id"] == first.as_str());
    drop(events);
    let second = launcher.start_session(&json!({"template": "queue"}));
    let mut resumed = Events::open(&launcher.http(), Some(&seen.id));
    resumed.expect("what was missed", SOON, |event| {
        assert_ne!(event.kind, "reset", "{event:?}");
        event.data["session"]["id"] == second.as_str()
    });
    for unknown in ["nonsense", "999999999999", "-1"] {
        let mut lost = Events::open(&launcher.http(), Some(unknown));
        lost.expect("one reset", SOON, |event| event.kind == "reset");
        let third = launcher.start_session(&json!({"template": "queue"}));
        lost.expect("then live", SOON, |event| {
            assert_ne!(event.kind, "reset", "{event:?}");
            event.data["session"]["id"] == third.as_str()
        });
    }
}

#[test]
fn the_command_line_prints_one_json_line_an_event() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let mut command = launcher.home().command(&["events", "--output", "jsonl"]);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().expect("wharf is there");
    let stdout = child.stdout.take().expect("it is piped");
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::BufRead::lines(std::io::BufReader::new(stdout)).map_while(Result::ok) {
            _ = sender.send(line);
        }
    });
    let line = wharf_tests::until("an event's line", SOON, || {
        launcher.start_session(&json!({"template": "queue"}));
        match lines.recv_timeout(Duration::from_millis(500)) {
            Ok(line) => wharf_tests::Probe::Ready(line),
            Err(error) => wharf_tests::Probe::NotYet(error.to_string()),
        }
    });
    let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(event["type"], "update", "{event}");
    _ = child.kill();
    _ = child.wait();
}

#[test]
fn reading_params_or_lists_is_no_change() {
    let launcher = Launcher::with(&Template::queueing("queue").without("status"));
    let id = launcher.start_session(&json!({"template": "queue"}));
    launcher.await_session(&id, "submitted", SOON, |session| session["phase"] == "submitted");
    let rev = launcher.session(&id)["rev"].clone();
    for _ in 0..5 {
        launcher.http().get("/sessions").expect(200);
        launcher.http().get(&format!("/sessions/{id}/params")).expect(200);
    }
    assert_eq!(launcher.session(&id)["rev"], rev);
}
