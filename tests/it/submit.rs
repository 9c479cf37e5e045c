//! What a submit hook's answers mean for its session.

use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::templates::{HANG, RUN};
use wharf_tests::{Launcher, Probe, Template, until, wait};

#[test]
fn plain_refusals_end_the_session_as_submit_failed_with_the_hooks_words() {
    for (exit, word) in [(65, "bad account"), (69, "no such queue"), (77, "you may not"), (78, "set me up")] {
        let hook = format!("echo '{word}' >&2; exit {exit}");
        let launcher = Launcher::with(&Template::working("refusing").hook("submit", &hook));
        let id = launcher.start_session(&json!({"template": "refusing"}));
        let ended = launcher.await_ended(&id, Duration::from_secs(15));
        assert_eq!(ended["end"]["cause"], "submit_failed", "{ended}");
        assert!(ended["end"]["message"].as_str().expect("a message").contains(word), "{ended}");
        assert_eq!(launcher.calls("submit", Some(&id)), 1);
    }
}

#[test]
fn a_json_error_of_a_refusing_kind_does_the_same() {
    for kind in ["invalid", "denied", "not_found", "unsupported", "misconfigured"] {
        let hook = format!(r#"echo '{{"error":{{"kind":"{kind}","message":"words of {kind}"}}}}'"#);
        let launcher = Launcher::with(&Template::working("refusing").hook("submit", &hook));
        let id = launcher.start_session(&json!({"template": "refusing"}));
        let ended = launcher.await_ended(&id, Duration::from_secs(15));
        assert_eq!(ended["end"]["cause"], "submit_failed", "{ended}");
        let message = ended["end"]["message"].as_str().expect("a message");
        assert!(message.contains(&format!("words of {kind}")), "{ended}");
    }
}

#[test]
fn unavailable_stays_pending_and_is_submitted_again() {
    let hook = format!("if [ ! -e \"$J/up\" ]; then echo 'controller is away' >&2; exit 75; fi\n{RUN}");
    let launcher = Launcher::with(&Template::working("away").hook("submit", &hook));
    let id = launcher.start_session(&json!({"template": "away"}));
    let waiting = launcher.await_session(&id, "unavailable", Duration::from_secs(15), |session| {
        session["reason"]["code"] == "unavailable"
    });
    assert_eq!((&waiting["state"], &waiting["phase"]), (&json!("pending"), &json!("recorded")), "{waiting}");
    assert!(waiting["reason"]["message"].as_str().is_some_and(|text| text.contains("controller is away")));
    assert_eq!(waiting["job"], Value::Null);
    std::fs::write(launcher.home().journal().join("up"), "").expect("our own file");
    let running = launcher
        .await_session(&id, "running", Duration::from_secs(60), |session| session["state"] == "running");
    assert_eq!(running["link"], "connected");
    assert!(launcher.calls("submit", Some(&id)) >= 2);
    assert_eq!(launcher.jobs(&id).len(), 1);
}

#[test]
fn retry_after_of_an_unavailable_scheduler_is_obeyed() {
    let hook = format!(
        r#"if [ "$(grep -c "^submit $id" "$J/calls")" -lt 2 ]; then
  echo '{{"error":{{"kind":"unavailable","message":"later","retry_after":2}}}}'; exit 0; fi
{RUN}"#
    );
    let launcher = Launcher::with(&Template::working("later").hook("submit", &hook));
    let (_, took) = wait::timed(|| {
        let id = launcher.start_session(&json!({"template": "later"}));
        launcher.await_connected(&id)
    });
    assert!(took >= Duration::from_millis(1900), "after {took:?}");
}

#[test]
fn a_hook_that_fails_again_and_again_is_held_whatever_it_asks_for_and_its_words_are_escaped() {
    let hook = r#"date +%s%N >> "$J/times"
echo '{"error":{"kind":"unavailable","message":"a\u001b[31mb","retry_after":"100ms"}}'"#;
    let launcher = Launcher::with(&Template::working("later").hook("submit", hook));
    launcher.start_session(&json!({"template": "later"}));
    let times = until("the sixth submit", Duration::from_secs(30), || {
        let text = std::fs::read_to_string(launcher.home().journal().join("times")).unwrap_or_default();
        let times: Vec<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
        Probe::when(times.len() >= 6, times, || text)
    });
    let held = Duration::from_nanos(times[5] - times[4]);
    assert!(held >= Duration::from_millis(1900), "held for {held:?} after five failures");
    let log = launcher.log();
    let line = log.lines().find(|line| line.contains("fails again and again")).expect("it is warned of");
    assert!(line.contains("31mb") && !line.contains('\u{1b}'), "{line:?}");
}

#[test]
fn a_lost_answer_is_looked_up_and_never_repeated() {
    // The job starts; then the hook dies without having said so.
    let hook = format!("{RUN} >/dev/null; kill -9 $$");
    let launcher = Launcher::with(&Template::working("lossy").hook("submit", &hook));
    let id = launcher.start_session(&json!({"template": "lossy"}));
    launcher.await_connected(&id);
    assert_eq!(launcher.calls("submit", Some(&id)), 1);
    assert_eq!(launcher.jobs(&id).len(), 1);
    let job = launcher.jobs(&id).remove(0);
    launcher.await_session(&id, "knows its job", Duration::from_secs(15), |session| {
        session["job"]["id"] == job.as_str()
    });
}

#[test]
fn a_submit_past_its_deadline_is_unknown_then_found() {
    let hook = format!("{RUN} > /dev/null; {HANG}");
    let template = Template::working("slow")
        .hook("submit", &hook)
        .toml("[timeouts]\nsubmit = \"1s\"\nfind = \"5s\"\nsettle = \"2s\"\npoll = \"1s\"\n");
    let launcher = Launcher::with(&template);
    let id = launcher.start_session(&json!({"template": "slow"}));
    launcher.await_connected(&id);
    assert_eq!(launcher.jobs(&id).len(), 1);
    assert_eq!(launcher.calls("submit", Some(&id)), 1);
}

#[test]
fn what_find_surely_does_not_know_ends_after_settle() {
    let template = Template::working("dying").hook("submit", "echo 'it broke here' >&2; exit 3");
    let launcher = Launcher::with(&template);
    let id = launcher.start_session(&json!({"template": "dying"}));
    let seen = launcher.await_session(&id, "unknown, or over", Duration::from_secs(10), |session| {
        session["phase"] == "unknown" || session["state"] == "ended"
    });
    assert_eq!(seen["phase"], "unknown", "settle has not passed: {seen}");
    let ended = launcher.await_ended(&id, Duration::from_secs(20));
    assert_eq!(ended["end"]["cause"], "submit_failed", "{ended}");
    assert_eq!(launcher.calls("submit", Some(&id)), 1);
    assert!(launcher.calls("find", None) >= 1);
}

#[test]
fn a_failing_find_ends_nothing() {
    let template = Template::working("blind").hook("submit", "exit 3").hook("find", "exit 1");
    let launcher = Launcher::with(&template);
    let id = launcher.start_session(&json!({"template": "blind"}));
    launcher.await_session(&id, "unknown", Duration::from_secs(10), |session| session["phase"] == "unknown");
    wait::never("a failing find ended it", Duration::from_secs(6), || {
        let session = launcher.session(&id);
        (session["state"] != "pending").then(|| session.to_string())
    });
    assert!(launcher.calls("find", None) >= 2, "it is asked again");
}

#[test]
fn without_find_a_plain_exit_is_submit_failed() {
    let template = Template::working("plain").without("find").hook("submit", "echo nope >&2; exit 3");
    let launcher = Launcher::with(&template);
    let id = launcher.start_session(&json!({"template": "plain"}));
    let ended = launcher.await_ended(&id, Duration::from_secs(10));
    assert_eq!(ended["end"]["cause"], "submit_failed", "{ended}");
}

#[test]
fn a_job_that_is_over_without_registering_is_never_registered() {
    let template = Template::queueing("early").hook(
        "status",
        r#"j=$(ask '"job_id":"[^"]*"' | head -n 1)
if [ -e "$J/over" ]; then s=ended; else s=queued; fi
printf '{"result":{"%s":{"state":"%s","raw":"FAILED"}}}\n' "$j" "$s""#,
    );
    let launcher = Launcher::with(&template);
    let id = launcher.start_session(&json!({"template": "early"}));
    launcher
        .await_session(&id, "queued", Duration::from_secs(10), |session| session["job"]["state"] == "queued");
    std::fs::write(launcher.home().journal().join("over"), "").expect("our own file");
    let ended = launcher.await_ended(&id, Duration::from_secs(15));
    assert_eq!(ended["end"]["cause"], "never_registered", "{ended}");
}

#[test]
fn cannot_tell_never_changes_a_session() {
    for status in ["exit 1", "echo '{\"result\":{}}'", "echo rubbish", HANG, "echo '{\"result\":[]}'"] {
        let template = Template::queueing("vague")
            .hook("status", status)
            .toml("[timeouts]\npoll = \"500ms\"\nstatus = \"1s\"\nsettle = \"1s\"\n");
        let launcher = Launcher::with(&template);
        let id = launcher.start_session(&json!({"template": "vague"}));
        launcher.queued(&id);
        wait::never("an unclear status changed it", Duration::from_secs(3), || {
            let session = launcher.session(&id);
            (session["state"] != "pending").then(|| session.to_string())
        });
        launcher.start_queued(&id);
        launcher.await_connected(&id);
    }
}

#[test]
fn a_job_cancelled_outside_has_vanished() {
    let launcher = Launcher::with(&Template::queueing("queue").hook(
        "status",
        r#"j=$(ask '"job_id":"[^"]*"' | head -n 1)
if [ -e "$J/gone" ]; then s=gone; else s=queued; fi
printf '{"result":{"%s":{"state":"%s","raw":"CANCELLED by 0"}}}\n' "$j" "$s""#,
    ));
    let id = launcher.start_session(&json!({"template": "queue"}));
    launcher
        .await_session(&id, "queued", Duration::from_secs(10), |session| session["job"]["state"] == "queued");
    std::fs::write(launcher.home().journal().join("gone"), "").expect("our own file");
    let ended = launcher.await_ended(&id, Duration::from_secs(20));
    assert_eq!(ended["end"]["cause"], "vanished", "{ended}");
    assert!(ended["end"]["message"].as_str().is_some_and(|text| text.contains("CANCELLED")), "{ended}");
}
