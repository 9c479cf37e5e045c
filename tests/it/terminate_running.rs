//! Terminate on running sessions: gently first, then surely.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use wharf_tests::{Launcher, Probe, Template, alone, until, wait};

fn nothing_left(launcher: &Launcher, id: &str) {
    until("nothing of the session runs", Duration::from_secs(10), || {
        let left = launcher.inside(id);
        Probe::when(left.is_empty(), (), || format!("{left:?}"))
    });
}

#[test]
fn an_idle_login_shell_on_a_terminal_ends_cleanly_in_time() {
    let _alone = alone();
    let launcher = Launcher::start();
    let id = launcher.start_session(&json!({"template": "shell", "command": ["bash", "-l"], "tty": true}));
    launcher.await_connected(&id);
    until("the shell reads its terminal", Duration::from_secs(10), || {
        let inside = launcher.inside(&id);
        Probe::when(inside.len() == 1 && inside[0].state == 'S', (), || format!("{inside:?}"))
    });
    let (ended, took) = wait::timed(|| launcher.terminate(&id, "10s"));
    assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
    assert_eq!(ended["end"]["stopped_by"], "signal", "without SIGKILL: {ended}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    nothing_left(&launcher, &id);
    assert!(!launcher.listed().contains(&id));
}

#[test]
fn a_plain_process_ends_by_sigterm() {
    let launcher = Launcher::start();
    let id = launcher.run_session("shell", &["sleep", "1000"]);
    let ended = launcher.terminate(&id, "10s");
    assert_eq!(ended["end"]["stopped_by"], "signal", "{ended}");
    nothing_left(&launcher, &id);
}

#[test]
fn the_templates_stop_command_comes_first() {
    let template = Template::working("polite").toml("stop = [\"touch\", \"stop-was-called\"]\n");
    let launcher = Launcher::with(&template);
    let script = "while [ ! -e stop-was-called ]; do sleep 0.1; done";
    let id = launcher.run_session("polite", &["sh", "-c", &format!("trap '' TERM; {script}")]);
    let ended = launcher.terminate(&id, "15s");
    assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
    assert_eq!(ended["end"]["stopped_by"], "command", "{ended}");
}

#[test]
fn one_that_ignores_the_signals_is_killed_after_the_grace_in_time() {
    let _alone = alone();
    let launcher = Launcher::start();
    let script = "trap '' TERM HUP INT; while :; do sleep 1; done";
    let id = launcher.run_session("shell", &["sh", "-c", script]);
    let path = format!("/sessions/{id}/terminate?wait=20s");
    let answer = launcher.http().post(&path, &json!({"grace": "2s"}));
    let ended = answer.expect(200);
    assert_eq!(ended["end"]["stopped_by"], "kill", "{ended}");
    assert!(answer.took >= Duration::from_millis(1900), "the grace was kept: {answer}");
    assert!(answer.took < Duration::from_secs(6), "{answer}");
    nothing_left(&launcher, &id);
}

#[test]
fn daemonised_children_are_taken_down_too() {
    let launcher = Launcher::start();
    let script = "setsid sh -c 'trap \"\" TERM HUP; sleep 1000 & while :; do sleep 1; done' & \
                  (setsid sleep 1000 &); exec sleep 1000";
    let id = launcher.run_session("shell", &["sh", "-c", script]);
    until("the children have started", Duration::from_secs(5), || {
        let inside = launcher.inside(&id);
        Probe::when(inside.len() >= 4, (), || format!("{inside:?}"))
    });
    let path = format!("/sessions/{id}/terminate?wait=20s");
    let ended = launcher.http().post(&path, &json!({"grace": "2s"})).expect(200);
    assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
    nothing_left(&launcher, &id);
}

#[test]
fn one_that_writes_without_end_is_ended_as_well() {
    let launcher = Launcher::start();
    for tty in [false, true] {
        let id = launcher.start_session(&json!({"template": "shell", "command": ["yes"], "tty": tty}));
        launcher.await_connected(&id);
        let (ended, took) = wait::timed(|| launcher.terminate(&id, "15s"));
        assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
        assert!(took < Duration::from_secs(5), "tty {tty}: {took:?}");
        nothing_left(&launcher, &id);
    }
}

#[test]
fn without_wait_the_answer_comes_at_once() {
    let launcher = Launcher::start();
    let script = "trap '' TERM; while :; do sleep 1; done";
    let id = launcher.run_session("shell", &["sh", "-c", script]);
    let answer = launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({"grace": "2s"}));
    let session = answer.expect(202);
    assert_eq!(session["terminating"], true, "{session}");
    assert!(answer.took < Duration::from_secs(2), "{answer}");
    // Twice: joins, and no second effect.
    let again = launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({"grace": "2s"}));
    assert!(matches!(again.status, 200 | 202), "{again}");
    launcher.await_ended(&id, Duration::from_secs(15));
}

#[test]
fn with_the_monitor_stopped_the_hook_ends_it_in_time() {
    let _alone = alone();
    let launcher = Launcher::with(&Template::working("plain"));
    let id = launcher.run_session("plain", &["sleep", "1000"]);
    launcher.monitor(&id).signal(Signal::STOP);
    let path = format!("/sessions/{id}/terminate?wait=20s");
    let answer = launcher.http().post(&path, &json!({"grace": "1s"}));
    let ended = answer.expect(200);
    assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
    assert_eq!(ended["end"]["stopped_by"], "hook", "{ended}");
    assert!(answer.took < Duration::from_secs(15), "{answer}");
    assert!(launcher.calls("terminate", Some(&id)) >= 1);
    nothing_left(&launcher, &id);
}

#[test]
fn the_shipped_template_ends_a_stopped_monitor_too() {
    let launcher = Launcher::start();
    for template in ["shell", "shell-exec"] {
        let id = launcher.run_session(template, &["sleep", "1000"]);
        let monitor = launcher.monitor(&id);
        monitor.signal(Signal::STOP);
        let path = format!("/sessions/{id}/terminate?wait=30s");
        let ended = launcher.http().post(&path, &json!({"grace": "1s"})).expect(200);
        assert_eq!(ended["end"]["stopped_by"], "hook", "{template}: {ended}");
        nothing_left(&launcher, &id);
        until("the monitor is gone", Duration::from_secs(5), || {
            Probe::when(!monitor.is_alive(), (), || format!("{monitor:?}"))
        });
    }
}

#[test]
fn with_the_monitor_stopped_and_a_refusing_hook_it_stays_running_and_terminating() {
    let template = Template::working("plain").hook("terminate", "echo 'cannot now' >&2; exit 1");
    let launcher = Launcher::with(&template);
    let id = launcher.run_session("plain", &["sleep", "1000"]);
    let monitor = launcher.monitor(&id);
    monitor.signal(Signal::STOP);
    let path = format!("/sessions/{id}/terminate?wait=30s");
    launcher.http().post(&path, &json!({"grace": "1s"})).problem(502, "hook_failed");
    let session = launcher.session(&id);
    assert_eq!((&session["state"], &session["terminating"]), (&json!("running"), &json!(true)), "{session}");
    // The wish stays: when the monitor is back, it is told.
    monitor.signal(Signal::CONT);
    let ended = launcher.await_ended(&id, Duration::from_secs(45));
    assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
    nothing_left(&launcher, &id);
}

#[test]
fn a_session_that_ends_by_itself_meanwhile_is_still_terminated() {
    let launcher = Launcher::start();
    let id =
        launcher.run_session("shell", &["sh", "-c", "trap 'exit 5' TERM HUP; while :; do sleep 0.1; done"]);
    let ended = launcher.terminate(&id, "10s");
    assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
    assert_eq!(ended["end"]["exit_code"], 5, "{ended}");
    assert_eq!(ended["end"]["stopped_by"], "signal", "{ended}");
}

#[test]
fn several_ids_end_together_and_the_worst_exit_code_counts() {
    let launcher = Launcher::start();
    let first = launcher.run_session("shell", &["sleep", "1000"]);
    let second = launcher.run_session("shell", &["sleep", "1000"]);
    launcher.cli(&["terminate", &first, "aaaaaaaaaaaaaaaaaaaa", &second]).exits(3);
    assert_eq!(launcher.session(&first)["state"], "ended");
    assert_eq!(launcher.session(&second)["state"], "ended");
}

/// A user's words in the places where a search through the whole request would take them for the launcher's own.
fn misleading(job: &str) -> serde_json::Value {
    json!({
        "template": "shell-exec", "command": ["sleep", "1000"], "tty": false,
        "tags": {"job_id": job, "mode": "kill", "id": "abcdefghjkmnpqrstvwx"},
        "env": {"mode": "kill", "job_id": job},
    })
}

#[test]
fn the_shipped_scripts_take_no_word_of_a_user_for_the_launchers() {
    let launcher = Launcher::start();
    // Past its monitor: the hook has to end the session, and nobody else's.
    let bystander = launcher.run_session("shell-exec", &["sleep", "1000"]);
    let other = launcher.session(&bystander)["job"]["id"].as_str().expect("a job").to_owned();
    let id = launcher.start_session(&misleading(&other));
    launcher.await_connected(&id);
    launcher.monitor(&id).signal(Signal::STOP);
    let answer = launcher.http().post(&format!("/sessions/{id}/terminate?wait=20s"), &json!({"grace": "1s"}));
    assert_eq!(answer.expect(200)["end"]["stopped_by"], "hook");
    nothing_left(&launcher, &id);
    assert_eq!(launcher.exec(&bystander, &["true"])["exit_code"], 0, "another session was hit");
}

#[test]
fn the_shipped_scripts_start_the_launchers_monitor_whatever_a_parameter_is_called() {
    let launcher = Launcher::start();
    let id = launcher.run_session("shell-exec", &["sleep", "1000"]);
    let canary = launcher.home().path().join("executed");
    let value = json!({"argv": ["/bin/touch", "run", "--bootstrap", canary.to_str()]});
    // Custom parameters may hold any JSON: those of a session that lives are in every later request.
    launcher
        .http()
        .patch(&format!("/sessions/{id}/params"), &json!({"monitor": value, "job_id": "1:1:ab"}))
        .expect(200);
    launcher.monitor(&id).signal(Signal::STOP);
    let answer = launcher.http().post(&format!("/sessions/{id}/terminate?wait=20s"), &json!({"grace": "1s"}));
    assert_eq!(answer.expect(200)["end"]["cause"], "terminated");
    nothing_left(&launcher, &id);
    assert!(!canary.exists());
}
