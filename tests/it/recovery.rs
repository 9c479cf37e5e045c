//! `kill -9` of the launcher at chosen moments: nothing acknowledged is lost, nothing starts twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wharf_tests::templates::{QUEUE, RUN};
use wharf_tests::{Launcher, Probe, Template, alone, processes, until, wait};

#[test]
fn twenty_running_sessions_do_not_notice_and_are_linked_again_in_time() {
    let _alone = alone();
    let mut launcher = Launcher::start();
    let ids: Vec<String> = (0..20)
        .map(|_| {
            launcher.start_session(&json!({"template": "shell", "command": ["sleep", "1000"], "tty": false}))
        })
        .collect();
    for id in &ids {
        launcher.await_connected(id);
    }
    let before: BTreeMap<&String, Vec<processes::Process>> =
        ids.iter().map(|id| (id, vec![launcher.monitor(id), launcher.inside(id).remove(0)])).collect();
    launcher.kill9();
    launcher.restart();
    until("all are linked again", Duration::from_secs(15), || {
        let sessions = launcher.pages("limit=100");
        let linked = sessions.iter().filter(|session| session["link"] == "connected").count();
        Probe::when(linked == 20, (), || format!("{linked} of {}", sessions.len()))
    });
    let took = launcher.spawned.elapsed();
    assert!(took < Duration::from_secs(5), "linked again only {took:?} after the restart");
    for (id, processes) in before {
        for process in processes {
            assert!(process.is_alive(), "a process of {id} is gone: {process:?}");
        }
        let session = launcher.session(id);
        assert_eq!(session["state"], "running", "{session}");
        assert_eq!(launcher.inside(id).len(), 1, "started twice: {id}");
    }
    assert_eq!(launcher.exec(&ids[7], &["echo", "there"])["stdout"], "there\n");
}

#[test]
fn killed_after_the_job_started_and_before_the_answer_there_is_exactly_one_job() {
    let slow = format!("{RUN} > /dev/null\nsleep 5\necho \"$job\"");
    let mut launcher = Launcher::with(&Template::working("slow").hook("submit", &slow));
    let id = launcher.start_session(&json!({"template": "slow"}));
    until("the job is started", Duration::from_secs(10), || {
        Probe::when(launcher.jobs(&id).len() == 1, (), || format!("{:?}", launcher.jobs(&id)))
    });
    launcher.kill9();
    launcher.restart();
    launcher.await_connected(&id);
    let job = launcher.jobs(&id).remove(0);
    launcher.await_session(&id, "knows its job", Duration::from_secs(15), |session| {
        session["job"]["id"] == job.as_str()
    });
    wait::never("a second job or submit", Duration::from_secs(6), || {
        let jobs = launcher.jobs(&id);
        let submits = launcher.calls("submit", Some(&id));
        (jobs.len() != 1 || submits != 1).then(|| format!("{jobs:?}, {submits} submits"))
    });
    assert_eq!(launcher.inside(&id).len(), 1);
}

#[test]
fn an_orphaned_hook_that_would_have_submitted_later_is_ended_first() {
    let slow = format!("sleep 4\n{RUN}");
    let mut launcher = Launcher::with(&Template::working("late").hook("submit", &slow));
    let id = launcher.start_session(&json!({"template": "late"}));
    launcher.await_call("submit", &id);
    launcher.kill9();
    let killed = Instant::now();
    launcher.restart();
    let settled = launcher.await_session(&id, "settled", Duration::from_secs(40), |session| {
        session["state"] == "running" || session["state"] == "ended"
    });
    wait::never("more than one job", Duration::from_secs(7).saturating_sub(killed.elapsed()), || {
        let jobs = launcher.jobs(&id);
        (jobs.len() > 1).then(|| format!("{jobs:?}"))
    });
    let jobs = launcher.jobs(&id).len();
    match settled["state"].as_str() {
        // The hook was ended before it submitted, find knows no job, and nothing is repeated blindly.
        Some("ended") => {
            assert_eq!(settled["end"]["cause"], "submit_failed", "{settled}");
            assert_eq!(jobs, 0, "a job without a session: {settled}");
            assert!(launcher.inside(&id).is_empty());
        }
        _ => assert_eq!(jobs, 1, "{settled}"),
    }
}

#[test]
fn leftovers_that_left_their_group_are_ended_too() {
    // The hook's child moves to a session of its own, and would submit long after the crash.
    let sneaky =
        format!("setsid sh -c 'sleep 4; touch \"'\"$J\"'/late\"' > /dev/null 2>&1 &\nsleep 60\n{RUN}");
    let mut launcher = Launcher::with(&Template::working("sneaky").hook("submit", &sneaky));
    let id = launcher.start_session(&json!({"template": "sneaky"}));
    launcher.await_call("submit", &id);
    launcher.kill9();
    launcher.restart();
    let late = launcher.home().journal().join("late");
    wait::never("the leftover went on", Duration::from_secs(6), || late.exists().then(String::new));
}

#[test]
fn a_recorded_session_is_submitted_after_the_restart() {
    let hook = format!("if [ ! -e \"$J/up\" ]; then exit 75; fi\n{RUN}");
    let mut launcher = Launcher::with(&Template::working("away").hook("submit", &hook));
    let id = launcher.start_session(&json!({"template": "away"}));
    launcher.await_session(&id, "unavailable", Duration::from_secs(10), |session| {
        session["reason"]["code"] == "unavailable"
    });
    launcher.kill9();
    std::fs::write(launcher.home().journal().join("up"), "").expect("our own file");
    launcher.restart();
    launcher.await_session(&id, "running", Duration::from_secs(60), |session| session["state"] == "running");
    assert_eq!(launcher.jobs(&id).len(), 1);
}

#[test]
fn a_prepare_is_prepared_again() {
    let prepare =
        "if [ \"$(grep -c '^prepare' \"$J/calls\")\" -lt 2 ]; then sleep 1000; fi; echo '{\"result\":{}}'";
    let mut launcher = Launcher::with(&Template::working("staging").hook("prepare", prepare));
    let id = launcher.start_session(&json!({"template": "staging"}));
    launcher.await_call("prepare", &id);
    launcher.kill9();
    launcher.restart();
    launcher.await_connected(&id);
    assert_eq!(launcher.calls("prepare", Some(&id)), 2);
    assert_eq!(launcher.calls("submit", Some(&id)), 1);
}

#[test]
fn a_submitted_session_stays_so_and_its_later_job_registers() {
    let mut launcher = Launcher::with(&Template::queueing("queue").hook("submit", QUEUE));
    let id = launcher.start_session(&json!({"template": "queue", "name": "patient"}));
    let before = launcher.await_session(&id, "queued", Duration::from_secs(10), |session| {
        session["phase"] == "submitted" && session["job"]["state"] == "queued"
    });
    launcher.kill9();
    launcher.restart();
    let after = launcher.session(&id);
    for member in ["id", "name", "state", "phase", "created_at", "submitted_at", "owner"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    assert_eq!(after["job"]["id"], before["job"]["id"]);
    launcher.start_queued(&id);
    launcher.await_connected(&id);
    assert_eq!(launcher.calls("submit", Some(&id)), 1);
}

#[test]
fn a_job_that_registers_while_the_launcher_is_away_is_taken_in() {
    let mut launcher = Launcher::with(&Template::queueing("queue"));
    let id = launcher.start_session(&json!({"template": "queue"}));
    launcher
        .await_session(&id, "submitted", Duration::from_secs(10), |session| session["phase"] == "submitted");
    launcher.kill9();
    launcher.start_queued(&id);
    launcher.restart();
    launcher.await_connected(&id);
}

#[test]
fn the_true_exit_code_arrives_although_the_launcher_was_away_at_the_end() {
    let mut launcher = Launcher::start();
    let stop = launcher.home().path().join("stop");
    let script = format!("while [ ! -e {} ]; do sleep 0.1; done; exit 42", stop.display());
    let id = launcher.run_session("shell", &["sh", "-c", &script]);
    let inside = launcher.inside(&id);
    launcher.kill9();
    std::fs::write(&stop, "").expect("our own directory");
    until("the command is over", Duration::from_secs(5), || {
        let left: Vec<_> = inside.iter().filter(|process| process.is_alive()).collect();
        Probe::when(left.is_empty(), (), || format!("{left:?}"))
    });
    launcher.restart();
    let ended = launcher.await_ended(&id, Duration::from_secs(20));
    assert_eq!(
        (&ended["end"]["cause"], &ended["end"]["exit_code"]),
        (&json!("exited"), &json!(42)),
        "{ended}"
    );
}

#[test]
fn every_acknowledged_change_survives_a_kill() {
    let mut launcher = Launcher::with(&Template::queueing("queue").hook("terminate", "exit 1"));
    let ids: Vec<String> = (0..5)
        .map(|at| launcher.start_session(&json!({"template": "queue", "name": format!("kept-{at}")})))
        .collect();
    for id in &ids {
        launcher.await_session(id, "submitted", Duration::from_secs(15), |session| {
            session["phase"] == "submitted"
        });
    }
    let http = launcher.http();
    http.patch(&format!("/sessions/{}/params", ids[0]), &json!({"note": "kept"})).expect(200);
    http.post(&format!("/sessions/{}/shares", ids[1]), &json!({"grantee": "user:bob"})).expect(201);
    http.post(&format!("/sessions/{}/terminate", ids[2]), &json!({})).problem(502, "hook_failed");
    assert_eq!(http.post(&format!("/sessions/{}/purge", ids[3]), &json!({})).status, 204);
    let token = launcher.token("full", None);
    launcher.kill9();
    launcher.restart();
    assert_eq!(launcher.session(&ids[0])["params"]["note"], "kept");
    let shares = launcher.http().get(&format!("/sessions/{}/shares", ids[1])).expect(200);
    assert_eq!(shares["items"][0]["grantee"], "user:bob", "{shares}");
    assert_eq!(launcher.session(&ids[2])["terminating"], true);
    launcher.http().get(&format!("/sessions/{}", ids[3])).problem(404, "unknown_session");
    assert_eq!(launcher.session(&ids[4])["name"], "kept-4");
    launcher.tcp(Some(&token)).get("/sessions").expect(200);
}

#[test]
fn params_and_terminate_reach_a_session_whose_link_was_lost() {
    let mut launcher = Launcher::start();
    let id = launcher.run_session("shell", &["sleep", "1000"]);
    let monitor = launcher.monitor(&id);
    monitor.signal(rustix::process::Signal::STOP);
    launcher.kill9();
    launcher.restart();
    let session = launcher.session(&id);
    assert_eq!((&session["state"], &session["link"]), (&json!("running"), &json!("lost")), "{session}");
    launcher
        .http()
        .post(&format!("/sessions/{id}/exec"), &json!({"argv": ["true"]}))
        .problem(503, "unreachable");
    launcher.http().post(&format!("/sessions/{id}/connect"), &json!({})).problem(503, "unreachable");
    let params: Value =
        launcher.http().patch(&format!("/sessions/{id}/params"), &json!({"late": 1})).expect(200);
    assert_eq!(params["params"]["late"], 1);
    monitor.signal(rustix::process::Signal::CONT);
    launcher.await_reappeared(&id, Duration::from_secs(40));
    assert_eq!(launcher.session(&id)["params"]["late"], 1);
    launcher.cli(&["terminate", &id]).exits(0);
}
