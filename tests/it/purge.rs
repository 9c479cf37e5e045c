//! Purge repairs the record: refused while the session answers, done when it cannot be reached.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use wharf_tests::templates::HANG;
use wharf_tests::{Launcher, Probe, Template, alone, until, wait};

#[test]
fn a_reachable_session_is_kept_and_written_again() {
    let launcher = Launcher::start();
    let id = launcher.run_session("shell", &["sleep", "1000"]);
    let before = launcher.session(&id)["rev"].as_u64().expect("a rev");
    let answer = launcher.http().post(&format!("/sessions/{id}/purge"), &json!({}));
    answer.problem(409, "session_reachable");
    let after = launcher.session(&id)["rev"].as_u64().expect("a rev");
    assert!(after > before, "the record is written again: {before} -> {after}");
    launcher.cli(&["purge", &id]).exits(4);
    assert_eq!(launcher.session(&id)["state"], "running");
    assert_eq!(launcher.inside(&id).len(), 1);
}

#[test]
fn a_killed_monitor_is_purged_in_time() {
    let _alone = alone();
    let template = Template::working("plain").without("status");
    let launcher = Launcher::with(&template);
    let id = launcher.run_session("plain", &["sleep", "1000"]);
    launcher.monitor(&id).signal(Signal::KILL);
    let (answer, took) = wait::timed(|| launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})));
    assert_eq!(answer.status, 204, "{answer}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    launcher.http().get(&format!("/sessions/{id}")).problem(404, "unknown_session");
    assert!(!launcher.listed().contains(&id));
    assert_eq!(launcher.calls("terminate", Some(&id)), 0, "purge runs no hook");
}

#[test]
fn a_stopped_monitor_is_purged_in_time_and_comes_back_when_it_goes_on() {
    let _alone = alone();
    let launcher = Launcher::start();
    let id = launcher.run_session("shell", &["sleep", "1000"]);
    let monitor = launcher.monitor(&id);
    let inside = launcher.inside(&id);
    monitor.signal(Signal::STOP);
    let (answer, took) = wait::timed(|| launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})));
    assert_eq!(answer.status, 204, "{answer}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    launcher.http().get(&format!("/sessions/{id}")).problem(404, "unknown_session");
    monitor.signal(Signal::CONT);
    launcher.await_reappeared(&id, Duration::from_secs(20));
    assert!(inside[0].is_alive(), "its command never noticed");
    assert_eq!(launcher.terminate(&id, "10s")["end"]["cause"], "terminated");
}

#[test]
fn a_pending_session_is_purged_at_once_without_any_hook_while_every_hook_hangs_in_time() {
    let _alone = alone();
    let mut template = Template::queueing("stuck");
    for hook in ["status", "find", "terminate", "logs", "on_ended"] {
        template = template.hook(hook, HANG);
    }
    let launcher = Launcher::with(&template);
    let id = launcher.start_session(&json!({"template": "stuck"}));
    launcher
        .await_session(&id, "submitted", Duration::from_secs(10), |session| session["phase"] == "submitted");
    let terminates = launcher.calls("terminate", None);
    let answer = launcher.http().post(&format!("/sessions/{id}/purge"), &json!({}));
    assert_eq!(answer.status, 204, "{answer}");
    assert!(answer.took < Duration::from_secs(1), "{answer}");
    launcher.http().get(&format!("/sessions/{id}")).problem(404, "unknown_session");
    assert_eq!(launcher.calls("terminate", None), terminates);
    assert_eq!(launcher.calls("terminate", Some(&id)) + launcher.calls("logs", Some(&id)), 0);
    wait::never("a hook ran for a purged session", Duration::from_secs(2), || {
        let calls = launcher.calls("terminate", Some(&id)) + launcher.calls("on_ended", Some(&id));
        (calls > 0).then(|| calls.to_string())
    });
}

#[test]
fn a_submit_that_hangs_does_not_hold_a_purge_up() {
    let launcher = Launcher::with(&Template::working("stuck").hook("submit", HANG));
    let id = launcher.start_session(&json!({"template": "stuck"}));
    launcher.await_call("submit", &id);
    let answer = launcher.http().post(&format!("/sessions/{id}/purge"), &json!({}));
    assert_eq!(answer.status, 204, "{answer}");
    assert!(answer.took < Duration::from_secs(1), "{answer}");
    launcher.http().get(&format!("/sessions/{id}")).problem(404, "unknown_session");
}

#[test]
fn right_after_a_restart_it_cannot_tell_and_says_when_to_ask_again() {
    let _alone = alone();
    let mut launcher = Launcher::with(&Template::working("plain").without("status"));
    let id = launcher.run_session("plain", &["sleep", "1000"]);
    let monitor = launcher.monitor(&id);
    launcher.kill9();
    monitor.signal(Signal::STOP);
    launcher.restart();
    let answer = launcher.http().post(&format!("/sessions/{id}/purge"), &json!({}));
    answer.problem(503, "cannot_tell");
    let seconds = answer.retry_after();
    assert!((1..=35).contains(&seconds), "{seconds}");
    launcher.cli(&["purge", &id]).exits(7);
    assert_eq!(launcher.session(&id)["state"], "running", "the record is kept");
    // Once that time is over, the answer is the right one.
    let answer = until("the launcher can tell", Duration::from_secs(seconds + 10), || {
        let answer = launcher.http().post(&format!("/sessions/{id}/purge"), &json!({}));
        Probe::when(answer.status != 503, answer.clone(), || answer.to_string())
    });
    assert_eq!(answer.status, 204, "{answer}");
    assert!(launcher.spawned.elapsed() <= Duration::from_secs(45));
}

#[test]
fn after_a_restart_a_healthy_session_is_refused_as_soon_as_it_is_back() {
    let mut launcher = Launcher::start();
    let id = launcher.run_session("shell", &["sleep", "1000"]);
    launcher.kill9();
    launcher.restart();
    until("the purge is refused for the right reason", Duration::from_secs(30), || {
        let answer = launcher.http().post(&format!("/sessions/{id}/purge"), &json!({}));
        match answer.status {
            409 => Probe::Ready(()),
            503 => Probe::NotYet(answer.to_string()),
            _ => Probe::Never(answer.to_string()),
        }
    });
    assert_eq!(launcher.session(&id)["state"], "running");
}

#[test]
fn a_purge_forgets_shares_logs_history_and_the_key_answers_410() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let http = launcher.http().with("idempotency-key", "purge-key");
    let body = json!({"template": "queue"});
    let id = http.post("/sessions", &body).expect(201)["id"].as_str().expect("an id").to_owned();
    launcher.queued(&id);
    launcher.http().post(&format!("/sessions/{id}/shares"), &json!({"grantee": "user:bob"})).expect(201);
    assert_eq!(launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})).status, 204);
    for read in ["", "/params", "/logs", "/history", "/shares"] {
        launcher.http().get(&format!("/sessions/{id}{read}")).problem(404, "unknown_session");
    }
    launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})).problem(404, "unknown_session");
    http.post("/sessions", &body).problem(410, "session_purged");
    assert_eq!(launcher.calls("submit", None), 1, "no new job");
    assert!(launcher.pages("state=ended").is_empty());
}

#[test]
fn purge_racing_registration_leaves_no_monitor_without_a_record() {
    let rounds = if wharf_tests::campaign() { 1000 } else { 100 };
    let seed = wharf_tests::seed();
    println!("WHARF_SEED={seed}");
    let mut dice = wharf_tests::Dice::new(seed);
    let mut launcher = Launcher::with(&Template::queueing("race").without("status"));
    let batch = 10;
    for round in 0..rounds / batch {
        let ids: Vec<String> =
            (0..batch).map(|_| launcher.start_session(&json!({"template": "race"}))).collect();
        for id in &ids {
            launcher.queued(id);
        }
        let moments: Vec<u64> = ids.iter().map(|_| dice.below(60)).collect();
        std::thread::scope(|scope| {
            let launcher = &launcher;
            for (id, moment) in ids.iter().zip(moments) {
                scope.spawn(move || launcher.start_queued(id));
                scope.spawn(move || {
                    wait::pause(Duration::from_millis(moment));
                    let answer = launcher.http().post(&format!("/sessions/{id}/purge"), &json!({}));
                    assert!(matches!(answer.status, 204 | 409), "round {round}, {moment} ms: {answer}");
                });
            }
        });
        for id in &ids {
            launcher.await_reappeared(id, Duration::from_secs(20));
        }
        std::thread::scope(|scope| {
            let launcher = &launcher;
            for id in &ids {
                scope.spawn(move || launcher.terminate(id, "20s"));
            }
        });
        launcher.forget("queue");
    }
    assert!(launcher.is_running());
}
