//! Who may talk to a launcher: tokens and scopes on TCP, the peer's uid on the Unix socket.

use serde_json::json;
use wharf_tests::websocket::WebSocket;
use wharf_tests::{Launcher, Template};

#[test]
fn without_a_token_tcp_serves_next_to_nothing() {
    let launcher = Launcher::start();
    let anybody = launcher.tcp(None);
    for path in
        ["/sessions", "/templates", "/tokens", "/events", "/backends", "/openapi.json", "/no/such/route"]
    {
        let answer = anybody.get(path);
        answer.problem(401, "unauthenticated");
    }
    let answer = anybody.try_raw("GET", "/metrics", Vec::new()).expect("an answer");
    assert_eq!(answer.status, 401, "{answer}");
    anybody.post("/sessions", &json!({"template": "shell"})).problem(401, "unauthenticated");
    let wrong = launcher.tcp(Some("wrong-token"));
    wrong.get("/sessions").problem(401, "unauthenticated");
    let token = launcher.token("full", None);
    let answer = anybody.get(&format!("/sessions?token={token}"));
    assert_eq!(answer.status, 401, "a token in a query is never accepted: {answer}");
    let answer = anybody.get(&format!("/sessions?access_token={token}"));
    assert_eq!(answer.status, 401, "{answer}");
}

#[test]
fn full_acts_as_the_owner_read_only_sees() {
    let launcher = Launcher::with(&Template::working("plain"));
    let full = launcher.tcp(Some(&launcher.token("full", None)));
    let read = launcher.tcp(Some(&launcher.token("read", None)));
    let id = full.post("/sessions", &json!({"template": "plain"})).expect(201)["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    launcher.await_connected(&id);
    assert_eq!(read.get(&format!("/sessions/{id}")).expect(200)["id"], id.as_str());
    for path in ["/params", "/logs", "/history", "/shares", "/connections"] {
        assert_eq!(read.get(&format!("/sessions/{id}{path}")).status, 200, "{path}");
    }
    let tokens = read.get("/tokens").expect(200);
    assert_eq!(tokens["items"].as_array().map(Vec::len), Some(2), "{tokens}");
    for token in tokens["items"].as_array().into_iter().flatten() {
        assert!(token.get("token").is_none(), "{token}");
        let token = token["id"].as_str().expect("an id");
        read.delete(&format!("/tokens/{token}")).problem(403, "forbidden");
    }
    read.post("/sessions", &json!({"template": "plain"})).problem(403, "forbidden");
    for (action, body) in [
        ("connect", json!({})),
        ("exec", json!({"argv": ["true"]})),
        ("terminate", json!({})),
        ("purge", json!({})),
        ("disconnect", json!({})),
        ("shares", json!({"grantee": "user:bob"})),
    ] {
        read.post(&format!("/sessions/{id}/{action}"), &body).problem(403, "forbidden");
    }
    for stream in ["exec", "attach", "tunnel/x"] {
        let refused = WebSocket::open(&read, &format!("/sessions/{id}/{stream}")).expect_err("refused");
        assert_eq!(refused.0, 403, "{stream}: {refused:?}");
    }
    full.post(&format!("/sessions/{id}/terminate?wait=15s"), &json!({})).expect(200);
}

#[test]
fn the_command_line_makes_lists_and_revokes_tokens() {
    let launcher = Launcher::start();
    let made = launcher.cli(&[
        "token",
        "create",
        "--name",
        "ci",
        "--scope",
        "read",
        "--expires",
        "1h",
        "--output",
        "json",
    ]);
    let made = made.json();
    for member in ["id", "name", "user", "scope", "token", "expires_at"] {
        assert!(made[member].is_string(), "{member}: {made}");
    }
    let secret = made["token"].as_str().expect("the secret");
    launcher.tcp(Some(secret)).get("/sessions").expect(200);
    let listed = launcher.cli(&["token", "list", "--output", "json"]);
    assert!(listed.ok().contains("\"ci\"") && !listed.stdout.contains(secret), "{listed}");
    launcher.cli(&["token", "revoke", made["id"].as_str().expect("an id")]).exits(0);
    launcher.tcp(Some(secret)).get("/sessions").problem(401, "unauthenticated");
    launcher.cli(&["token", "revoke", "aaaaaaaaaaaaaaaaaaaa"]).exits(3);
    launcher.cli(&["token", "create", "--scope", "everything"]).exits(2);
    launcher.cli(&["token", "create", "--scope", "guest"]).exits(2);
    for (expires, word) in [("0s", "longer than nothing"), ("3000000d", "3650d"), ("9999y", "3650d")] {
        let refused = launcher.cli(&["token", "create", "--expires", expires]);
        refused.exits(2);
        assert!(refused.stdout.is_empty() && refused.stderr.contains(word), "{refused}");
    }
    let refused = launcher.http().post("/tokens", &json!({"expires_in": "3000000d"})).problem(422, "invalid");
    assert_eq!(refused["field"], "expires_in", "{refused}");
}

#[test]
fn the_command_line_uses_a_token_over_tcp() {
    let launcher = Launcher::start();
    let token = launcher.token("full", None);
    let server = format!("http://{}", launcher.tcp_host());
    let file = launcher.home().path().join("token");
    std::fs::write(&file, format!("{token}\n")).expect("our own directory");
    let file = file.to_string_lossy().into_owned();
    launcher.cli(&["list", "--server", &server, "--token-file", &file]).exits(0);
    launcher.cli(&["list", "--server", &server]).exits(5);
    let mut command = launcher.home().command(&["list", "--output", "json"]);
    command.env("WHARF_SERVER", &server).env("WHARF_TOKEN", &token);
    let output = wharf_tests::cli::run(command, b"", std::time::Duration::from_secs(20));
    assert_eq!(output.json(), json!([]));
}

#[test]
fn a_token_expires_and_a_revoked_one_cuts_its_streams() {
    let launcher = Launcher::start();
    let made = launcher.http().post("/tokens", &json!({"scope": "full", "expires_in": "2s"})).expect(201);
    let http = launcher.tcp(made["token"].as_str());
    http.get("/sessions").expect(200);
    wharf_tests::until("the token has expired", std::time::Duration::from_secs(6), || {
        let answer = http.get("/sessions");
        wharf_tests::Probe::when(answer.status == 401, (), || answer.to_string())
    });
    let made = launcher.http().post("/tokens", &json!({"scope": "full"})).expect(201);
    let http = launcher.tcp(made["token"].as_str());
    let mut events = wharf_tests::events::Events::open(&http, None);
    assert_eq!(
        launcher.http().delete(&format!("/tokens/{}", made["id"].as_str().expect("an id"))).status,
        204
    );
    assert!(events.ends(std::time::Duration::from_secs(4)), "revocation cuts event streams");
}

#[test]
fn another_uid_is_refused_on_the_unix_socket() {
    use std::os::unix::fs::PermissionsExt as _;
    let launcher = Launcher::start();
    let wharf_tests::http::Address::Unix(socket) = launcher.socket() else { panic!("a Unix socket") };
    // Open the way on purpose: the directories' modes are not what this test is about.
    for directory in [socket.as_path()].into_iter().chain(socket.ancestors().skip(1)) {
        if directory.starts_with(launcher.home().path()) {
            let mode = if directory == socket { 0o666 } else { 0o755 };
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(mode)).expect("it is ours");
        }
    }
    let program = launcher.home().path().join("wharf-copy");
    std::fs::copy(wharf_tests::program::wharf(), &program).expect("room for a copy");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
    command.args(["list", "--server", &format!("unix:{}", socket.display())]);
    command.env_clear().env("HOME", "/nonexistent").env("PATH", "/usr/bin:/bin").current_dir("/");
    let output = wharf_tests::cli::run(command, b"", std::time::Duration::from_secs(20));
    output.exits(5);
    launcher.cli(&["list"]).exits(0);
}

#[test]
fn origins_and_hosts_of_strangers_are_refused() {
    let launcher = Launcher::start();
    let token = launcher.token("full", None);
    let stranger = launcher.tcp(Some(&token)).with("origin", "http://evil.example");
    assert_eq!(stranger.get("/sessions").status, 403);
    let own = launcher.tcp(Some(&token)).with("origin", &format!("http://{}", launcher.tcp_host()));
    assert_eq!(own.get("/sessions").status, 200);
    let rebound = launcher.tcp(None).with("host", "evil.example");
    let answer = rebound.try_raw("GET", "/api/v1/sessions", Vec::new()).expect("an answer");
    assert!((400..500).contains(&answer.status), "{answer}");
    // A bearer token without Origin may come under any name: a proxy, a tunnel.
    let tunnel = launcher.tcp(Some(&token)).with("host", "login.cluster.example:8080");
    assert_eq!(tunnel.get("/sessions").status, 200);
}
