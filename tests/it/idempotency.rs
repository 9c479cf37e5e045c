//! One key, one session, one job.

use std::collections::BTreeSet;

use serde_json::json;
use wharf_tests::{Launcher, Probe, Template, until};

#[test]
fn fifty_parallel_posts_with_one_key_make_one_job() {
    let launcher = Launcher::with(&Template::working("plain"));
    let http = launcher.http().with("idempotency-key", "one-key-for-all");
    let http = http.with("x-ignored", "1");
    let body = json!({"template": "plain", "command": ["sleep", "1000"], "tags": {"a": "1", "b": "2"}});
    let ids: Vec<(u16, String)> = std::thread::scope(|scope| {
        let posts: Vec<_> = (0..50)
            .map(|_| {
                scope.spawn(|| {
                    let answer = http.post("/sessions", &body);
                    assert!(matches!(answer.status, 200 | 201), "{answer}");
                    (answer.status, answer.json()["id"].as_str().expect("an id").to_owned())
                })
            })
            .collect();
        posts.into_iter().map(|post| post.join().expect("no panic")).collect()
    });
    let created = ids.iter().filter(|(status, _)| *status == 201).count();
    assert_eq!(created, 1, "{ids:?}");
    let distinct: BTreeSet<&String> = ids.iter().map(|(_, id)| id).collect();
    assert_eq!(distinct.len(), 1, "{distinct:?}");
    let id = &ids[0].1;
    launcher.await_connected(id);
    assert_eq!(launcher.calls("submit", None), 1);
    assert_eq!(launcher.jobs(id).len(), 1);
    assert_eq!(launcher.listed().len(), 1);
}

#[test]
fn a_key_is_compared_as_parsed_json_and_another_body_is_refused() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let http = launcher.http().with("idempotency-key", "k-1");
    let first = http.try_raw(
        "POST",
        "/api/v1/sessions",
        br#"{"template":"queue","name":"x","tags":{"a":"1","b":"2"}}"#.to_vec(),
    );
    let first = first.expect("an answer").expect(201);
    let again = http.try_raw(
        "POST",
        "/api/v1/sessions",
        br#" { "tags": {"b":"2", "a":"1"}, "name": "x", "template": "queue" } "#.to_vec(),
    );
    assert_eq!(again.expect("an answer").expect(200)["id"], first["id"]);
    http.post("/sessions", &json!({"template": "queue", "name": "y"})).problem(422, "key_reused");
    assert_eq!(launcher.listed().len(), 1);
    // A refused start spends no key.
    let http = launcher.http().with("idempotency-key", "k-2");
    http.post("/sessions", &json!({"template": "absent"})).problem(422, "unknown_template");
    http.post("/sessions", &json!({"template": "queue"})).expect(201);
}

#[test]
fn a_key_survives_a_restart_and_the_sessions_end() {
    let mut launcher = Launcher::with(&Template::working("plain"));
    let body = json!({"template": "plain", "command": ["true"]});
    let post = |launcher: &Launcher| launcher.http().with("idempotency-key", "k").post("/sessions", &body);
    let id = post(&launcher).expect(201)["id"].as_str().expect("an id").to_owned();
    launcher.await_ended(&id, std::time::Duration::from_secs(20));
    launcher.kill9();
    launcher.restart();
    assert_eq!(post(&launcher).expect(200)["id"], id.as_str());
    assert_eq!(launcher.jobs(&id).len(), 1, "no new job");
}

#[test]
fn malformed_keys_are_refused_and_the_command_line_takes_one() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    for key in ["", "with\ttab", &"x".repeat(256)] {
        let answer =
            launcher.http().with("idempotency-key", key).post("/sessions", &json!({"template": "queue"}));
        assert!(matches!(answer.status, 400 | 422), "key {key:?}: {answer}");
    }
    assert!(launcher.listed().is_empty());
    let first = launcher.cli(&["start", "queue", "--key", "mine"]).ok().trim().to_owned();
    let again = launcher.cli(&["start", "queue", "--key", "mine"]).ok().trim().to_owned();
    assert_eq!(first, again);
    launcher.cli(&["start", "queue", "--key", "mine", "--name", "other"]).exits(2);
    until("one submit", std::time::Duration::from_secs(5), || {
        let submits = launcher.calls("submit", None);
        Probe::when(submits == 1, (), || submits.to_string())
    });
}
