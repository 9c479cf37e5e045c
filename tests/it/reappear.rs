//! A purged session comes back with its monitor; nothing else does.

use std::time::Duration;

use base64::Engine as _;
use rustix::process::Signal;
use serde_json::json;
use wharf_tests::{Launcher, Probe, Template, link, until, wait};

fn queueing() -> Template {
    Template::queueing("queue").without("status").toml("[params.cores]\ntype = \"int\"\ndefault = 1\n")
}

#[test]
fn a_purged_pending_session_whose_job_starts_is_back_as_it_was() {
    let launcher = Launcher::with(&queueing());
    let id = launcher.start_session(&json!({
        "template": "queue", "name": "fluid-42", "params": {"cores": 3}, "tags": {"k": "v"},
    }));
    launcher.queued(&id);
    let share = json!({"grantee": "user:bob", "role": "control", "exec": true});
    launcher.http().post(&format!("/sessions/{id}/shares"), &share).expect(201);
    launcher.http().patch(&format!("/sessions/{id}/params"), &json!({"custom": [1, 2]})).expect(200);
    // What the job was given at its start is what it comes back with: the submit-time snapshot.
    let before = launcher.session(&id);
    assert_eq!(launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})).status, 204);
    assert!(launcher.listed().is_empty());
    launcher.start_queued(&id);
    let back = launcher.await_reappeared(&id, Duration::from_secs(15));
    for member in ["id", "owner", "template", "name", "command", "tags", "created_at", "backend"] {
        assert_eq!(back[member], before[member], "{member}");
    }
    assert_eq!(back["params"]["cores"], 3, "{back}");
    assert!(launcher.listed().contains(&id));
    assert_eq!(launcher.exec(&id, &["echo", "hello"])["stdout"], "hello\n");
    let ended = launcher.terminate(&id, "15s");
    assert_eq!(ended["end"]["cause"], "terminated");
    assert!(launcher.inside(&id).is_empty());
}

#[test]
fn a_purged_running_session_whose_link_returns_is_back_with_params_and_shares() {
    let launcher = Launcher::start();
    let id = launcher
        .start_session(&json!({"template": "shell", "name": "keep me", "command": ["sleep", "1000"]}));
    launcher.await_connected(&id);
    launcher.http().patch(&format!("/sessions/{id}/params"), &json!({"colour": "blue"})).expect(200);
    let kept = json!({"grantee": "user:bob", "role": "control"});
    let kept = launcher.http().post(&format!("/sessions/{id}/shares"), &kept).expect(201);
    // The monitor has the newest snapshot when it answers after it.
    launcher.exec(&id, &["true"]);
    let before = launcher.session(&id);
    let monitor = launcher.monitor(&id);
    monitor.signal(Signal::STOP);
    assert_eq!(launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})).status, 204);
    monitor.signal(Signal::CONT);
    let back = launcher.await_reappeared(&id, Duration::from_secs(20));
    for member in ["id", "owner", "template", "name", "command", "params", "created_at"] {
        assert_eq!(back[member], before[member], "{member}");
    }
    assert!(back["rev"].as_u64() >= before["rev"].as_u64(), "rev goes on above the snapshot's: {back}");
    let shares = launcher.http().get(&format!("/sessions/{id}/shares")).expect(200);
    let shares = shares["items"].as_array().expect("items").clone();
    assert_eq!(shares.len(), 1, "{shares:?}");
    assert_eq!((&shares[0]["id"], &shares[0]["grantee"]), (&kept["id"], &json!("user:bob")));
    assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
}

#[test]
fn a_share_withdrawn_before_the_purge_does_not_come_back() {
    let launcher = Launcher::start();
    let id = launcher.run_session("shell", &["sleep", "1000"]);
    let share =
        launcher.http().post(&format!("/sessions/{id}/shares"), &json!({"grantee": "user:eve"})).expect(201);
    launcher.exec(&id, &["true"]);
    // Withdrawn while the monitor cannot hear it.
    let monitor = launcher.monitor(&id);
    monitor.signal(Signal::STOP);
    let share = share["id"].as_str().expect("an id");
    assert_eq!(launcher.http().delete(&format!("/sessions/{id}/shares/{share}")).status, 204);
    assert_eq!(launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})).status, 204);
    // The launcher closed the link; what was in its buffers may or may not arrive.
    monitor.signal(Signal::CONT);
    launcher.await_reappeared(&id, Duration::from_secs(20));
    let shares = launcher.http().get(&format!("/sessions/{id}/shares")).expect(200);
    assert_eq!(shares["items"], json!([]), "{shares}");
}

#[test]
fn a_lost_datastore_heals_the_same_way() {
    let mut launcher = Launcher::start();
    let id = launcher
        .start_session(&json!({"template": "shell", "name": "survivor", "command": ["sleep", "1000"]}));
    launcher.await_connected(&id);
    launcher.kill9();
    for file in ["wharf.db", "wharf.db-wal", "wharf.db-shm"] {
        _ = std::fs::remove_file(launcher.data().join(file));
    }
    launcher.restart();
    let back = launcher.await_reappeared(&id, Duration::from_secs(15));
    assert_eq!(back["name"], "survivor", "{back}");
    assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
}

#[test]
fn forged_altered_and_foreign_credentials_open_nothing() {
    let launcher = Launcher::with(&queueing());
    let other = Launcher::with(&queueing());
    let id = launcher.start_session(&json!({"template": "queue"}));
    let bystander = launcher.start_session(&json!({"template": "queue"}));
    let genuine = launcher.bootstrap(&id).text("credential").to_owned();
    let foreign = {
        let id = other.start_session(&json!({"template": "queue"}));
        other.bootstrap(&id).text("credential").to_owned()
    };
    let before = launcher.pages("limit=100");
    let elsewhere = link::alter(&genuine, |payload| payload["id"] = json!(bystander));
    let longer = link::alter(&genuine, |payload| payload["not_after"] = json!("2099-01-01T00:00:00Z"));
    let richer = link::alter(&genuine, |payload| payload["owner"] = json!("somebody"));
    let snapshot = launcher.bootstrap(&id).text("snapshot").to_owned();
    let mut flipped = genuine.clone().into_bytes();
    let last = flipped.len() - 8;
    flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).expect("ASCII");
    let monitor_socket = wharf_tests::http::Address::Unix(launcher.data().join("run/monitor/sock"));
    for address in [launcher.socket(), wharf_tests::http::Address::Tcp(launcher.tcp_host()), monitor_socket] {
        for (what, credential) in [
            ("none", None),
            ("nonsense", Some("nonsense")),
            ("of another launcher", Some(foreign.as_str())),
            ("for another session", Some(elsewhere.as_str())),
            ("with a longer life", Some(longer.as_str())),
            ("of another owner", Some(richer.as_str())),
            ("a snapshot, not a credential", Some(snapshot.as_str())),
            ("with a flipped bit", Some(flipped.as_str())),
        ] {
            let answer = link::knock(&address, credential, &id);
            assert_eq!(answer.status, 401, "credential {what}: {answer}");
        }
        // A genuine one of one session opens no other session's link.
        let answer = link::knock(&address, Some(&genuine), &bystander);
        assert!(matches!(answer.status, 401 | 403), "{answer}");
    }
    assert_eq!(launcher.pages("limit=100"), before, "nothing has changed");
}

#[test]
fn the_monitor_socket_serves_that_route_and_nothing_else() {
    use std::os::unix::fs::PermissionsExt as _;
    let launcher = Launcher::start();
    let path = launcher.data().join("run/monitor/sock");
    let http = wharf_tests::Http::new(wharf_tests::http::Address::Unix(path.clone()));
    for path in ["/api/v1/sessions", "/healthz", "/metrics", "/", "/api/v1/tokens"] {
        let answer = http.try_raw("GET", path, Vec::new()).expect("an answer");
        assert!(matches!(answer.status, 401 | 404), "{answer}");
    }
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o666);
    assert_eq!(mode(path.parent().expect("a directory")), 0o755);
    assert_eq!(mode(&launcher.data()), 0o700);
}

#[test]
fn an_altered_snapshot_or_credential_brings_no_session() {
    let launcher = Launcher::with(&queueing());
    for (round, change) in ["snapshot", "credential"].iter().enumerate() {
        let id = launcher.start_session(&json!({"template": "queue", "name": "genuine"}));
        let bootstrap = launcher.bootstrap(&id);
        let monitor = launcher.queued(&id).0;
        let forged = bootstrap.forge(&format!("forged-{round}"), |content| {
            let altered = link::alter(content[change].as_str().expect("a signed text"), |payload| {
                payload["owner"] = json!("mallory");
                payload["name"] = json!("forged");
            });
            content[*change] = json!(altered);
        });
        assert_eq!(launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})).status, 204);
        // It may refuse to start, or run unlinked; either way the launcher must not believe it.
        launcher.start_monitor(&id, &monitor, &forged);
        wait::never("a forged monitor brought a session", Duration::from_secs(4), || {
            let listed = launcher.pages("limit=100");
            listed.iter().any(|session| session["id"] == id.as_str()).then(|| format!("{listed:?}"))
        });
    }
}

#[test]
fn a_snapshot_of_another_launcher_brings_nothing() {
    let launcher = Launcher::with(&queueing());
    let other = Launcher::with(&queueing());
    let id = other.start_session(&json!({"template": "queue"}));
    let foreign = other.bootstrap(&id);
    let monitor = other.queued(&id).0;
    let socket = launcher.data().join("run/monitor/sock");
    let addresses = foreign.path.with_file_name("addresses-elsewhere");
    std::fs::write(&addresses, format!("unix:{}\n", socket.display())).expect("our own directory");
    let sent = foreign.forge("sent-elsewhere", |content| {
        content["addresses"] = json!(addresses);
    });
    other.start_monitor(&id, &monitor, &sent);
    wait::never("a foreign monitor brought a session", Duration::from_secs(4), || {
        let listed = launcher.listed();
        (!listed.is_empty()).then(|| format!("{listed:?}"))
    });
}

#[test]
fn keys_can_be_rotated_and_older_sessions_still_come_back() {
    let mut launcher = Launcher::start();
    let id = launcher.run_session("shell", &["sleep", "1000"]);
    launcher.cli(&["key", "rotate"]).exits(0);
    launcher.kill9();
    launcher.restart();
    launcher.await_connected(&id);
    let fresh = launcher.run_session("shell", &["sleep", "1000"]);
    for id in [id, fresh] {
        assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
    }
}

#[test]
fn a_second_monitor_with_the_same_bootstrap_does_not_take_over() {
    let launcher = Launcher::with(&queueing());
    let id = launcher.start_session(&json!({"template": "queue"}));
    launcher.start_queued(&id);
    launcher.await_connected(&id);
    let first = launcher.monitor(&id);
    let (monitor, bootstrap) = launcher.queued(&id);
    let mut second = launcher.spawn_monitor(&monitor, &bootstrap);
    wait::never("the first monitor lost its session", Duration::from_secs(5), || {
        let session = launcher.session(&id);
        let fine = session["state"] == "running" && session["link"] == "connected" && first.is_alive();
        (!fine).then(|| session.to_string())
    });
    assert_eq!(launcher.exec(&id, &["true"])["exit_code"], 0);
    _ = second.kill();
    _ = second.wait();
}

#[test]
fn a_credential_is_worth_nothing_elsewhere_in_the_api() {
    let launcher = Launcher::with(&queueing());
    let id = launcher.start_session(&json!({"template": "queue"}));
    let credential = launcher.bootstrap(&id).text("credential").to_owned();
    launcher.tcp(Some(&credential)).get("/sessions").problem(401, "unauthenticated");
    let payload = link::payload(&credential);
    assert_eq!(payload["id"], id.as_str(), "{payload}");
    let not_after = payload["not_after"].as_str().expect("a time");
    assert!(not_after > "2026", "{not_after}");
    // The claim header alone opens nothing.
    let claim = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode("{}");
    let answer = launcher.tcp(None).with("wharf-link", &claim).try_raw("GET", "/monitor/v1/link", Vec::new());
    assert_eq!(answer.expect("an answer").status, 401);
    until("the session is untouched", Duration::from_secs(5), || {
        let session = launcher.session(&id);
        Probe::when(session["state"] == "pending", (), || session.to_string())
    });
}
