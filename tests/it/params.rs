//! Custom parameters: merge patch, revisions, types of declared ones.

use serde_json::{Value, json};
use wharf_tests::{Launcher, Template};

const DECLARED: &str = r#"
[params.cores]
type = "int"
default = 2
min = 1
max = 8
[params.partition]
type = "string"
pattern = "[a-z0-9_-]+"
max_length = 16
[params.ratio]
type = "float"
[params.debug]
type = "bool"
default = false
[params.colour]
type = "choice"
choices = ["red", "blue"]
[params.wall]
type = "duration"
[params.memory]
type = "size"
[params.work]
type = "path"
[params.password]
type = "string"
secret = true
"#;

fn launcher() -> Launcher {
    Launcher::with(&Template::queueing("queue").toml(DECLARED))
}

#[test]
fn declared_parameters_are_converted_checked_and_defaulted() {
    let launcher = launcher();
    let good = json!({"template": "queue", "params": {
        "cores": "4", "partition": "gpu_1", "ratio": 0.5, "debug": "true", "colour": "red",
        "wall": "1h30m", "memory": "4GiB", "work": "/tmp/x"}});
    let id = launcher.start_session(&good);
    let params = launcher.session(&id)["params"].clone();
    assert_eq!(
        (&params["cores"], &params["debug"], &params["ratio"]),
        (&json!(4), &json!(true), &json!(0.5))
    );
    let id = launcher.start_session(&json!({"template": "queue"}));
    assert_eq!(launcher.session(&id)["params"]["cores"], 2);
    let calls = launcher.calls("submit", None);
    for (name, value) in [
        ("cores", json!("many")),
        ("cores", json!(0)),
        ("cores", json!(9)),
        ("cores", json!(1.5)),
        ("cores", json!([1])),
        ("partition", json!("UPPER")),
        ("partition", json!("a; rm")),
        ("partition", json!("a\nb")),
        ("partition", json!("aaaaaaaaaaaaaaaaaaaaaaaaaaa")),
        ("debug", json!("perhaps")),
        ("colour", json!("green")),
        ("wall", json!("soon")),
        ("memory", json!("lots")),
        ("absent", json!(1)),
    ] {
        let answer =
            launcher.http().post("/sessions", &json!({"template": "queue", "params": {name: value}}));
        let problem = answer.problem(422, "invalid");
        let field = format!("params.{name}");
        assert_eq!(problem["field"], field, "{problem}");
        let errors = problem["errors"].as_array().expect("errors");
        assert!(
            errors.iter().any(|error| error["field"] == field && error["message"].is_string()),
            "{problem}"
        );
    }
    assert_eq!(launcher.listed().len(), 2, "refused starts leave nothing");
    assert!(launcher.calls("submit", None) <= calls.max(2));
    let both = json!({"template": "queue", "params": {"cores": 0, "colour": "green"}});
    let problem = launcher.http().post("/sessions", &both).problem(422, "invalid");
    assert_eq!(problem["errors"].as_array().map(Vec::len), Some(2), "all at once: {problem}");
}

#[test]
fn the_command_line_converts_by_the_declared_type() {
    let launcher = launcher();
    let id = launcher.cli(&["start", "queue", "-p", "cores=3", "-p", "debug=true", "-p", "partition=7"]);
    let params = launcher.session(id.ok().trim())["params"].clone();
    assert_eq!(
        (&params["cores"], &params["debug"], &params["partition"]),
        (&json!(3), &json!(true), &json!("7"))
    );
    launcher.cli(&["start", "queue", "-p", "cores=x"]).exits(2);
    launcher.cli(&["start", "queue", "-p", "nonsense"]).exits(2);
    launcher.cli(&["start", "queue", "-p", "coers=1"]).exits(2);
}

#[test]
fn custom_parameters_are_merged_removed_and_counted() {
    let launcher = launcher();
    let id = launcher.start_session(&json!({"template": "queue"}));
    let path = format!("/sessions/{id}/params");
    let http = launcher.http();
    let before = http.get(&path).expect(200);
    let first = before["params_rev"].as_u64().expect("a rev");
    let set =
        http.patch(&path, &json!({"note": "hello", "list": [1, {"a": null}], "number": 1.5})).expect(200);
    assert_eq!(set["params_rev"].as_u64(), Some(first + 1));
    assert_eq!(set["params"]["list"], json!([1, {"a": null}]));
    assert_eq!(set["params"]["cores"], 2, "declared ones stay");
    let removed = http.patch(&path, &json!({"note": null})).expect(200);
    assert!(removed["params"].get("note").is_none(), "{removed}");
    assert_eq!(launcher.session(&id)["params"], removed["params"]);
    assert_eq!(launcher.session(&id)["params_rev"], removed["params_rev"]);
    for name in ["Upper", "1a", "a-b", "", &"x".repeat(64)] {
        http.patch(&path, &json!({name: 1})).problem(422, "invalid");
    }
    assert_eq!(http.get(&path).expect(200), removed, "a refused change changes nothing");
}

#[test]
fn a_merge_patch_merges_at_every_depth() {
    let launcher = launcher();
    let id = launcher.start_session(&json!({"template": "queue"}));
    let path = format!("/sessions/{id}/params");
    let patched = |patch: Value| launcher.http().patch(&path, &patch).expect(200)["params"]["desk"].clone();
    let whole = json!({"size": {"rows": 1, "cols": 2}, "dpi": 96});
    assert_eq!(patched(json!({"desk": whole})), whole);
    let merged = patched(json!({"desk": {"size": {"rows": null, "depth": 3}}}));
    assert_eq!(merged, json!({"size": {"cols": 2, "depth": 3}, "dpi": 96}));
    assert_eq!(patched(json!({"desk": "plain"})), json!("plain"));
    assert_eq!(patched(json!({"desk": {"new": {"gone": null}}})), json!({"new": {}}));
}

#[test]
fn if_match_guards_against_others() {
    let launcher = launcher();
    let id = launcher.start_session(&json!({"template": "queue"}));
    let path = format!("/sessions/{id}/params");
    let rev = launcher.http().get(&path).expect(200)["params_rev"].as_u64().expect("a rev");
    launcher.http().with("if-match", &rev.to_string()).patch(&path, &json!({"a": 1})).expect(200);
    launcher
        .http()
        .with("if-match", &rev.to_string())
        .patch(&path, &json!({"a": 2}))
        .problem(412, "rev_conflict");
    launcher.http().with("if-match", &format!("\"{}\"", rev + 1)).patch(&path, &json!({"a": 3})).expect(200);
    assert_eq!(launcher.http().get(&path).expect(200)["params"]["a"], 3);
    // Of many that start from the same revision one wins.
    let rev = rev + 2;
    let wins = std::thread::scope(|scope| {
        let patches: Vec<_> = (0..10)
            .map(|at| {
                let http = launcher.http().with("if-match", &rev.to_string());
                let path = &path;
                scope.spawn(move || http.patch(path, &json!({"winner": at})).status)
            })
            .collect();
        patches
            .into_iter()
            .map(|patch| patch.join().expect("no panic"))
            .filter(|status| *status == 200)
            .count()
    });
    assert_eq!(wins, 1);
}

#[test]
fn the_command_line_gets_and_sets() {
    let launcher = launcher();
    let id = launcher.start_session(&json!({"template": "queue"}));
    launcher.cli(&["params", &id, "note=hello there", "level=3"]).exits(0);
    let shown = launcher.cli(&["params", &id, "--output", "json"]).json();
    assert_eq!(
        (&shown["params"]["note"], &shown["params"]["cores"]),
        (&json!("hello there"), &json!(2)),
        "{shown}"
    );
    launcher.cli(&["params", &id, "note-"]).exits(0);
    let shown = launcher.cli(&["params", &id, "--output", "json"]).json();
    assert!(shown["params"].get("note").is_none(), "{shown}");
}

#[test]
fn parameters_set_while_pending_ride_along_to_the_running_session() {
    let launcher = launcher();
    let id = launcher.start_session(&json!({"template": "queue"}));
    launcher.http().patch(&format!("/sessions/{id}/params"), &json!({"late": "yes"})).expect(200);
    launcher.start_queued(&id);
    let session = launcher.await_connected(&id);
    assert_eq!(session["params"]["late"], "yes");
}

#[test]
fn secret_parameters_are_never_shown() {
    let launcher = launcher();
    let id = launcher.start_session(&json!({"template": "queue", "params": {"password": "canary-77"}}));
    launcher.queued(&id);
    for path in ["", "/params", "/history"] {
        let text = launcher.http().get(&format!("/sessions/{id}{path}")).text();
        assert!(!text.contains("canary-77"), "{path}: {text}");
    }
}
