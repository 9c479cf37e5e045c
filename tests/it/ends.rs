//! How sessions end by themselves, and what their end records say.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use wharf_tests::processes::Process;
use wharf_tests::{Launcher, Probe, until};

fn end_of(launcher: &Launcher, command: &[&str]) -> Value {
    let id = launcher.start_session(&json!({"template": "shell", "command": command, "tty": false}));
    launcher.await_ended(&id, Duration::from_secs(20))
}

#[test]
fn exit_codes_and_signals_are_reported_as_they_were() {
    let launcher = Launcher::start();
    let zero = end_of(&launcher, &["true"]);
    assert_eq!((&zero["end"]["cause"], &zero["end"]["exit_code"]), (&json!("exited"), &json!(0)), "{zero}");
    assert!(zero["ended_at"].is_string(), "{zero}");
    let seven = end_of(&launcher, &["sh", "-c", "exit 7"]);
    assert_eq!(
        (&seven["end"]["cause"], &seven["end"]["exit_code"]),
        (&json!("exited"), &json!(7)),
        "{seven}"
    );
    let crashed = end_of(&launcher, &["sh", "-c", "kill -SEGV $$"]);
    assert_eq!((&crashed["end"]["cause"], &crashed["end"]["signal"]), (&json!("signaled"), &json!(11)));
    assert_eq!(crashed["end"]["stopped_by"], Value::Null, "{crashed}");
}

#[test]
fn a_program_that_cannot_be_executed_exits_127_or_126_with_the_systems_words() {
    let launcher = Launcher::start();
    let absent = end_of(&launcher, &["/nowhere/at-all"]);
    assert_eq!((&absent["end"]["cause"], &absent["end"]["exit_code"]), (&json!("exited"), &json!(127)));
    let message = absent["end"]["message"].as_str().expect("a message");
    assert!(message.to_lowercase().contains("no such file"), "{message}");
    let directory = end_of(&launcher, &["/etc"]);
    assert_eq!(directory["end"]["exit_code"], 126, "{directory}");
}

#[test]
fn a_kill_by_the_user_is_interrupted_and_settled_at_once_without_requeue() {
    let launcher = Launcher::start();
    for signal in [Signal::TERM, Signal::KILL] {
        let id = launcher.run_session("shell", &["sleep", "1000"]);
        let inside = launcher.inside(&id);
        assert_eq!(inside.len(), 1);
        inside[0].signal(signal);
        let ended = launcher.await_ended(&id, Duration::from_secs(25));
        assert_eq!(ended["end"]["cause"], "signaled", "{ended}");
        assert_eq!(ended["end"]["signal"], signal.as_raw(), "{ended}");
    }
}

#[test]
fn an_ended_session_leaves_the_list_and_stays_in_the_history() {
    let launcher = Launcher::start();
    let id = end_of(&launcher, &["true"])["id"].as_str().expect("an id").to_owned();
    assert!(!launcher.listed().contains(&id));
    let ended = launcher.http().get("/sessions?state=ended").expect(200);
    assert!(
        ended["items"].as_array().expect("items").iter().any(|item| item["id"] == id.as_str()),
        "{ended}"
    );
    assert_eq!(launcher.session(&id)["state"], "ended");
    assert_eq!(launcher.session(&id)["link"], "none");
    assert!(!launcher.cli(&["list", "--output", "id"]).ok().contains(&id));
    assert!(launcher.cli(&["list", "--all", "--output", "id"]).ok().contains(&id));
    assert!(launcher.cli(&["list", "--state", "ended", "--output", "id"]).ok().contains(&id));
}

#[test]
fn on_an_ended_session_reads_work_and_the_rest_says_session_ended() {
    let launcher = Launcher::start();
    let id = launcher
        .start_session(&json!({"template": "shell", "command": ["echo", "last words"], "tty": false}));
    launcher.await_ended(&id, Duration::from_secs(20));
    let http = launcher.http();
    for read in ["", "/params", "/history", "/shares"] {
        assert_eq!(http.get(&format!("/sessions/{id}{read}")).status, 200, "{read}");
    }
    until("the logs are kept", Duration::from_secs(5), || {
        let logs = http.get(&format!("/sessions/{id}/logs"));
        Probe::when(logs.status == 200 && logs.text().contains("last words"), (), || logs.to_string())
    });
    http.post(&format!("/sessions/{id}/connect"), &json!({})).problem(409, "session_ended");
    http.post(&format!("/sessions/{id}/exec"), &json!({"argv": ["true"]})).problem(409, "session_ended");
    http.post(&format!("/sessions/{id}/shares"), &json!({"grantee": "user:bob"}))
        .problem(409, "session_ended");
    http.patch(&format!("/sessions/{id}/params"), &json!({"a": 1})).problem(409, "session_ended");
    let cut = http.post(&format!("/sessions/{id}/disconnect"), &json!({})).expect(200);
    assert_eq!(cut["disconnected"], 0);
    assert_eq!(http.post(&format!("/sessions/{id}/terminate"), &json!({})).expect(200)["state"], "ended");
    assert_eq!(http.post(&format!("/sessions/{id}/purge"), &json!({})).status, 204);
    http.get(&format!("/sessions/{id}")).problem(404, "unknown_session");
}

#[test]
fn wait_follows_a_session_to_its_state() {
    let launcher = Launcher::start();
    let id = launcher.cli(&["start", "shell", "--no-tty", "--", "sh", "-c", "exit 3"]).ok().trim().to_owned();
    launcher.cli(&["wait", &id, "--for", "ended", "--timeout", "20s"]).exits(0);
    let running =
        launcher.cli(&["start", "shell", "--wait=20s", "--", "sleep", "1000"]).ok().trim().to_owned();
    assert_eq!(launcher.session(&running)["state"], "running");
    launcher.cli(&["wait", &running, "--for", "running"]).exits(0);
    launcher.cli(&["wait", &running, "--for", "ended", "--timeout", "1s"]).exits(7);
    // The awaited session ended otherwise.
    launcher.cli(&["wait", &id, "--for", "running", "--timeout", "5s"]).exits(6);
}

#[test]
fn descendants_go_down_with_the_command() {
    let launcher = Launcher::start();
    let script = "setsid sleep 1001 & (sleep 1002 &) ; sleep 0.2; exit 0";
    let id =
        launcher.start_session(&json!({"template": "shell", "command": ["sh", "-c", script], "tty": false}));
    launcher.await_ended(&id, Duration::from_secs(30));
    until("nothing of the session is left", Duration::from_secs(5), || {
        let left = launcher.inside(&id);
        Probe::when(left.is_empty(), (), || format!("{left:?}"))
    });
}

#[test]
fn a_monitor_that_was_killed_leaves_nothing_behind_in_its_cgroup() {
    let launcher = Launcher::start();
    for template in ["shell", "shell-exec"] {
        let (id, inside) = without_a_monitor(&launcher, template);
        let ended = launcher.await_ended(&id, Duration::from_secs(60));
        assert_eq!(ended["end"]["cause"], "vanished", "{template}: {ended}");
        await_dead(&inside);
        await_no_cgroup(&id);
    }
}

#[test]
fn what_a_killed_monitor_left_is_gone_when_a_terminate_says_so() {
    let launcher = Launcher::start();
    let (id, inside) = without_a_monitor(&launcher, "shell-exec");
    launcher.cli(&["terminate", &id]).exits(0);
    await_dead(&inside);
    await_no_cgroup(&id);
    // The hook's own word, which the launcher asks for where its status cannot tell that the monitor is gone.
    for mode in ["stop", "kill"] {
        let (id, inside) = without_a_monitor(&launcher, "shell-exec");
        let job = launcher.session(&id)["job"]["id"].clone();
        let hook = concat!(env!("CARGO_MANIFEST_DIR"), "/../templates/shell-exec/hooks/terminate");
        let mut asked = std::process::Command::new(hook)
            .env("WHARF_SESSION_ID", &id)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("it can be executed");
        let request = json!({"api": 1, "hook": "terminate", "request": {"job_id": job, "mode": mode}});
        let mut input = asked.stdin.take().expect("its input");
        std::io::Write::write_all(&mut input, request.to_string().as_bytes()).expect("it reads");
        drop(input);
        assert!(asked.wait().expect("it ends").success());
        assert!(inside.iter().all(|process| !process.is_alive()), "{mode}: {inside:?}");
        assert!(cgroups(&id).is_empty());
    }
}

/// A session whose monitor was killed, and its processes, which only a kill ends.
fn without_a_monitor(launcher: &Launcher, template: &str) -> (String, Vec<Process>) {
    let script = "setsid setsid sleep 1000 & trap '' TERM HUP; while :; do sleep 1000; done";
    let id = launcher.run_session(template, &["sh", "-c", script]);
    let monitor = launcher.monitor(&id);
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", monitor.pid)).expect("its cgroup");
    assert!(cgroup.contains(&format!("/wharf-{id}\n")), "no cgroup of its own: {cgroup}");
    let inside = until("both sleep", WITHIN, || {
        let inside = launcher.inside(&id);
        if inside.len() >= 3 { Probe::Ready(inside) } else { Probe::NotYet(format!("{inside:?}")) }
    });
    monitor.signal(Signal::KILL);
    (id, inside)
}

fn await_dead(inside: &[Process]) {
    until("all are gone", WITHIN, || {
        let left: Vec<_> = inside.iter().filter(|process| process.is_alive()).collect();
        if left.is_empty() { Probe::Ready(()) } else { Probe::NotYet(format!("{left:?}")) }
    });
}

#[test]
fn a_session_that_ends_takes_its_cgroup_away() {
    let launcher = Launcher::start();
    let id = launcher.run_session("shell", &["cat"]);
    assert_eq!(cgroups(&id).len(), 1);
    launcher.terminate(&id, "20s");
    await_no_cgroup(&id);
}

const WITHIN: Duration = Duration::from_secs(10);

fn await_no_cgroup(id: &str) {
    until("the cgroup is gone", WITHIN, || match cgroups(id) {
        left if left.is_empty() => Probe::Ready(()),
        left => Probe::NotYet(format!("{left:?}")),
    });
}

/// The directories of a session's own cgroup.
fn cgroups(id: &str) -> Vec<std::path::PathBuf> {
    fn look(below: &std::path::Path, name: &str, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(below).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name() == *name {
                    found.push(entry.path());
                } else {
                    look(&entry.path(), name, found);
                }
            }
        }
    }
    let mut found = Vec::new();
    look(std::path::Path::new("/sys/fs/cgroup"), &format!("wharf-{id}"), &mut found);
    found
}
