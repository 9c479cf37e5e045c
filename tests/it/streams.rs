//! Exec, attach and tunnels: over plain requests and over WebSocket.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use wharf_tests::websocket::{Received, WebSocket};
use wharf_tests::{Launcher, Probe, Template, alone, application, until, wait};

const SOON: Duration = Duration::from_secs(10);

fn session() -> (Launcher, String) {
    let launcher = Launcher::start();
    let id = launcher.run_session("shell", &["sleep", "1000"]);
    (launcher, id)
}

fn exec(launcher: &Launcher, id: &str, start: &serde_json::Value) -> WebSocket {
    let mut socket = WebSocket::open(&launcher.http(), &format!("/sessions/{id}/exec")).expect("an upgrade");
    assert!(socket.control(&json!({ "start": start })));
    socket
}

#[test]
fn exec_returns_output_and_exit_code() {
    let (launcher, id) = session();
    let result = launcher.exec(&id, &["sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!(result["exit_code"], 3, "{result}");
    assert_eq!((&result["stdout"], &result["stderr"]), (&json!("out\n"), &json!("err\n")));
    assert_eq!((&result["encoding"], &result["truncated"]), (&json!("utf-8"), &json!(false)));
    let http = launcher.http();
    let path = format!("/sessions/{id}/exec");
    for name in ["1a", "WHARF_SESSION_ID"] {
        let refused = http.post(&path, &json!({"argv": ["true"], "env": {name: "x"}}));
        assert_eq!(refused.problem(422, "invalid")["field"], format!("env.{name}"));
    }
    let fed = http.post(&path, &json!({"argv": ["cat"], "stdin": "fed"})).expect(200);
    assert_eq!(fed["stdout"], "fed");
    let bytes = http.post(&path, &json!({"argv": ["cat"], "stdin_base64": "/wD+"})).expect(200);
    assert_eq!((&bytes["encoding"], &bytes["stdout"]), (&json!("base64"), &json!("/wD+")), "{bytes}");
    let placed =
        http.post(&path, &json!({"argv": ["sh", "-c", "pwd; echo $A"], "cwd": "/", "env": {"A": "b"}}));
    assert_eq!(placed.expect(200)["stdout"], "/\nb\n");
    let marked = launcher.exec(&id, &["sh", "-c", "echo $WHARF_SESSION_ID"]);
    assert_eq!(marked["stdout"], format!("{id}\n"));
    let killed = launcher.exec(&id, &["sh", "-c", "kill -9 $$"]);
    assert_eq!((&killed["exit_code"], &killed["signal"]), (&json!(null), &json!(9)), "{killed}");
    let absent = launcher.exec(&id, &["/nowhere"]);
    assert_eq!(absent["exit_code"], 127, "{absent}");
    assert!(
        absent["stderr"].as_str().is_some_and(|text| text.to_lowercase().contains("no such file")),
        "{absent}"
    );
    assert_eq!(launcher.exec(&id, &["/etc"])["exit_code"], 126);
    let large = launcher.exec(&id, &["head", "-c", "3000000", "/dev/zero"]);
    assert_eq!(large["truncated"], true);
    http.post(&path, &json!({"argv": []})).problem(422, "invalid");
    http.post(&path, &json!({"argv": ["a\u{0}b"]})).problem(422, "invalid");
}

#[test]
fn exec_past_its_timeout_is_504_and_the_tree_is_ended() {
    let (launcher, id) = session();
    let script = "(sleep 887 &) ; sleep 887";
    let body = json!({"argv": ["sh", "-c", script], "timeout": "1s"});
    let answer = launcher.http().post(&format!("/sessions/{id}/exec"), &body);
    answer.problem(504, "deadline");
    assert!(answer.took < Duration::from_secs(10), "{answer}");
    until("the tree is ended", SOON, || {
        let left = launcher.inside(&id);
        Probe::when(left.len() == 1, (), || format!("{left:?}"))
    });
}

#[test]
fn exec_streams_both_ways_and_ends_with_exit_and_1000() {
    let (launcher, id) = session();
    let script = "read a; echo got:$a; read b; echo got:$b >&2; exit 5";
    let mut socket = exec(&launcher, &id, &json!({"argv": ["sh", "-c", script]}));
    socket.input(b"one\n");
    socket.read_until("got:one", SOON);
    socket.input(b"two\n");
    socket.control(&json!({"eof": true}));
    let rest = socket.finish(SOON);
    assert_eq!(String::from_utf8_lossy(&rest.stderr), "got:two\n");
    assert_eq!(rest.last(), &json!({"exit": {"code": 5, "signal": null}}), "{rest:?}");
    assert_eq!(rest.closed, Some(1000));
}

#[test]
fn a_program_that_takes_input_while_it_gives_output_never_stalls() {
    let (launcher, id) = session();
    let text: Vec<u8> = (0..1_500_000_u32).flat_map(|number| format!("{number}\n").into_bytes()).collect();
    for _ in 0..3 {
        let passed = launcher.cli_with(&["exec", "-i", &id, "--", "cat"], &text);
        passed.exits(0);
        assert_eq!(passed.stdout.len(), text.len());
    }
    let body = json!({"argv": ["wc", "-c"], "stdin": "x".repeat(900_000), "timeout": "30s"});
    let counted = launcher.http().post(&format!("/sessions/{id}/exec"), &body).expect(200);
    assert_eq!(counted["stdout"], "900000\n");
}

#[test]
fn input_that_nobody_reads_hides_neither_a_signal_nor_that_the_client_has_gone() {
    let (launcher, id) = session();
    let sleeps = json!({"argv": ["sleep", "1000"]});
    let mut socket = exec(&launcher, &id, &sleeps);
    assert!((0..10).all(|_| socket.input(&[b'x'; 60_000])));
    socket.control(&json!({"signal": "INT"}));
    let rest = socket.finish(SOON);
    assert_eq!(rest.last()["exit"]["signal"], 2, "{rest:?}");
    let gone = |what: &str| {
        until(what, Duration::from_secs(20), || {
            let inside = launcher.inside(&id);
            Probe::when(inside.len() == 1, (), || format!("{inside:?}"))
        });
    };
    // More than anybody on the way takes in.
    let mut command = launcher.home().command(&["exec", "-i", &id, "--", "sleep", "1000"]);
    let zero = std::fs::File::open("/dev/zero").expect("zeroes");
    let mut client = command.stdin(zero).spawn().expect("the program");
    until("it runs and takes nothing", SOON, || {
        let inside = launcher.inside(&id);
        Probe::when(inside.len() == 2, (), || format!("{inside:?}"))
    });
    wait::pause(Duration::from_secs(1));
    client.kill().and_then(|()| client.wait()).expect("it was there");
    gone("the client of an exec that reads nothing is missed");
    let body = json!({"argv": ["sleep", "1000"], "stdin": "x".repeat(900_000), "timeout": "1s"});
    launcher.http().post(&format!("/sessions/{id}/exec"), &body).problem(504, "deadline");
    gone("an exec that is over ends what reads nothing");
}

#[test]
fn exec_passes_signals_and_end_of_input() {
    let (launcher, id) = session();
    let mut socket = exec(&launcher, &id, &json!({"argv": ["sleep", "1000"]}));
    wait::pause(Duration::from_millis(200));
    socket.control(&json!({"signal": "INT"}));
    let rest = socket.finish(SOON);
    assert_eq!(rest.last()["exit"]["signal"], 2, "{rest:?}");
    let mut socket = exec(&launcher, &id, &json!({"argv": ["wc", "-c"]}));
    socket.input(&vec![b'x'; 100_000]);
    socket.control(&json!({"eof": true}));
    let rest = socket.finish(SOON);
    assert_eq!(rest.text().trim(), "100000");
}

#[test]
fn exec_in_a_terminal_has_one_and_follows_its_size() {
    let (launcher, id) = session();
    let start = json!({"argv": ["sh", "-c", "tty; stty size; read x; stty size; echo oops >&2"], "tty": true,
                       "rows": 33, "cols": 101});
    let mut socket = exec(&launcher, &id, &start);
    let seen = socket.read_until("33 101", SOON);
    assert!(seen.contains("/dev/pts/"), "{seen}");
    socket.control(&json!({"resize": {"rows": 44, "cols": 55}}));
    socket.input(b"\n");
    let rest = socket.finish(SOON);
    assert!(rest.text().contains("44 55") && rest.text().contains("oops"), "{rest:?}");
    assert!(rest.stderr.is_empty(), "with a terminal standard error comes on channel 1");
}

#[test]
fn malformed_first_messages_run_nothing() {
    let (launcher, id) = session();
    let canary = launcher.home().path().join("ran");
    let touch = canary.to_string_lossy().into_owned();
    for message in [
        json!({"resize": {"rows": 1, "cols": 1}}),
        json!({"start": {"argv": []}}),
        json!({"start": {"argv": ["touch", touch], "tty": true, "rows": 0, "cols": 80}}),
        json!({"start": {"argv": ["touch", touch], "rows": 1001, "cols": 80, "tty": true}}),
        json!({"nonsense": 1}),
        json!("text"),
    ] {
        let mut socket =
            WebSocket::open(&launcher.http(), &format!("/sessions/{id}/exec")).expect("an upgrade");
        socket.control(&message);
        let end = socket.finish(SOON);
        assert_eq!(end.last()["error"]["code"], "bad_message", "{message}: {end:?}");
        assert_eq!(end.closed, Some(1008), "{message}: {end:?}");
    }
    let mut socket = exec(&launcher, &id, &json!({"argv": ["sleep", "1000"]}));
    socket.control(&json!({"signal": "NOSUCH"}));
    assert_eq!(socket.finish(SOON).last()["error"]["code"], "bad_message");
    let mut socket = exec(&launcher, &id, &json!({"argv": ["sleep", "1000"]}));
    socket.data(9, b"x");
    assert_eq!(socket.finish(SOON).last()["error"]["code"], "bad_message");
    assert!(!canary.exists());
}

#[test]
fn a_client_that_goes_away_ends_its_exec() {
    let (launcher, id) = session();
    let script = "trap '' HUP TERM; while :; do sleep 0.2; done";
    let socket = exec(&launcher, &id, &json!({"argv": ["sh", "-c", script]}));
    until("it runs", SOON, || {
        let inside = launcher.inside(&id);
        Probe::when(inside.len() >= 2, (), || format!("{inside:?}"))
    });
    socket.vanish();
    until("its group is ended, by SIGKILL at last", Duration::from_secs(15), || {
        let inside = launcher.inside(&id);
        Probe::when(inside.len() == 1, (), || format!("{inside:?}"))
    });
}

#[test]
fn the_command_line_execs_with_codes_of_its_own_and_of_the_command() {
    let (launcher, id) = session();
    let output = launcher.cli(&["exec", &id, "--", "sh", "-c", "echo out; echo err >&2; exit 9"]);
    output.exits(9);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
    launcher.cli(&["exec", &id, "--", "sh", "-c", "kill -TERM $$"]).exits(128 + 15);
    let fed = launcher.cli_with(&["exec", "-i", &id, "--", "cat"], b"to the other side");
    assert_eq!(fed.ok(), "to the other side");
    launcher.cli(&["exec", "aaaaaaaaaaaaaaaaaaaa", "--", "true"]).exits(125);
    launcher.cli(&["exec", &id, "--", "/nowhere"]).exits(127);
}

#[test]
fn attach_enters_the_sessions_own_terminal_and_sees_the_present_screen() {
    let launcher = Launcher::start();
    let id =
        launcher.start_session(&json!({"template": "shell", "command": ["bash", "--norc"], "tty": true}));
    launcher.await_connected(&id);
    let path = format!("/sessions/{id}/attach");
    let mut first = WebSocket::open(&launcher.http(), &path).expect("an upgrade");
    first.control(&json!({"resize": {"rows": 30, "cols": 90}}));
    first.input(b"X=kept; echo mark-$((40+2))\n");
    first.read_until("mark-42", SOON);
    until("it counts as a connection", SOON, || {
        let session = launcher.session(&id);
        Probe::when(session["connections"] == 1, (), || session.to_string())
    });
    let mut second = WebSocket::open(&launcher.http(), &path).expect("an upgrade");
    second.read_until("mark-42", SOON);
    first.input(b"stty size; echo $X\n");
    let seen = first.read_until("kept\r\n", SOON);
    assert!(seen.contains("30 90"), "{seen}");
    first.vanish();
    second.input(b"echo still-$X\n");
    second.read_until("still-kept", SOON);
    second.input(b"exit 4\n");
    let end = second.finish(SOON);
    assert_eq!(end.last()["exit"]["code"], 4, "{end:?}");
    let ended = launcher.await_ended(&id, SOON);
    assert_eq!(ended["end"]["exit_code"], 4);
}

#[test]
fn attach_as_viewer_sees_and_cannot_type() {
    let launcher = Launcher::start();
    let id =
        launcher.start_session(&json!({"template": "shell", "command": ["bash", "--norc"], "tty": true}));
    launcher.await_connected(&id);
    let mut viewer =
        WebSocket::open(&launcher.http(), &format!("/sessions/{id}/attach?role=view")).expect("an upgrade");
    viewer.input(b"touch viewer-typed; echo v-$((1+1))\n");
    let mut controller =
        WebSocket::open(&launcher.http(), &format!("/sessions/{id}/attach")).expect("an upgrade");
    controller.input(b"echo c-$((2+2))\n");
    viewer.read_until("c-4", SOON);
    let seen = launcher.exec(&id, &["sh", "-c", "ls"]);
    assert!(!seen["stdout"].as_str().unwrap_or_default().contains("viewer-typed"), "{seen}");
}

#[test]
fn attach_without_a_terminal_is_refused() {
    let launcher = Launcher::start();
    let body = json!({"template": "shell", "command": ["sleep", "1000"], "tty": false});
    let id = launcher.start_session(&body);
    launcher.await_connected(&id);
    let refused = WebSocket::open(&launcher.http(), &format!("/sessions/{id}/attach"));
    let (status, problem) = refused.expect_err("a refusal");
    assert_eq!((status, &problem["code"]), (409, &json!("no_terminal")));
}

#[test]
fn a_viewer_that_does_not_read_is_dropped_and_stalls_nobody() {
    let launcher = Launcher::start();
    let id =
        launcher.start_session(&json!({"template": "shell", "command": ["bash", "--norc"], "tty": true}));
    launcher.await_connected(&id);
    let path = format!("/sessions/{id}/attach");
    let stalled = WebSocket::open(&launcher.http(), &path).expect("an upgrade");
    let mut reader = WebSocket::open(&launcher.http(), &path).expect("an upgrade");
    // Paced: who reads keeps up, who does not is more than 1 MiB behind in the end.
    reader.input(b"for i in $(seq 80); do head -c 50000 /dev/zero | tr '\\0' x; sleep 0.05; done; echo flood-$((1+1))-over\n");
    reader.read_until("flood-2-over", Duration::from_secs(40));
    // It counts no more, and when it reads at last it is told why it was dropped.
    until("it is out", SOON, || {
        let session = launcher.session(&id);
        Probe::when(session["connections"] == 1, (), || session.to_string())
    });
    let end = stalled.finish(SOON);
    assert_eq!(end.closed, Some(1013), "{:?}", end.controls);
    assert!(end.stdout.len() < 2_000_000, "no more than was on its way: {}", end.stdout.len());
}

#[test]
fn disconnect_drops_the_users_and_the_session_goes_on() {
    let launcher = Launcher::start();
    let id =
        launcher.start_session(&json!({"template": "shell", "command": ["bash", "--norc"], "tty": true}));
    launcher.await_connected(&id);
    let mut sockets: Vec<WebSocket> = (0..3)
        .map(|_| WebSocket::open(&launcher.http(), &format!("/sessions/{id}/attach")).expect("an upgrade"))
        .collect();
    until("three connections", SOON, || {
        let session = launcher.session(&id);
        Probe::when(session["connections"] == 3, (), || session.to_string())
    });
    let none = launcher.http().post(&format!("/sessions/{id}/disconnect"), &json!({"user": "nobody-here"}));
    assert_eq!(none.expect(200)["disconnected"], 0);
    let all = launcher.http().post(&format!("/sessions/{id}/disconnect"), &json!({})).expect(200);
    assert_eq!(all["disconnected"], 3);
    for socket in &mut sockets {
        until("it is cut", SOON, || match socket.next(SOON) {
            Some(Received::Closed(_) | Received::Gone) => Probe::Ready(()),
            other => Probe::NotYet(format!("{other:?}")),
        });
    }
    until("no connections", SOON, || {
        let session = launcher.session(&id);
        Probe::when(session["connections"] == 0 && session["state"] == "running", (), || session.to_string())
    });
    assert_eq!(launcher.inside(&id).len(), 1);
    assert_eq!(launcher.cli(&["disconnect", &id, "--output", "json"]).json()["disconnected"], 0);
}

#[test]
fn a_tunnel_carries_bytes_both_ways_with_half_close() {
    let port = application::echo();
    let template =
        Template::working("plain").toml(&format!("[connect.echo]\nkind = \"tcp\"\nport = {port}\n"));
    let launcher = Launcher::with(&template);
    let id = launcher.run_session("plain", &[]);
    let connection = launcher.http().post(&format!("/sessions/{id}/connect"), &json!({})).expect(200);
    let endpoints = connection["endpoints"].as_array().expect("endpoints");
    let echo = endpoints.iter().find(|endpoint| endpoint["name"] == "echo").expect("the endpoint");
    assert_eq!(echo["kind"], "tcp", "{connection}");
    assert!(echo["url"].as_str().is_some_and(|url| url.contains(&id)), "{connection}");
    let mut tunnel =
        WebSocket::open(&launcher.http(), &format!("/sessions/{id}/tunnel/echo")).expect("an upgrade");
    tunnel.input(b"ping");
    tunnel.read_until("ping", SOON);
    for _ in 0..16 {
        tunnel.input(&vec![b'y'; 60_000]);
    }
    tunnel.control(&json!({"eof": true}));
    let rest = tunnel.finish(Duration::from_secs(20));
    assert_eq!(rest.stdout.len(), 16 * 60_000 + 5, "{:?}", rest.controls);
    assert!(rest.stdout.ends_with(b"[end]"));
    assert_eq!(rest.closed, Some(1000));
    // Only the monitor knows all endpoints: the refusal may come after the upgrade.
    let code = match WebSocket::open(&launcher.http(), &format!("/sessions/{id}/tunnel/absent")) {
        Ok(absent) => absent.finish(SOON).last()["error"]["code"].clone(),
        Err((_, problem)) => problem["code"].clone(),
    };
    assert_eq!(code, "unknown_endpoint");
}

#[test]
fn connect_is_answered_by_the_monitor_and_the_command_line_shows_it() {
    let launcher = Launcher::start();
    let id =
        launcher.start_session(&json!({"template": "shell", "command": ["bash", "--norc"], "tty": true}));
    launcher.await_connected(&id);
    let connection = launcher.http().post(&format!("/sessions/{id}/connect"), &json!({})).expect(200);
    assert!(connection.as_object().is_some_and(|object| object.contains_key("expires_at")), "{connection}");
    let terminal = connection["endpoints"].as_array().expect("endpoints").iter().find(|e| e["kind"] == "tty");
    assert!(terminal.is_some(), "{connection}");
    let absent = launcher.http().post(&format!("/sessions/{id}/connect"), &json!({"endpoint": "absent"}));
    absent.problem(404, "unknown_endpoint");
    let shown = launcher.cli(&["connect", &id, "--output", "json"]).json();
    assert_eq!(shown["endpoints"], connection["endpoints"]);
}

#[test]
fn with_the_monitor_stopped_connect_and_exec_are_503_in_time() {
    let _alone = alone();
    let (launcher, id) = session();
    // Whatever could have been cached is.
    launcher.http().post(&format!("/sessions/{id}/connect"), &json!({})).expect(200);
    launcher.exec(&id, &["true"]);
    let monitor = launcher.monitor(&id);
    monitor.signal(Signal::STOP);
    for (action, body) in [("connect", json!({})), ("exec", json!({"argv": ["true"]}))] {
        let answer = launcher.http().post(&format!("/sessions/{id}/{action}"), &body);
        answer.problem(503, "unreachable");
        assert!(answer.took < Duration::from_secs(12), "{answer}");
    }
    launcher.cli(&["exec", &id, "--", "true"]).exits(125);
    launcher.cli(&["connect", &id]).exits(7);
    monitor.signal(Signal::CONT);
    until("it answers again", Duration::from_secs(40), || {
        let answer = launcher.http().post(&format!("/sessions/{id}/connect"), &json!({}));
        Probe::when(answer.status == 200, (), || answer.to_string())
    });
}

#[test]
fn an_endpoint_is_declared_from_inside_the_session() {
    let launcher = Launcher::start();
    let id = launcher.run_session("shell", &["sleep", "1000"]);
    let port = application::echo();
    let monitor = wharf_tests::program::monitor(&launcher.data()).expect("the monitor's program");
    let monitor = monitor.to_string_lossy().into_owned();
    let added = launcher.exec(&id, &[&monitor, "endpoint", "add", "mine", "tcp", &port.to_string()]);
    assert_eq!(added["exit_code"], 0, "{added}");
    let mut tunnel = until("the endpoint is known", SOON, || {
        match WebSocket::open(&launcher.http(), &format!("/sessions/{id}/tunnel/mine")) {
            Ok(tunnel) => Probe::Ready(tunnel),
            Err(refused) => Probe::NotYet(format!("{refused:?}")),
        }
    });
    tunnel.input(b"through");
    tunnel.read_until("through", SOON);
}
