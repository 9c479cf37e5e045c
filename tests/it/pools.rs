//! Templates that hang or fail slow down nobody else, and everybody sees which ones they are.

use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::templates::HANG;
use wharf_tests::{Launcher, Probe, Template, alone, until, wait};

#[test]
fn a_hundred_hanging_hooks_leave_lists_and_other_templates_alone_in_time() {
    let _alone = alone();
    let mut stuck =
        Template::working("stuck").toml("[timeouts]\nsubmit = \"60s\"\nstatus = \"60s\"\npoll = \"1s\"\n");
    for hook in ["submit", "find", "status", "terminate", "logs", "options"] {
        stuck = stuck.hook(hook, HANG);
    }
    let launcher = Launcher::builder().template(&stuck).template(&Template::working("plain")).start();
    let ids: Vec<String> = (0..100).map(|_| launcher.start_session(&json!({"template": "stuck"}))).collect();
    until("many of them hang", Duration::from_secs(20), || {
        let calls = launcher.calls("submit", None);
        Probe::when(calls >= 16, (), || format!("{calls} submits"))
    });
    let (listed, took) = wait::timed(|| launcher.http().get("/sessions?limit=500").expect(200));
    assert!(took < Duration::from_secs(1), "list: {took:?}");
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(100));
    let (_, took) = wait::timed(|| launcher.cli(&["list"]).ok().len());
    assert!(took < Duration::from_secs(3), "list: {took:?}");
    let (id, took) = wait::timed(|| launcher.run_session("plain", &[]));
    assert!(took < Duration::from_secs(5), "start: {took:?}");
    let (_, took) = wait::timed(|| launcher.terminate(&id, "10s"));
    assert!(took < Duration::from_secs(5), "terminate: {took:?}");
    // Nobody reads as submitted, nor as ended.
    let session = launcher.session(&ids[99]);
    assert_eq!((&session["state"], &session["job"]), (&json!("pending"), &Value::Null));
}

fn template(launcher: &Launcher, name: &str) -> Value {
    let all = launcher.http().get("/templates").expect(200);
    let items = all["items"].as_array().expect("items").clone();
    items.into_iter().find(|template| template["name"] == name).expect("it is listed")
}

#[test]
fn a_hook_that_fails_again_and_again_is_shown_and_let_alone_until_it_works_again() {
    // Without find each of them stays unknown: bad output is no answer.
    let broken = Template::working("flaky").hook("submit", "kill -9 $$").without("find");
    let launcher = Launcher::builder().template(&broken).template(&Template::working("plain")).start();
    for _ in 0..5 {
        let id = launcher.start_session(&json!({"template": "flaky"}));
        launcher
            .await_session(&id, "unknown", Duration::from_secs(10), |session| session["phase"] == "unknown");
    }
    let answer = launcher.http().post("/sessions", &json!({"template": "flaky"}));
    let problem = answer.problem(503, "unavailable");
    assert!(problem.to_string().contains("submit"), "{problem}");
    assert!(answer.header("retry-after").is_some_and(|after| after.parse::<u64>().is_ok_and(|s| s >= 1)));
    let before = launcher.listed().len();
    launcher.http().post("/sessions", &json!({"template": "flaky"})).problem(503, "unavailable");
    assert_eq!(launcher.listed().len(), before, "a refused start leaves no record");
    let failing = template(&launcher, "flaky")["failing"][0].clone();
    assert_eq!((&failing["hook"], &failing["failures"]), (&json!("submit"), &json!(5)), "{failing}");
    assert_eq!(failing["breaker"], "open", "{failing}");
    assert!(failing["next_try"].is_string(), "{failing}");
    let error = failing["error"].as_str().expect("words");
    let (_, trace) = error.trim_end_matches(')').rsplit_once("wharf trace ").expect("a trace to look at");
    launcher.http().get(&format!("/traces/{trace}")).expect(200);
    assert_eq!(template(&launcher, "plain")["failing"], json!([]));
    let backend = launcher.http().get("/backends").expect(200)["items"][0].clone();
    assert_eq!((&backend["name"], &backend["breaker"]), (&json!("shell"), &json!("open")), "{backend}");
    assert!(backend["next_try"].is_string(), "{backend}");
    assert!(backend["last_error"].as_str().is_some_and(|error| error.contains("flaky")), "{backend}");
    let shown = launcher.cli(&["template", "list"]);
    let shown = shown.ok();
    assert!(shown.contains("submit failed 5 times in a row, next try"), "{shown}");
    let shown = launcher.cli(&["backend", "list"]);
    assert!(shown.ok().contains("next try"), "{}", shown.ok());
    // Others of the same backend are not concerned.
    launcher.run_session("plain", &[]);
    // Repaired, the next try closes it.
    launcher.home().install(&Template::working("flaky"));
    until("it is let in again", Duration::from_secs(20), || {
        let answer = launcher.http().post("/sessions", &json!({"template": "flaky"}));
        Probe::when(answer.status == 201, (), || answer.to_string())
    });
    until("it is closed", Duration::from_secs(10), || {
        let template = template(&launcher, "flaky");
        Probe::when(template["failing"] == json!([]), (), || template.to_string())
    });
    launcher.run_session("flaky", &[]);
}
