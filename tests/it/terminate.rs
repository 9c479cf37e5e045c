//! Terminate on pending sessions: the hook's verdict, and that it is sticky and final.

use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::templates::{HANG, QUEUE, RUN};
use wharf_tests::{Launcher, Template, processes, wait};

fn pending(template: &Template) -> (Launcher, String) {
    let launcher = Launcher::with(template);
    let id = launcher.start_session(&json!({"template": template.name()}));
    launcher
        .await_session(&id, "submitted", Duration::from_secs(15), |session| session["phase"] == "submitted");
    (launcher, id)
}

#[test]
fn what_was_not_submitted_just_ends_without_any_hook() {
    let template = Template::working("away").hook("submit", "exit 75");
    let launcher = Launcher::with(&template);
    let id = launcher.start_session(&json!({"template": "away"}));
    launcher.await_session(&id, "unavailable", Duration::from_secs(10), |session| {
        session["reason"]["code"] == "unavailable" && session["phase"] == "recorded"
    });
    let ended = launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({})).expect(200);
    assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
    assert_eq!(ended["end"]["stopped_by"], "not_started", "{ended}");
    assert_eq!(launcher.calls("terminate", None), 0);
}

#[test]
fn a_prepare_under_way_is_cancelled() {
    let launcher = Launcher::with(&Template::working("staging").hook("prepare", HANG));
    let id = launcher.start_session(&json!({"template": "staging"}));
    launcher.await_call("prepare", &id);
    assert_eq!(launcher.session(&id)["phase"], "preparing");
    let answer = launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({}));
    let ended = answer.expect(200);
    assert!(answer.took < Duration::from_secs(3), "{answer}");
    assert_eq!(ended["end"]["stopped_by"], "not_started", "{ended}");
    assert_eq!(launcher.calls("terminate", None) + launcher.calls("submit", None), 0);
    let hook = format!("{}/staging/hooks/prepare", launcher.home().templates().display());
    wharf_tests::until("the hook is ended", Duration::from_secs(5), || {
        let left = processes::running(&hook);
        wharf_tests::Probe::when(left.is_empty(), (), || format!("{left:?}"))
    });
}

#[test]
fn a_hook_that_says_ok_ends_it() {
    let (launcher, id) = pending(&Template::queueing("queue"));
    let ended = launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({})).expect(200);
    assert_eq!(ended["state"], "ended", "{ended}");
    assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
    assert_eq!(ended["end"]["stopped_by"], "hook", "{ended}");
    assert_eq!(launcher.calls("terminate", Some(&id)), 1);
    assert!(!launcher.listed().contains(&id));
    // Twice: no second effect.
    let again = launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({})).expect(200);
    assert_eq!(again["end"], ended["end"]);
    assert_eq!(launcher.calls("terminate", Some(&id)), 1);
    launcher.cli(&["terminate", &id]).exits(0);
}

#[test]
fn a_refusing_hook_reaches_the_user_and_the_wish_stays() {
    let refuse = "if [ -e \"$J/relent\" ]; then exit 0; fi; echo 'held by the operator' >&2; exit 1";
    let (launcher, id) = pending(&Template::queueing("stubborn").hook(
        "terminate",
        &refuse.replace(
            "exit 1",
            "printf '{\"error\":{\"kind\":\"invalid\",\"message\":\"held by the operator\"}}'",
        ),
    ));
    let answer = launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({}));
    let problem = answer.problem(502, "hook_failed");
    assert_eq!(problem["kind"], "invalid", "{problem}");
    assert!(
        problem["detail"].as_str().is_some_and(|text| text.contains("held by the operator")),
        "{problem}"
    );
    assert!(problem["trace_id"].is_string(), "{problem}");
    let session = launcher.session(&id);
    assert_eq!((&session["state"], &session["terminating"]), (&json!("pending"), &json!(true)), "{session}");
    let output = launcher.cli(&["terminate", &id]);
    output.exits(6);
    assert!(output.stderr.contains("held by the operator"), "{output}");
    let calls = launcher.calls("terminate", Some(&id));
    assert_eq!(calls, 2, "tried again when asked");
    std::fs::write(launcher.home().journal().join("relent"), "").expect("our own file");
    let ended = launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({})).expect(200);
    assert_eq!(ended["end"]["cause"], "terminated");
}

#[test]
fn denied_and_unavailable_have_their_status_and_the_same_code() {
    for (exit, status, kind) in [(77, 403, "denied"), (75, 503, "unavailable")] {
        let hook = format!("echo 'words of {kind}' >&2; exit {exit}");
        let (launcher, id) = pending(&Template::queueing("queue").hook("terminate", &hook));
        let answer = launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({}));
        let problem = answer.problem(status, "hook_failed");
        assert_eq!(problem["kind"], kind, "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains("words of")), "{problem}");
        launcher.cli(&["terminate", &id]).exits(6);
    }
}

#[test]
fn an_internal_failure_shows_a_trace_id() {
    let (launcher, id) =
        pending(&Template::queueing("queue").hook("terminate", "echo inner-detail >&2; exit 9"));
    let problem =
        launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({})).problem(502, "hook_failed");
    let trace = problem["trace_id"].as_str().expect("a trace id");
    let trace = launcher.http().get(&format!("/traces/{trace}")).expect(200);
    assert!(trace.to_string().contains("inner-detail"), "{trace}");
}

#[test]
fn a_job_that_starts_against_the_wish_is_told_to_end() {
    let (launcher, id) = pending(&Template::queueing("queue").hook("terminate", "exit 1"));
    launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({})).problem(502, "hook_failed");
    launcher.start_queued(&id);
    let ended = launcher.await_session(&id, "ended, never running", Duration::from_secs(20), |session| {
        assert_ne!(session["state"], "running", "it must not come to life: {session}");
        session["state"] == "ended"
    });
    assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
    gone(&launcher, &id);
}

/// Nothing of the session is left, and stays so.
fn gone(launcher: &Launcher, id: &str) {
    wharf_tests::until("nothing of the session runs", Duration::from_secs(20), || {
        let mut left = launcher.inside(id);
        left.extend(launcher.jobs(id).iter().filter_map(|job| {
            let pid = job.split(':').next()?.parse().ok()?;
            processes::Process::read(pid)
        }));
        wharf_tests::Probe::when(left.is_empty(), (), || format!("{left:?}"))
    });
}

#[test]
fn a_lying_hook_ends_the_record_and_the_late_job_is_told_to_end() {
    let (launcher, id) = pending(&Template::queueing("queue").hook("terminate", "exit 0"));
    let ended = launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({})).expect(200);
    assert_eq!(ended["end"]["stopped_by"], "hook");
    launcher.start_queued(&id);
    gone(&launcher, &id);
    assert_eq!(launcher.session(&id)["end"], ended["end"], "an end is written once");
    assert!(!launcher.listed().contains(&id));
}

#[test]
fn a_hanging_hook_is_504_by_its_deadline_and_the_wish_stays() {
    let template = Template::queueing("stuck")
        .hook("terminate", HANG)
        .toml("[timeouts]\nterminate = \"2s\"\npoll = \"1s\"\nsettle = \"2s\"\n");
    let (launcher, id) = pending(&template);
    let answer = launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({}));
    answer.problem(504, "hook_timeout");
    assert!(answer.took < Duration::from_secs(6), "{answer}");
    let session = launcher.session(&id);
    assert_eq!((&session["state"], &session["terminating"]), (&json!("pending"), &json!(true)), "{session}");
    launcher.cli(&["terminate", &id]).exits(7);
    let hook = format!("{}/stuck/hooks/terminate", launcher.home().templates().display());
    wharf_tests::until("the hanging hook is ended", Duration::from_secs(5), || {
        let left = processes::running(&hook);
        wharf_tests::Probe::when(left.is_empty(), (), || format!("{left:?}"))
    });
}

#[test]
fn concurrent_requests_join_one_run() {
    let (launcher, id) = pending(&Template::queueing("queue").hook("terminate", "sleep 1"));
    std::thread::scope(|scope| {
        let asks: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({}))))
            .collect();
        for ask in asks {
            let answer = ask.join().expect("no panic");
            assert_eq!(answer.expect(200)["end"]["cause"], "terminated");
        }
    });
    assert_eq!(launcher.calls("terminate", Some(&id)), 1);
}

#[test]
fn while_the_submit_hook_runs_it_is_202_and_never_shows_running() {
    let slow = format!("sleep 2\n{RUN}");
    let launcher = Launcher::with(&Template::working("slow").hook("submit", &slow));
    let id = launcher.start_session(&json!({"template": "slow"}));
    launcher.await_call("submit", &id);
    let answer = launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({}));
    let session = answer.expect(202);
    assert!(answer.took < Duration::from_secs(2), "{answer}");
    assert_eq!((&session["state"], &session["terminating"]), (&json!("pending"), &json!(true)));
    let ended = launcher.await_session(&id, "ended, never running", Duration::from_secs(20), |session| {
        assert_ne!(session["state"], "running", "{session}");
        session["state"] == "ended"
    });
    assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
    gone(&launcher, &id);
    wait::never("a job came back to life", Duration::from_secs(2), || {
        let left = launcher.inside(&id);
        (!left.is_empty()).then(|| format!("{left:?}"))
    });
}

#[test]
fn an_unknown_submit_is_not_in_flight_the_hook_runs_at_once_without_job_id() {
    let hook = r#"printf '%s' "$req" > "$J/terminate.json""#;
    let template =
        Template::working("lost").hook("submit", "exit 3").hook("find", "exit 1").hook("terminate", hook);
    let launcher = Launcher::with(&template);
    let id = launcher.start_session(&json!({"template": "lost"}));
    launcher.await_session(&id, "unknown", Duration::from_secs(10), |session| session["phase"] == "unknown");
    let ended = launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({})).expect(200);
    assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
    let text =
        std::fs::read_to_string(launcher.home().journal().join("terminate.json")).expect("the request");
    let request: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&request["api"], &request["hook"]), (&json!(1), &json!("terminate")), "{request}");
    let request = &request["request"];
    assert!(request["job_id"].is_null(), "{request}");
    assert_eq!(request["mode"], "stop", "{request}");
    assert_eq!(request["session"]["id"], id.as_str(), "{request}");
}

#[test]
fn terminated_stays_terminated_also_after_a_purge_and_a_restart() {
    let (mut launcher, id) = pending(&Template::queueing("queue").hook("terminate", "exit 0"));
    launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({})).expect(200);
    assert_eq!(launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})).status, 204);
    launcher.kill9();
    launcher.restart();
    launcher.start_queued(&id);
    gone(&launcher, &id);
    launcher.http().get(&format!("/sessions/{id}")).problem(404, "unknown_session");
}

#[test]
fn a_purge_of_a_session_with_a_recorded_wish_keeps_the_wish() {
    let (launcher, id) = pending(&Template::queueing("queue").hook("terminate", "exit 1"));
    launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({})).problem(502, "hook_failed");
    assert_eq!(launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})).status, 204);
    launcher.start_queued(&id);
    gone(&launcher, &id);
    assert!(!launcher.listed().contains(&id));
}

#[test]
fn on_a_terminating_session_connect_exec_and_share_are_refused() {
    let (launcher, id) = pending(&Template::queueing("queue").hook("terminate", "exit 1"));
    let http = launcher.http();
    http.post(&format!("/sessions/{id}/terminate"), &json!({})).problem(502, "hook_failed");
    http.post(&format!("/sessions/{id}/connect"), &json!({})).problem(409, "session_terminating");
    http.post(&format!("/sessions/{id}/exec"), &json!({"argv": ["true"]}))
        .problem(409, "session_terminating");
    http.post(&format!("/sessions/{id}/shares"), &json!({"grantee": "user:bob"}))
        .problem(409, "session_terminating");
}

#[test]
fn a_terminate_hook_cut_off_by_a_crash_runs_again_at_the_start() {
    let hook = "if [ \"$(grep -c \"^terminate $id\" \"$J/calls\")\" -lt 2 ]; then sleep 1000; fi";
    let (mut launcher, id) = pending(&Template::working("cut").hook("submit", QUEUE).hook("terminate", hook));
    std::thread::scope(|scope| {
        let http = launcher.http();
        let path = format!("/sessions/{id}/terminate");
        scope.spawn(move || http.try_send("POST", &path, &json!({})));
        launcher.await_call("terminate", &id);
        launcher.kill9();
    });
    launcher.restart();
    let ended = launcher.await_ended(&id, Duration::from_secs(20));
    assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
    assert_eq!(launcher.calls("terminate", Some(&id)), 2);
}
