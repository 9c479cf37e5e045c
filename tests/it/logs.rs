//! Logs: streams, tail, follow, what is left after the end, and the hook's while pending.

use std::io::{Read as _, Write as _};
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

/// A queue whose jobs' output lies in a file, and whose jobs are over when the test says so.
fn with_output() -> Template {
    Template::queueing("queue")
        .hook("logs", r#"printf '{"result":{"path":"%s/output"}}' "$(ask '"dir":"[^"]*"')""#)
        .hook(
            "status",
            r#"j=$(ask '"job_id":"[^"]*"' | head -n 1)
v=queued; [ ! -e "$J/over" ] || v=ended
printf '{"result":{"%s":{"state":"%s"}}}\n' "$j" "$v""#,
        )
}

/// A pending session of it, and its job's output.
#[track_caller]
fn pending(launcher: &Launcher, command: &[&str]) -> (String, std::path::PathBuf) {
    let body = json!({"template": "queue", "command": command, "tty": false});
    let id = launcher.start_session(&body);
    launcher.await_session(&id, "queued", SOON, |session| session["job"]["state"] == "queued");
    let output = launcher.data().join("sessions").join(&id).join("output");
    (id, output)
}

fn add(file: &std::path::Path, text: &str) {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(file);
    file.and_then(|mut file| file.write_all(text.as_bytes())).expect("the session's own directory");
}

#[test]
fn followed_while_pending_the_jobs_output_goes_over_into_the_commands_and_no_line_is_lost_or_doubled() {
    let launcher = Launcher::with(&with_output());
    let (id, output) = pending(&launcher, &["sh", "-c", "for i in 1 2 3; do echo command-$i; done"]);
    let mut following = Following::open(&launcher.http(), &format!("/sessions/{id}/logs?follow=true"));
    assert_eq!(following.status, 200);
    add(&output, "job-0\n");
    assert!(following.read_until(SOON, |text| text == "job-0\n"), "{}", following.seen());
    let many: Vec<String> = (1..20_000).map(|number| format!("job-{number}\n")).collect();
    for part in many.chunks(1_000) {
        add(&output, &part.concat());
    }
    // Half a line, which another look finds whole.
    add(&output, "half ");
    assert!(following.read_until(SOON, |text| text.ends_with("half ")), "{}", following.seen());
    add(&output, "and half\n");
    launcher.start_queued(&id);
    assert!(following.ends(SOON), "{}", following.seen());
    let expected = format!("job-0\n{}half and half\ncommand-1\ncommand-2\ncommand-3\n", many.concat());
    assert!(following.seen() == expected, "{}", following.seen());
}

#[test]
fn followed_by_lines_from_the_end_and_by_the_hook_alone_it_ends_with_the_session() {
    let launcher = Launcher::with(&with_output());
    let (id, output) = pending(&launcher, &["sh", "-c", "echo command; exec sleep 1000"]);
    add(&output, "one\ntwo\nthree\n");
    let path = format!("/sessions/{id}/logs?follow=true");
    let mut last = Following::open(&launcher.http(), &format!("{path}&tail=1"));
    let mut hook = Following::open(&launcher.http(), &format!("{path}&stream=hook&tail=2"));
    assert!(last.read_until(SOON, |text| text == "three\n"), "{}", last.seen());
    assert!(hook.read_until(SOON, |text| text == "two\nthree\n"), "{}", hook.seen());
    launcher.start_queued(&id);
    launcher.await_connected(&id);
    assert!(last.read_until(SOON, |text| text == "three\ncommand\n"), "{}", last.seen());
    add(&output, "four\n");
    assert!(hook.read_until(SOON, |text| text == "two\nthree\nfour\n"), "{}", hook.seen());
    launcher.terminate(&id, "10s");
    assert!(last.ends(SOON) && hook.ends(SOON), "{}", last.seen());
    assert_eq!((last.seen(), hook.seen()), ("three\ncommand\n", "two\nthree\nfour\n"));
}

#[test]
fn of_a_job_whose_monitor_never_came_the_output_is_followed_to_its_end_and_shown_after() {
    let template = with_output();
    let launcher = Launcher::with(&template);
    let (id, output) = pending(&launcher, &["true"]);
    let mut following = Following::open(&launcher.http(), &format!("/sessions/{id}/logs?follow=true"));
    add(&output, "no such module\n");
    assert!(following.read_until(SOON, |text| !text.is_empty()), "{}", following.seen());
    add(&output, "giving up\n");
    add(&launcher.home().journal().join("over"), "");
    assert!(following.ends(SOON), "{}", following.seen());
    assert_eq!(following.seen(), "no such module\ngiving up\n");
    assert_eq!(launcher.session(&id)["end"]["cause"], "never_registered");
    assert_eq!(logs(&launcher, &id, ""), "no such module\ngiving up\n");
    // Kept: the file is not needed any more.
    std::fs::remove_file(&output).expect("it is there");
    assert_eq!(logs(&launcher, &id, ""), "no such module\ngiving up\n");
    assert_eq!(logs(&launcher, &id, "?stream=hook&tail=1"), "giving up\n");
    assert_eq!(launcher.cli(&["logs", "-f", &id]).ok(), "no such module\ngiving up");
}

#[test]
fn a_hook_that_only_knows_the_end_of_a_text_is_followed_too() {
    // The last two lines, as a text: each is told once.
    let template = Template::queueing("queue").hook(
        "logs",
        r#"printf '{"result":{"text":"'; tail -n 2 "$J/said" 2>/dev/null | sed 's/$/\\n/' | tr -d '\n'; printf '"}}'"#,
    );
    let launcher = Launcher::with(&template);
    let id =
        launcher.start_session(&json!({"template": "queue", "command": ["echo", "command"], "tty": false}));
    launcher.await_session(&id, "submitted", SOON, |session| session["phase"] == "submitted");
    let mut following = Following::open(&launcher.http(), &format!("/sessions/{id}/logs?follow=true"));
    for number in 1..=4 {
        add(&launcher.home().journal().join("said"), &format!("{number}\n"));
        let wanted: String = (1..=number).map(|number| format!("{number}\n")).collect();
        assert!(following.read_until(SOON, |text| text == wanted), "{}", following.seen());
    }
    launcher.start_queued(&id);
    assert!(following.ends(SOON), "{}", following.seen());
    assert_eq!(following.seen(), "1\n2\n3\n4\ncommand\n");
}

#[test]
fn a_follower_of_a_purged_session_is_told_that_it_broke_off_and_one_without_right_is_cut() {
    let launcher = Launcher::with(&with_output());
    let (id, output) = pending(&launcher, &["true"]);
    add(&output, "job\n");
    let path = format!("/sessions/{id}/logs?follow=true");
    let share = launcher
        .http()
        .post(&format!("/sessions/{id}/shares"), &json!({"grantee": "user:bob", "role": "view"}));
    let share = share.expect(201)["id"].as_str().expect("it has an id").to_owned();
    let mut guest = Following::open(&launcher.tcp(Some(&launcher.token("guest", Some("bob")))), &path);
    assert!(guest.read_until(SOON, |text| text == "job\n"), "{}", guest.seen());
    assert_eq!(launcher.http().delete(&format!("/sessions/{id}/shares/{share}")).status, 204);
    assert!(guest.ends(SOON), "{}", guest.seen());
    let mut command = launcher.home().command(&["logs", "-f", &id]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut following = command.spawn().expect("the command line runs");
    let mut first = [0; 4];
    following.stdout.as_mut().expect("piped").read_exact(&mut first).expect("what was printed");
    assert_eq!(launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})).status, 204);
    let ended = following.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(7), "{}", String::from_utf8_lossy(&ended.stderr));
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
