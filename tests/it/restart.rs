//! Orderly stops, reloads, and what stands in DATA.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use wharf_tests::templates::HANG;
use wharf_tests::{Launcher, Probe, Template, until, wait};

#[test]
fn sigterm_exits_0_soon_and_touches_no_session() {
    let mut launcher = Launcher::start();
    let id = launcher.run_session("shell", &["sleep", "1000"]);
    let inside = launcher.inside(&id);
    let monitor = launcher.monitor(&id);
    let (code, took) = launcher.stop();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(inside[0].is_alive() && monitor.is_alive());
    launcher.restart();
    launcher.await_connected(&id);
    assert!(inside[0].is_alive());
    launcher.terminate(&id, "10s");
}

#[test]
fn who_waits_so_long_waits_no_longer_when_the_launcher_goes() {
    let mut launcher = Launcher::start();
    let id = launcher.run_session("shell", &["sleep", "1000"]);
    let mut waiting = launcher.home().command(&["wait", &id, "--for", "ended", "--timeout", "3s"]);
    let began = std::time::Instant::now();
    let mut waiting = waiting.spawn().expect("the program is there");
    wait::pause(Duration::from_secs(1));
    launcher.kill9();
    let code = waiting.wait().expect("a child of ours").code();
    assert_eq!(code, Some(7));
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    launcher.restart();
    launcher.terminate(&id, "10s");
}

#[test]
fn a_stop_waits_for_nobodys_waiting() {
    let mut launcher = Launcher::with(&Template::queueing("queue"));
    let id = launcher.start_session(&json!({"template": "queue"}));
    launcher.queued(&id);
    let http = launcher.http();
    std::thread::scope(|scope| {
        let shown = scope.spawn(|| http.get(&format!("/sessions/{id}?wait=ended&timeout=60s")));
        let started = scope.spawn(|| {
            http.post("/sessions?wait=running&timeout=60s", &json!({"template": "queue", "name": "second"}))
        });
        until("the second one", Duration::from_secs(10), || {
            let second = launcher.http().get("/sessions?name=second").expect(200);
            Probe::when(second["items"][0]["phase"] == "submitted", (), || second.to_string())
        });
        let (code, took) = launcher.stop();
        assert_eq!(code, 0);
        assert!(took < Duration::from_secs(4), "{took:?}");
        let (shown, started) = (shown.join().expect("no panic"), started.join().expect("no panic"));
        assert_eq!(shown.expect(200)["state"], "pending", "{shown}");
        assert_eq!(started.expect(201)["name"], "second", "{started}");
    });
}

#[test]
fn sigterm_with_hanging_hooks_and_open_streams_still_exits_in_15_s() {
    let template = Template::working("stuck").hook("submit", HANG).toml("[timeouts]\nsubmit = \"10m\"\n");
    let mut launcher = Launcher::with(&template);
    let id = launcher.start_session(&json!({"template": "stuck"}));
    launcher.await_call("submit", &id);
    let shell =
        launcher.start_session(&json!({"template": "shell", "command": ["bash", "--norc"], "tty": true}));
    launcher.await_connected(&shell);
    let path = format!("/sessions/{shell}/attach");
    let _socket = wharf_tests::websocket::WebSocket::open(&launcher.http(), &path).expect("an upgrade");
    let _events = wharf_tests::events::Events::open(&launcher.http(), None);
    let (code, took) = launcher.stop();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(15), "{took:?}");
    launcher.restart();
    launcher.await_connected(&shell);
    let session = launcher.session(&id);
    assert!(session["state"] == "pending" || session["end"]["cause"] == "submit_failed", "{session}");
    assert_eq!(launcher.calls("submit", Some(&id)), 1);
}

#[test]
fn a_command_survives_while_nobody_is_there_and_output_is_not_lost() {
    let mut launcher = Launcher::start();
    let script = "i=0; while :; do i=$((i+1)); echo line-$i; sleep 0.1; done";
    let body = json!({"template": "shell", "command": ["sh", "-c", script], "tty": false});
    let id = launcher.start_session(&body);
    launcher.await_connected(&id);
    launcher.kill9();
    wait::pause(Duration::from_secs(2));
    launcher.restart();
    launcher.await_connected(&id);
    let text = until("twenty lines", Duration::from_secs(10), || {
        let text = launcher.http().get(&format!("/sessions/{id}/logs")).text();
        Probe::when(text.lines().count() > 20, text.clone(), || text.clone())
    });
    for (at, line) in text.lines().enumerate() {
        assert_eq!(line, format!("line-{}", at + 1));
    }
}

#[test]
fn sighup_reads_configuration_and_templates_again() {
    let launcher = Launcher::start();
    launcher.http().post("/sessions", &json!({"template": "fresh"})).problem(422, "unknown_template");
    launcher.home().install(&Template::queueing("fresh"));
    launcher.signal(Signal::HUP);
    until("the new template serves", Duration::from_secs(10), || {
        let answer = launcher.http().post("/sessions", &json!({"template": "fresh"}));
        Probe::when(answer.status == 201, (), || answer.to_string())
    });
}

#[test]
fn metrics_and_openapi_are_served_to_who_may_see_them() {
    let launcher = Launcher::start();
    let token = launcher.token("read", None);
    let http = launcher.tcp(Some(&token));
    let metrics = http.try_raw("GET", "/metrics", Vec::new()).expect("an answer");
    assert_eq!(metrics.status, 200, "{metrics}");
    assert!(metrics.text().contains("# TYPE"), "{metrics}");
    let openapi = http.get("/openapi.json").expect(200);
    assert!(openapi["paths"]["/api/v1/sessions"].is_object() || openapi["paths"]["/sessions"].is_object());
    let nodes = launcher.http().get("/nodes").expect(200);
    assert_eq!(nodes["items"].as_array().map(Vec::len), Some(1), "{nodes}");
    let backends = launcher.http().get("/backends").expect(200);
    assert!(backends.to_string().contains("shell"), "{backends}");
}

#[test]
fn the_monitor_runs_in_an_empty_place() {
    let launcher = Launcher::start();
    let id = launcher.run_session("shell", &["sleep", "1000"]);
    let monitor = wharf_tests::program::monitor(&launcher.data()).expect("the monitor's program");
    let bytes = std::fs::read(&monitor).expect("it is readable");
    assert!(bytes.len() < 8_000_000, "small: {} bytes", bytes.len());
    let empty = launcher.home().path().join("empty");
    std::fs::create_dir_all(empty.join("bin")).expect("our own directory");
    std::fs::copy(&monitor, empty.join("bin/wharf-monitor")).expect("our own directory");
    let mut command = std::process::Command::new("/usr/sbin/chroot");
    command.arg(&empty).args(["/bin/wharf-monitor", "--version"]).env_clear();
    wharf_tests::cli::run(command, b"", Duration::from_secs(10)).exits(0);
    launcher.terminate(&id, "10s");
}

#[test]
fn a_launcher_serves_in_a_process_id_namespace_that_hides_its_session_and_group() {
    let unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let mut launcher = Launcher::builder().under(&unshare).start();
    let id = launcher.run_session("shell", &["sleep", "1000"]);
    let ended = launcher.terminate(&id, "10s");
    assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
    launcher.kill9();
}
