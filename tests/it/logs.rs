//! Logs: streams, tail, follow, what is left after the end, and the hook's while pending.

use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use wharf_tests::events::Following;
use wharf_tests::{Launcher, Probe, Template, until};

const SOON: Duration = Duration::from_secs(10);

fn logs(launcher: &Launcher, id: &str, query: &str) -> String {
    let answer = launcher.http().get(&format!("/sessions/{id}/logs{query}"));
    assert_eq!(answer.status, 200, "{answer}");
    answer.text()
}

#[track_caller]
fn await_logs(launcher: &Launcher, id: &str, wanted: &str) -> String {
    until(&format!("{wanted:?} in the logs"), SOON, || {
        let text = logs(launcher, id, "");
        Probe::when(text.contains(wanted), text.clone(), || text.clone())
    })
}

#[test]
fn streams_and_tail_choose_what_is_shown_while_it_runs_and_after() {
    let launcher = Launcher::start();
    let stop = launcher.home().path().join("stop");
    let script = format!(
        "for i in 1 2 3 4 5; do echo out-$i; done; echo err-1 >&2; while [ ! -e {} ]; do sleep 0.1; done",
        stop.display()
    );
    let body = json!({"template": "shell", "command": ["sh", "-c", script], "tty": false});
    let id = launcher.start_session(&body);
    launcher.await_connected(&id);
    await_logs(&launcher, &id, "err-1");
    let check = || {
        assert_eq!(logs(&launcher, &id, "?stream=stdout"), "out-1\nout-2\nout-3\nout-4\nout-5\n");
        assert_eq!(logs(&launcher, &id, "?stream=stderr"), "err-1\n");
        assert_eq!(logs(&launcher, &id, "?stream=stdout&tail=2"), "out-4\nout-5\n");
        assert_eq!(logs(&launcher, &id, "?stream=stdout&tail=0"), "");
        let all = logs(&launcher, &id, "?stream=all");
        assert!(all.contains("out-1") && all.contains("err-1"), "{all}");
    };
    check();
    std::fs::write(stop, "").expect("our own directory");
    launcher.await_ended(&id, SOON);
    await_logs(&launcher, &id, "err-1");
    check();
    launcher.http().get(&format!("/sessions/{id}/logs?stream=nonsense")).problem(422, "invalid");
    launcher.http().get(&format!("/sessions/{id}/logs?tail=-1")).problem(422, "invalid");
    assert_eq!(launcher.cli(&["logs", &id, "--tail", "1", "--stream", "stdout"]).ok(), "out-5");
}

#[test]
fn following_streams_until_the_end() {
    let launcher = Launcher::start();
    let stop = launcher.home().path().join("stop");
    let script = format!("echo first; while [ ! -e {} ]; do sleep 0.1; done; echo last", stop.display());
    let body = json!({"template": "shell", "command": ["sh", "-c", script], "tty": false});
    let id = launcher.start_session(&body);
    launcher.await_connected(&id);
    let mut following = Following::open(&launcher.http(), &format!("/sessions/{id}/logs?follow=true"));
    assert!(following.read_until(SOON, |text| text.contains("first\n")), "{}", following.seen());
    std::fs::write(stop, "").expect("our own directory");
    assert!(following.ends(SOON), "it ends with the session: {}", following.seen());
    assert_eq!(following.seen(), "first\nlast\n");
}

#[test]
fn the_command_line_follows_too() {
    let launcher = Launcher::start();
    let script = "echo first; sleep 1; echo last";
    let body = json!({"template": "shell", "command": ["sh", "-c", script], "tty": false});
    let id = launcher.start_session(&body);
    launcher.await_connected(&id);
    assert_eq!(launcher.cli(&["logs", "-f", &id]).ok(), "first\nlast");
}

#[test]
fn a_lost_link_is_told_from_the_end() {
    let launcher = Launcher::start();
    let id = launcher.run_session("shell", &["sh", "-c", "echo first; exec sleep 1000"]);
    await_logs(&launcher, &id, "first");
    let mut command = launcher.home().command(&["logs", "-f", &id]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut following = command.spawn().expect("the command line runs");
    let mut first = [0; 6];
    following.stdout.as_mut().expect("piped").read_exact(&mut first).expect("what was printed");
    launcher.monitor(&id).signal(rustix::process::Signal::KILL);
    let ended = following.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(7), "{told}");
    assert!(told.contains("broke off"), "{told}");
}

#[test]
fn head_and_tail_are_kept_and_the_gap_is_marked() {
    let launcher = Launcher::start();
    let script =
        "echo the-very-first-line; yes filler-filler-filler | head -c 60000000; echo the-very-last-line";
    let body = json!({"template": "shell", "command": ["sh", "-c", script], "tty": false});
    let id = launcher.start_session(&body);
    launcher.await_ended(&id, Duration::from_secs(40));
    let text = await_logs(&launcher, &id, "the-very-last-line");
    assert!(text.starts_with("the-very-first-line\n"), "{:?}", &text[..text.len().min(100)]);
    assert!(text.len() < 40_000_000, "{} bytes kept", text.len());
    let odd =
        text.lines().find(|line| !line.is_empty() && !line.contains("filler") && !line.contains("the-very"));
    assert!(odd.is_some(), "the gap is marked");
}

#[test]
fn while_pending_the_hook_says() {
    let template =
        Template::queueing("queue").hook("logs", r#"printf '%s' '{"result":{"text":"waiting in line\n"}}'"#);
    let launcher = Launcher::with(&template);
    let id = launcher.start_session(&json!({"template": "queue"}));
    launcher.await_session(&id, "submitted", SOON, |session| session["phase"] == "submitted");
    assert_eq!(logs(&launcher, &id, ""), "waiting in line\n");
    assert_eq!(logs(&launcher, &id, "?stream=hook"), "waiting in line\n");
}

#[test]
fn a_failing_or_hanging_logs_hook_says_so() {
    for (hook, status, code) in [("exit 9", 502, "hook_failed"), ("sleep 1000", 504, "hook_timeout")] {
        let template = Template::queueing("queue")
            .hook("logs", hook)
            .toml("[timeouts]\nlogs = \"1s\"\npoll = \"1s\"\nsettle = \"2s\"\n");
        let launcher = Launcher::with(&template);
        let id = launcher.start_session(&json!({"template": "queue"}));
        launcher.await_session(&id, "submitted", SOON, |session| session["phase"] == "submitted");
        let answer = launcher.http().get(&format!("/sessions/{id}/logs"));
        answer.problem(status, code);
        assert!(answer.took < Duration::from_secs(5), "{answer}");
    }
}

#[test]
fn a_path_outside_is_not_read() {
    for path in ["/etc/passwd", "../../../../etc/passwd"] {
        let hook = format!(r#"echo '{{"result":{{"path":"{path}"}}}}'"#);
        let launcher = Launcher::with(&Template::queueing("queue").hook("logs", &hook));
        let id = launcher.start_session(&json!({"template": "queue"}));
        launcher.await_session(&id, "submitted", SOON, |session| session["phase"] == "submitted");
        let answer = launcher.http().get(&format!("/sessions/{id}/logs"));
        assert!(!answer.text().contains("root:"), "{answer}");
        answer.problem(502, "hook_failed");
    }
}

#[test]
fn control_characters_are_shown_escaped_on_the_command_line_lists() {
    let launcher = Launcher::with(&Template::queueing("queue").hook(
        "status",
        r#"j=$(ask '"job_id":"[^"]*"' | head -n 1)
printf '{"result":{"%s":{"state":"queued","reason":"\\u001b]0;owned\\u0007"}}}\n' "$j""#,
    ));
    let id = launcher.start_session(&json!({"template": "queue"}));
    launcher.await_session(&id, "queued", SOON, |session| session["job"]["state"] == "queued");
    for args in [&["list"][..], &["show", &id], &["history", &id]] {
        let output = launcher.cli(args);
        assert!(!output.ok().contains('\u{1b}'), "{output}");
    }
}
