use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::launcher::Home;
use crate::{Output, cli};

fn call(home: &Home, hook: &str, request: &Value) -> Output {
    let mut command = Command::new(home.templates().join("t/hooks").join(hook));
    command.arg(hook).env_clear().env("PATH", "/usr/bin:/bin").env("WHARF_HOOK", hook);
    command.env("WHARF_SESSION_ID", "aaaaaaaaaaaaaaaaaaaa");
    let document = json!({"api": 1, "hook": hook, "request": request}).to_string();
    cli::run(command, document.as_bytes(), Duration::from_secs(10))
}

/// What `find` and `status` answer.
fn result(output: &Output) -> Value {
    output.json()["result"].clone()
}

#[test]
fn a_queued_job_is_kept_found_and_queued() {
    let home = Home::new();
    home.install(&Template::queueing("t"));
    let monitor =
        json!({"argv": ["/opt/wharf-monitor", "run", "--bootstrap", "/data/a/bootstrap.json"], "dir": "/d"});
    let taken =
        call(&home, "submit", &json!({"session": {"command": ["x\"argv\":[1]"]}, "monitor": monitor}));
    assert_eq!(taken.ok(), "q-aaaaaaaaaaaaaaaaaaaa");
    let queue = fs::read_to_string(home.journal().join("queue")).expect("the journal");
    assert_eq!(
        queue,
        "aaaaaaaaaaaaaaaaaaaa q-aaaaaaaaaaaaaaaaaaaa /opt/wharf-monitor /data/a/bootstrap.json\n"
    );
    let sessions = json!([{"id": "aaaaaaaaaaaaaaaaaaaa"}, {"id": "bbbbbbbbbbbbbbbbbbbb"}]);
    let found = result(&call(&home, "find", &json!({"sessions": sessions})));
    assert_eq!(
        found,
        json!({"aaaaaaaaaaaaaaaaaaaa": "q-aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb": false})
    );
    let jobs = json!([{"job_id": "q-aaaaaaaaaaaaaaaaaaaa"}, {"job_id": "999999999:1:00000000"}]);
    let states = result(&call(&home, "status", &json!({"jobs": jobs})));
    assert_eq!(states["q-aaaaaaaaaaaaaaaaaaaa"], json!({"state": "queued"}));
    assert_eq!(states["999999999:1:00000000"], json!({"state": "gone"}));
    let calls = fs::read_to_string(home.journal().join("calls")).expect("the journal");
    assert_eq!(calls.lines().count(), 3, "{calls}");
}

#[test]
fn ending_a_job_hits_what_carries_its_id_and_not_the_hook() {
    let home = Home::new();
    home.install(&Template::working("t"));
    let mut job = Command::new("sleep");
    job.arg("1000").env_clear().env("WHARF_SESSION_ID", "aaaaaaaaaaaaaaaaaaaa").env("HOME", home.path());
    let mut job = job.spawn().expect("sleep is there");
    let output = call(&home, "terminate", &json!({"job_id": "x", "mode": "kill"}));
    assert_eq!(output.ok(), "");
    assert_eq!(cli::finish(&mut job, Duration::from_secs(5)), 128 + 9);
}
