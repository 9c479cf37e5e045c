//! A session's life as its user sees it: the record, the environment, its ends.

use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::{Launcher, Template};

#[test]
fn the_ready_line_names_listeners_and_node_and_is_the_only_one() {
    let launcher = Launcher::start();
    assert!(launcher.ready["node"].as_str().is_some_and(|node| !node.is_empty()), "{}", launcher.ready);
    let listens = launcher.ready["listen"].as_array().expect("listeners");
    assert!(listens[0].as_str().is_some_and(|text| text.starts_with("unix:/")), "{}", launcher.ready);
    assert!(launcher.tcp_host().starts_with("127.0.0.1:"), "{}", launcher.ready);
    for path in ["/healthz", "/readyz"] {
        let answer = launcher.tcp(None).try_raw("GET", path, Vec::new()).expect("an answer");
        assert_eq!(answer.status, 200, "{answer}");
    }
    let id = launcher.run_session("shell", &["sleep", "1000"]);
    launcher.terminate(&id, "10s");
    assert_eq!(launcher.further_lines(), Vec::<String>::new());
}

#[test]
fn a_start_answers_201_with_the_whole_durable_record() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let body = json!({
        "template": "queue", "name": "fluid 42", "tags": {"project": "x-1"}, "command": ["sleep", "1000"],
    });
    let answer = launcher.http().post("/sessions", &body);
    let session = answer.expect(201);
    let id = session["id"].as_str().expect("an id");
    assert_eq!(id.len(), 20);
    assert!(id.starts_with(|first: char| first.is_ascii_lowercase()), "{id}");
    assert!(id.bytes().all(|byte| b"0123456789abcdefghjkmnpqrstvwxyz".contains(&byte)), "{id}");
    assert_eq!(session["name"], "fluid 42");
    assert_eq!(session["template"], "queue");
    assert_eq!(session["backend"], "shell");
    assert_eq!(session["scheduler"], "shell");
    assert_eq!(session["state"], "pending");
    assert_eq!(session["link"], "none");
    assert_eq!(session["terminating"], false);
    assert_eq!(session["command"], json!(["sleep", "1000"]));
    assert_eq!(session["tags"], json!({"project": "x-1"}));
    assert_eq!(session["connections"], 0);
    for absent in ["started_at", "ended_at", "end"] {
        assert_eq!(session[absent], Value::Null, "{absent}");
    }
    for present in ["owner", "created_at", "launcher"] {
        assert!(session[present].as_str().is_some_and(|text| !text.is_empty()), "{present}: {session}");
    }
    assert!(session["created_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{session}");
    for (member, seen) in session.as_object().expect("an object") {
        assert!(!member.contains("env"), "the environment is never returned: {member} {seen}");
    }
    let submitted = launcher.await_session(id, "submitted", Duration::from_secs(10), |session| {
        session["phase"] == "submitted" && session["job"]["state"] == "queued"
    });
    assert_eq!(submitted["job"]["id"], format!("q-{id}"));
    assert!(submitted["submitted_at"].is_string(), "{submitted}");
    assert!(submitted["rev"].as_u64() > session["rev"].as_u64(), "{submitted}");
}

#[test]
fn a_running_session_is_linked_and_has_no_phase() {
    let launcher = Launcher::start();
    let id = launcher.run_session("shell", &["sleep", "1000"]);
    let session = launcher.session(&id);
    assert_eq!(session["phase"], Value::Null);
    assert!(session["started_at"].is_string());
    assert_eq!(launcher.http().get(&format!("/sessions/{id}")).json()["state"], "running");
    assert!(launcher.listed().contains(&id));
    let job = session["job"]["id"].as_str().expect("a job id");
    assert_eq!(job.split(':').count(), 3, "process id, start time and boot id: {job}");
    assert_eq!(launcher.inside(&id).len(), 1);
}

#[test]
fn the_built_in_templates_are_there_and_work_without_any_configuration() {
    let launcher = Launcher::start();
    let templates = launcher.http().get("/templates").expect(200);
    let names: Vec<&str> = templates["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|item| item["name"].as_str())
        .collect();
    assert!(names.contains(&"shell") && names.contains(&"shell-exec"), "{names:?}");
    for name in ["shell", "shell-exec"] {
        let detail = launcher.http().get(&format!("/templates/{name}")).expect(200);
        assert_eq!(detail["state"], "ok", "{detail}");
        assert_eq!(detail["findings"], json!([]), "{detail}");
        assert!(detail["schema"].is_object() && detail["command"].is_object(), "{detail}");
        let id = launcher.run_session(name, &["sleep", "1000"]);
        assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
        assert!(launcher.inside(&id).is_empty(), "{name}");
    }
}

#[test]
fn the_command_gets_its_variables_and_nothing_secret() {
    let template = Template::working("plain").toml(
        "[params.cores]\ntype = \"int\"\ndefault = 2\n[params.password]\ntype = \"string\"\nsecret = true\n",
    );
    let template = template.toml("[job.env]\nSITE = \"here\"\n");
    let launcher = Launcher::with(&template);
    let id = launcher.start_session(&json!({
        "template": "plain", "name": "env-test", "env": {"MINE": "a b;$(c)"},
        "params": {"cores": 4, "password": "hidden-value"},
        "command": ["sh", "-c", "env; echo cwd=$(pwd); readlink /proc/self/fd/0; exec sleep 1000"],
    }));
    launcher.await_connected(&id);
    let mut text = String::new();
    wharf_tests::until("the command has printed", Duration::from_secs(10), || {
        text = launcher.http().get(&format!("/sessions/{id}/logs")).text();
        wharf_tests::Probe::when(text.contains("/dev/"), (), || text.clone())
    });
    let home = launcher.home().path().to_string_lossy().into_owned();
    for line in [
        &format!("WHARF_SESSION_ID={id}"),
        "WHARF_SESSION_NAME=env-test",
        "WHARF_TEMPLATE=plain",
        "WHARF_PARAM_CORES=4",
        "MINE=a b;$(c)",
        "SITE=here",
        &format!("cwd={home}"),
        "/dev/null",
    ] {
        assert!(text.lines().any(|seen| seen == line), "no line {line:?}:\n{text}");
    }
    assert!(!text.contains("hidden-value"), "{text}");
    assert!(!text.contains("WHARF_INSTANCE="), "the mark must not reach the command:\n{text}");
    let credential = launcher.http().get(&format!("/sessions/{id}")).text();
    assert!(!credential.contains("hidden-value"));
}

#[test]
fn user_environment_may_not_set_wharf_variables() {
    let launcher = Launcher::with(&Template::working("plain"));
    let http = launcher.http();
    for name in ["WHARF_SESSION_ID", "WHARF_PARAM_X", "1A", "A-B", "A=B", ""] {
        let answer = http.post("/sessions", &json!({"template": "plain", "env": {name: "x"}}));
        answer.problem(422, "invalid");
    }
    assert_eq!(launcher.all_calls(), 0);
    assert!(launcher.listed().is_empty());
}

#[test]
fn names_are_labels_and_may_repeat() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let first = launcher.start_session(&json!({"template": "queue", "name": "same"}));
    let second = launcher.start_session(&json!({"template": "queue", "name": "same"}));
    assert_ne!(first, second);
    let output = launcher.cli(&["show", "same"]);
    output.exits(2);
    assert!(output.stderr.contains(&first) && output.stderr.contains(&second), "{output}");
    let unnamed = launcher.start_session(&json!({"template": "queue"}));
    let name = launcher.session(&unnamed)["name"].as_str().expect("a name").to_owned();
    assert!((1..=128).contains(&name.len()), "a generated name: {name:?}");
}

#[test]
fn a_pending_session_refuses_what_needs_a_monitor() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let id = launcher.start_session(&json!({"template": "queue"}));
    let http = launcher.http();
    http.post(&format!("/sessions/{id}/connect"), &json!({})).problem(409, "session_pending");
    http.post(&format!("/sessions/{id}/exec"), &json!({"argv": ["true"]})).problem(409, "session_pending");
    let cut = http.post(&format!("/sessions/{id}/disconnect"), &json!({})).expect(200);
    assert_eq!(cut, json!({"disconnected": 0}));
    let logs = http.get(&format!("/sessions/{id}/logs"));
    assert_eq!((logs.status, logs.text().as_str()), (200, ""), "an absent logs hook: {logs}");
    launcher.cli(&["exec", &id, "--", "true"]).exits(125);
    launcher.cli(&["connect", &id]).exits(4);
}

#[test]
fn start_can_wait_and_has_started_whatever_it_waits_for() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let start = |query: &str, key: &str| {
        let (path, body) = (format!("/sessions?{query}"), json!({"template": "queue"}));
        launcher.http().with("Idempotency-Key", key).post(&path, &body)
    };
    let submitted = start("wait=submitted&timeout=20s", "one");
    let session = submitted.expect(201);
    assert_eq!(session["phase"], "submitted", "{submitted}");
    assert!(session["job"]["id"].is_string(), "{submitted}");
    let id = session["id"].as_str().expect("an id").to_owned();
    assert_eq!(submitted.header("location"), Some(format!("/api/v1/sessions/{id}")));
    // The same once more, as after a lost answer: it waits for the same session.
    std::thread::scope(|scope| {
        let again = scope.spawn(|| start("wait=running&timeout=20s", "one"));
        launcher.start_queued(&id);
        let again = again.join().expect("no panic").expect(200);
        assert_eq!((&again["id"], &again["state"]), (&session["id"], &json!("running")), "{again}");
    });
    let late = start("wait=running&timeout=300ms", "two");
    assert_eq!(late.expect(201)["state"], "pending", "{late}");
    assert!(late.took < Duration::from_secs(5), "{late}");
    let before = launcher.http().get("/sessions").expect(200)["items"].as_array().map(Vec::len);
    start("wait=never", "three").problem(422, "invalid");
    start("timeout=often", "three").problem(422, "invalid");
    let after = launcher.http().get("/sessions").expect(200)["items"].as_array().map(Vec::len);
    assert_eq!(before, after, "nothing was started");
}

#[test]
fn connect_can_wait_for_the_session_to_run() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let id = launcher.start_session(&json!({"template": "queue"}));
    launcher.queued(&id);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let path = format!("/sessions/{id}/connect?wait=running&timeout=20s");
            launcher.http().post(&path, &json!({}))
        });
        launcher.start_queued(&id);
        let answer = waiting.join().expect("no panic");
        assert!(answer.expect(200)["endpoints"].is_array(), "{answer}");
    });
    let pending = launcher.start_session(&json!({"template": "queue"}));
    let path = format!("/sessions/{pending}/connect?wait=running&timeout=1s");
    let answer = launcher.http().post(&path, &json!({}));
    assert!(answer.took < Duration::from_secs(5), "{answer}");
    assert!(matches!(answer.status, 409 | 504), "{answer}");
}

#[test]
fn history_tells_what_happened_hook_runs_included() {
    let launcher = Launcher::with(&Template::working("plain"));
    let id = launcher.run_session("plain", &[]);
    launcher.terminate(&id, "15s");
    let history = launcher.http().get(&format!("/sessions/{id}/history")).expect(200);
    let entries = history.as_array().or_else(|| history["items"].as_array()).expect("entries").clone();
    let words: Vec<&str> = entries.iter().filter_map(|entry| entry["event"].as_str()).collect();
    assert!(entries.len() >= 4, "{history}");
    for entry in &entries {
        assert!(entry["at"].is_string() && entry["actor"].is_string(), "{entry}");
    }
    let trace = entries.iter().find_map(|entry| entry["trace_id"].as_str()).expect("the submit hook's trace");
    let trace = launcher.http().get(&format!("/traces/{trace}")).expect(200);
    assert_eq!(trace["hook"], "submit", "{trace} {words:?}");
    assert_eq!(trace["outcome"], "ok", "{trace}");
    let id_of_trace = trace["id"].as_str().expect("an id");
    let output = launcher.cli(&["trace", id_of_trace]);
    assert!(output.ok().contains("submit"), "{output}");
}

#[test]
fn unknown_and_malformed_ids_are_404_for_every_action() {
    let launcher = Launcher::start();
    let http = launcher.http();
    for id in ["aaaaaaaaaaaaaaaaaaaa", "nonsense", "..", "%2e%2e"] {
        assert_eq!(http.get(&format!("/sessions/{id}")).status, 404, "{id}");
        for (action, body) in [
            ("connect", json!({})),
            ("disconnect", json!({})),
            ("exec", json!({"argv": ["true"]})),
            ("purge", json!({})),
            ("terminate", json!({})),
        ] {
            let answer = http.post(&format!("/sessions/{id}/{action}"), &body);
            assert_eq!(answer.status, 404, "{answer}");
        }
        for read in ["params", "logs", "history", "shares"] {
            assert_eq!(http.get(&format!("/sessions/{id}/{read}")).status, 404, "{id} {read}");
        }
    }
    http.get("/sessions/aaaaaaaaaaaaaaaaaaaa").problem(404, "unknown_session");
    launcher.cli(&["show", "aaaaaaaaaaaaaaaaaaaa"]).exits(3);
    launcher.cli(&["terminate", "aaaaaaaaaaaaaaaaaaaa"]).exits(3);
    launcher.cli(&["purge", "aaaaaaaaaaaaaaaaaaaa"]).exits(3);
}
