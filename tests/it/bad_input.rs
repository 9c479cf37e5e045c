//! Bad input: each a distinct message that says what to do, the right code, nothing half done.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::json;
use wharf_tests::{Launcher, Probe, Template, cli, until};

#[test]
fn an_unknown_template_is_told_with_the_near_one() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let problem =
        launcher.http().post("/sessions", &json!({"template": "qeue"})).problem(422, "unknown_template");
    assert!(problem["hint"].is_string(), "what to do next: {problem}");
    let output = launcher.cli(&["start", "qeue"]);
    output.exits(2);
    assert!(output.stderr.contains("qeue"), "{output}");
    launcher.http().get("/templates/qeue").expect(404);
    assert!(launcher.listed().is_empty());
}

#[test]
fn names_tags_commands_and_environment_are_checked() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let long = "x".repeat(129);
    let many: serde_json::Map<String, serde_json::Value> =
        (0..33).map(|at| (format!("k{at}"), json!("v"))).collect();
    for (field, body) in [
        ("name", json!({"name": ""})),
        ("name", json!({"name": "a\nb"})),
        ("name", json!({"name": "a\u{1b}[31mb"})),
        ("name", json!({"name": "a\u{202e}b"})),
        ("name", json!({"name": "a\u{200b}b"})),
        ("name", json!({"name": long})),
        ("tags", json!({"tags": {"UPPER": "x"}})),
        ("tags", json!({"tags": {"": "x"}})),
        ("tags", json!({"tags": {"ok": "a\u{7}b"}})),
        ("tags", json!({"tags": {"ok": "v".repeat(257)}})),
        ("tags", json!({"tags": many})),
        ("command", json!({"command": []})),
        ("command", json!({"command": ["a\u{0}b"]})),
        ("command", json!({"command": ["x".repeat(140_000)]})),
        ("env", json!({"env": {"A": "x\u{0}y"}})),
        ("unknown_member", json!({"unknown_member": 1})),
    ] {
        let mut body = body;
        body["template"] = json!("queue");
        let answer = launcher.http().post("/sessions", &body);
        let problem = answer.problem(422, "invalid");
        assert!(problem.to_string().contains(field), "{field}: {problem}");
    }
    assert!(launcher.listed().is_empty());
    assert_eq!(launcher.all_calls(), 0, "no hook runs for a refused request");
    for name in ["naïve ☂ 名前", "👩\u{200d}💻", "$(x)", "-rf", "a'b\"c"] {
        launcher.http().post("/sessions", &json!({"template": "queue", "name": name})).expect(201);
    }
}

#[test]
fn malformed_requests_have_their_own_codes() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let http = launcher.http();
    let raw =
        |method: &str, path: &str, body: &[u8]| http.try_raw(method, path, body.to_vec()).expect("an answer");
    raw("POST", "/api/v1/sessions", b"{\"template\":").problem(400, "malformed");
    raw("POST", "/api/v1/sessions", b"\xff\xfe").problem(400, "malformed");
    let typed = http.clone().with("content-type", "text/plain");
    typed
        .try_raw("POST", "/api/v1/sessions", b"x".to_vec())
        .expect("an answer")
        .problem(415, "unsupported_media_type");
    let huge = format!("{{\"template\":\"{}\"}}", "x".repeat(1 << 20));
    raw("POST", "/api/v1/sessions", huge.as_bytes()).problem(413, "too_large");
    let wrong = raw("DELETE", "/api/v1/sessions", b"");
    wrong.problem(405, "method_not_allowed");
    assert!(
        wrong.header("allow").is_some_and(|allow| allow.contains("GET") && allow.contains("POST")),
        "{wrong}"
    );
    raw("GET", "/api/v1/nothing", b"").problem(404, "not_found");
    for body in ["[]", "1", "\"x\"", "{\"template\":1}", "{}"] {
        let answer = raw("POST", "/api/v1/sessions", body.as_bytes());
        assert!(matches!(answer.status, 400 | 422), "{body}: {answer}");
    }
    let id = launcher.start_session(&json!({"template": "queue"}));
    for action in ["purge", "terminate", "disconnect"] {
        let path = format!("/api/v1/sessions/{id}/{action}");
        raw("POST", &path, b"{bad").problem(400, "malformed");
        raw("POST", &path, b"[]").problem(400, "malformed");
        assert_eq!(raw("POST", &path, b"{\"nope\":1}").problem(422, "invalid")["field"], "nope");
        typed
            .try_raw("POST", &path, b"x".to_vec())
            .expect("an answer")
            .problem(415, "unsupported_media_type");
    }
    assert_eq!(raw("POST", &format!("/api/v1/sessions/{id}/purge"), b"").status, 204);
    let deep = "[".repeat(100_000);
    let answer = raw("POST", "/api/v1/sessions", deep.as_bytes());
    assert!(matches!(answer.status, 400 | 422), "{answer}");
    assert!(launcher.listed().is_empty());
    http.get("/sessions").expect(200);
}

/// A template's problem as its detail shows it, and that a start is refused with it.
fn broken(launcher: &Launcher, name: &str) -> serde_json::Value {
    let detail = until("the template is broken", Duration::from_secs(10), || {
        let answer = launcher.http().get(&format!("/templates/{name}"));
        let state = answer.json()["state"].clone();
        Probe::when(state == "broken", answer.json(), || answer.to_string())
    });
    let problem =
        launcher.http().post("/sessions", &json!({"template": name})).problem(422, "template_broken");
    assert!(problem["detail"].as_str().is_some_and(|text| text.len() > 20), "{problem}");
    launcher.cli(&["start", name]).exits(2);
    let listed = launcher.cli(&["template", "list"]);
    assert!(listed.ok().contains(name), "{listed}");
    detail
}

#[test]
fn an_absent_session_is_told_before_anything_else_that_is_wrong() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let http = launcher.http();
    let there = launcher.start_session(&json!({"template": "queue"}));
    let sent = |id: &str, action: &str, body: &str| {
        let path = format!("/api/v1/sessions/{id}/{action}");
        http.clone()
            .with("content-type", "application/json")
            .try_raw("POST", &path, body.into())
            .expect("answered")
    };
    for action in ["connect", "disconnect", "shares", "exec", "extend", "terminate", "purge"] {
        for body in ["{", "[]", r#"{"nothing": "known"}"#, "x"] {
            let answer = sent(&there, action, body);
            assert!(matches!(answer.status, 400 | 422), "{answer}");
            sent("k3v9x2m7q4t8w1z6b5n0", action, body).problem(404, "unknown_session");
        }
        let query = format!("{action}?nothing=known");
        sent("k3v9x2m7q4t8w1z6b5n0", &query, "{}").problem(404, "unknown_session");
    }
    http.get("/sessions/k3v9x2m7q4t8w1z6b5n0?wait=never").problem(404, "unknown_session");
    http.get(&format!("/sessions/{there}?wait=never")).problem(422, "invalid");
}

#[test]
fn broken_toml_and_lua_are_told_with_file_and_line() {
    let launcher = Launcher::builder()
        .template(&Template::new("toml").hook("submit", "echo x").hook("terminate", "").toml("[command\n"))
        .template(&Template::new("key").hook("submit", "echo x").hook("terminate", "").toml("comand = 1\n"))
        .template(&Template::new("lua").file("hooks.lua", "local M = {}\nfunction M.submit(req\nreturn M\n"))
        .template(&Template::new("raises").file("hooks.lua", "local M = {}\nlocal x = nil + 1\nreturn M\n"))
        .template(&Template::new("halved").hook("submit", "echo x"))
        .template(&Template::queueing("good"))
        .start();
    let toml = broken(&launcher, "toml");
    assert_eq!(toml["findings"][0]["file"], "template.toml", "{toml}");
    assert!(toml["findings"][0]["line"].is_u64(), "{toml}");
    let key = broken(&launcher, "key");
    assert!(key.to_string().contains("comand"), "{key}");
    for name in ["lua", "raises"] {
        let lua = broken(&launcher, name);
        assert_eq!(lua["findings"][0]["file"], "hooks.lua", "{lua}");
        assert!(lua["findings"][0]["line"].is_u64(), "{lua}");
    }
    let halved = broken(&launcher, "halved");
    assert!(halved.to_string().contains("terminate"), "the missing hook is named: {halved}");
    launcher.http().post("/sessions", &json!({"template": "good"})).expect(201);
    assert_eq!(launcher.listed().len(), 1);
}

#[test]
fn a_hook_in_lua_and_as_executable_is_one_too_many() {
    let lua =
        "return { submit = function() return { job_id = 'x' } end, terminate = function() return {} end }";
    let launcher = Launcher::with(&Template::new("twice").file("hooks.lua", lua).hook("submit", "echo x"));
    assert!(broken(&launcher, "twice").to_string().contains("submit"));
}

#[test]
fn a_template_that_others_may_write_is_refused() {
    for what in ["directory", "file", "hook", "parent"] {
        let builder = Launcher::builder().template(&Template::queueing("open"));
        let launcher = builder.start();
        let templates = launcher.home().templates();
        let path = match what {
            "directory" => templates.join("open"),
            "file" => templates.join("open/template.toml"),
            "hook" => templates.join("open/hooks/submit"),
            _ => templates.clone(),
        };
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode | 0o002)).expect("it is ours");
        let mut launcher = launcher;
        launcher.stop();
        launcher.restart();
        let answer = launcher.http().post("/sessions", &json!({"template": "open"}));
        assert!(matches!(answer.status, 422), "{what}: {answer}");
        let problem = answer.json();
        assert!(
            matches!(problem["code"].as_str(), Some("template_broken" | "unknown_template")),
            "{what}: {problem}"
        );
        assert_eq!(launcher.all_calls(), 0, "{what}");
        let told = format!("{}{}", launcher.log(), problem);
        assert!(told.contains("chmod") || told.contains("write"), "{what}: {told}");
    }
}

#[test]
fn a_closed_template_says_its_message() {
    let launcher = Launcher::with(&Template::queueing("closed"));
    assert_eq!(launcher.http().get("/templates/closed").expect(200)["state"], "ok");
    let toml =
        "api = 1\nbackend = \"shell\"\ndisabled = \"the cluster moves house\"\n[timeouts]\npoll = \"1s\"\n";
    let path = launcher.home().templates().join("closed/template.toml");
    std::fs::write(&path, toml).expect("our own directory");
    launcher.signal(rustix::process::Signal::HUP);
    let problem = until("the template is closed", Duration::from_secs(10), || {
        let answer = launcher.http().post("/sessions", &json!({"template": "closed", "command": ["true"]}));
        Probe::when(answer.status == 422, answer.clone(), || answer.to_string())
    });
    let problem = problem.problem(422, "template_disabled");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("moves house")), "{problem}");
}

#[test]
fn a_data_directory_of_a_newer_version_is_refused() {
    let mut launcher = Launcher::start();
    launcher.stop();
    let db = launcher.data().join("wharf.db");
    // user_version is a big-endian word at offset 60 of an SQLite file.
    let mut bytes = std::fs::read(&db).expect("the datastore");
    bytes[60..64].copy_from_slice(&9999_u32.to_be_bytes());
    std::fs::write(&db, &bytes).expect("our own directory");
    let output = cli::run(launcher.home().command(&["serve"]), b"", Duration::from_secs(20));
    output.exits(1);
    assert!(output.stderr.contains("newer"), "{output}");
    assert_eq!(std::fs::read(&db).expect("it is still there"), bytes, "nothing half done");
}

#[test]
fn a_corrupt_datastore_is_named_with_the_way_out() {
    let mut launcher = Launcher::start();
    launcher.stop();
    let db = launcher.data().join("wharf.db");
    for content in [b"this is no database, it is a text file of some length".repeat(200), b"x".to_vec()] {
        std::fs::write(&db, &content).expect("our own directory");
        for suffix in ["-wal", "-shm"] {
            _ = std::fs::remove_file(launcher.data().join(format!("wharf.db{suffix}")));
        }
        let output = cli::run(launcher.home().command(&["serve"]), b"", Duration::from_secs(20));
        output.exits(1);
        assert!(output.stderr.contains("wharf.db"), "{output}");
        assert_eq!(std::fs::read(&db).expect("it is still there"), content, "never an empty start over it");
    }
}

#[test]
fn an_unusable_monitor_is_told_and_starts_nothing() {
    let mut launcher = Launcher::start();
    // The monitor's own file is lost while the launcher runs: the next start must not hang for ever.
    let program = wharf_tests::program::monitor(&launcher.data());
    if let Some(program) = program {
        std::fs::remove_file(&program).expect("it is ours");
    }
    let id = launcher.http().post("/sessions", &json!({"template": "shell", "command": ["sleep", "1000"]}));
    if id.status == 201 {
        let id = id.json()["id"].as_str().expect("an id").to_owned();
        let seen = launcher.await_session(
            &id,
            "running again, or failed with words",
            Duration::from_secs(30),
            |session| session["link"] == "connected" || session["state"] == "ended",
        );
        if seen["state"] == "ended" {
            assert!(seen["end"]["message"].as_str().is_some_and(|text| text.contains("monitor")), "{seen}");
        }
    } else {
        assert!(id.text().contains("monitor"), "{id}");
    }
    launcher.stop();
    launcher.restart();
    launcher.run_session("shell", &["sleep", "1000"]);
}

#[test]
fn a_slow_or_oversized_head_does_not_hold_the_launcher() {
    use std::io::{Read as _, Write as _};
    let launcher = Launcher::start();
    let mut slow: Vec<std::net::TcpStream> = (0..50)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(launcher.tcp_host()).expect("it listens");
            stream.write_all(b"GET /healthz HT").expect("it takes bytes");
            stream
        })
        .collect();
    let answer = launcher.http().get("/sessions");
    assert!(answer.took < Duration::from_secs(2), "{answer}");
    let mut large = std::net::TcpStream::connect(launcher.tcp_host()).expect("it listens");
    large.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket option");
    let head = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(200_000));
    _ = large.write_all(head.as_bytes());
    let mut text = String::new();
    _ = large.read_to_string(&mut text);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    slow.clear();
    launcher.http().get("/sessions").expect(200);
}
