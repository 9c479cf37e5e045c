//! What an administrator's template can say beside submit and terminate.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use wharf_tests::templates::END;
use wharf_tests::{Launcher, Probe, Template, until};

const SOON: Duration = Duration::from_secs(15);

#[test]
fn a_fixed_command_cannot_be_replaced() {
    let launcher = Launcher::with(&Template::queueing("fixed").toml("override = false\n"));
    launcher.http().post("/sessions", &json!({"template": "fixed"})).expect(201);
    let answer = launcher.http().post("/sessions", &json!({"template": "fixed", "command": ["sh"]}));
    assert_eq!(answer.problem(422, "invalid")["field"], "command");
}

#[test]
fn without_a_default_the_user_has_to_say_what_runs() {
    let template = Template::new("empty").hook("submit", "echo x").hook("terminate", "");
    let launcher = Launcher::with(&template);
    let answer = launcher.http().post("/sessions", &json!({"template": "empty"}));
    assert_eq!(answer.problem(422, "invalid")["field"], "command");
    launcher.http().post("/sessions", &json!({"template": "empty", "command": ["true"]})).expect(201);
}

#[test]
fn a_started_job_that_never_registers_is_ended_by_the_hook() {
    let status = r#"j=$(ask '"job_id":"[^"]*"' | head -n 1)
printf '{"result":{"%s":{"state":"running"}}}\n' "$j""#;
    let template = Template::queueing("silent")
        .hook("status", status)
        .toml("[timeouts]\npoll = \"500ms\"\nregister = \"2s\"\nsettle = \"1s\"\n");
    let launcher = Launcher::with(&template);
    let id = launcher.start_session(&json!({"template": "silent"}));
    let ended = launcher.await_ended(&id, Duration::from_secs(20));
    assert_eq!(ended["end"]["cause"], "never_registered", "{ended}");
    until("the hook has ended the job", Duration::from_secs(5), || {
        Probe::when(launcher.calls("terminate", Some(&id)) >= 1, (), || "no call yet".to_owned())
    });
}

#[test]
fn an_unsubmitted_session_is_given_up_after_the_queue_time() {
    let template = Template::working("down")
        .hook("submit", "echo 'still down' >&2; exit 75")
        .toml("[timeouts]\nqueue = \"3s\"\npoll = \"1s\"\n");
    let launcher = Launcher::with(&template);
    let id = launcher.start_session(&json!({"template": "down"}));
    let ended = launcher.await_ended(&id, Duration::from_secs(40));
    assert_eq!(ended["end"]["cause"], "submit_failed", "{ended}");
    assert!(ended["end"]["message"].as_str().is_some_and(|text| text.contains("still down")), "{ended}");
}

#[test]
fn the_on_hooks_are_told_and_cannot_change_anything() {
    let template =
        Template::working("told").hook("on_running", "exit 1").hook("on_params", "").hook("on_ended", "");
    let launcher = Launcher::with(&template);
    let id = launcher.run_session("told", &[]);
    launcher.await_call("on_running", &id);
    launcher.http().patch(&format!("/sessions/{id}/params"), &json!({"a": 1})).expect(200);
    launcher.await_call("on_params", &id);
    assert_eq!(launcher.session(&id)["state"], "running", "a failing on_running changes nothing");
    launcher.terminate(&id, "15s");
    launcher.await_call("on_ended", &id);
    assert_eq!(launcher.session(&id)["end"]["cause"], "terminated");
}

#[test]
fn a_validate_hook_in_lua_may_fill_in_and_refuse() {
    let lua = r#"
local M = {}
function M.validate(req)
  if req.command[1] == "forbidden" then
    return { errors = { { field = "command", message = "not on this site" } } }
  end
  local params = table.clone(req.params)
  params.cores = 7
  return { params = params }
end
return M
"#;
    let template = Template::queueing("checked")
        .toml("[params.cores]\ntype = \"int\"\ndefault = 1\n")
        .file("hooks.lua", lua);
    let launcher = Launcher::with(&template);
    let id = launcher.start_session(&json!({"template": "checked"}));
    assert_eq!(launcher.session(&id)["params"]["cores"], 7);
    let answer = launcher.http().post("/sessions", &json!({"template": "checked", "command": ["forbidden"]}));
    let problem = answer.problem(422, "invalid");
    assert!(problem.to_string().contains("not on this site"), "{problem}");
    assert_eq!(launcher.listed().len(), 1);
}

#[test]
fn options_offer_choices_for_the_parameters_so_far() {
    let options = r#"echo '{"result":{"partition":["cpu","gpu"]}}'"#;
    let template =
        Template::queueing("asked").hook("options", options).toml("[params.partition]\ntype = \"string\"\n");
    let launcher = Launcher::with(&template);
    let answer = launcher.http().post("/templates/asked/options", &json!({"params": {}}));
    let offered = answer.expect(200);
    assert!(offered.to_string().contains("gpu"), "{offered}");
    let stuck =
        Template::queueing("stuck").hook("options", "sleep 1000").toml("[timeouts]\noptions = \"1s\"\n");
    launcher.home().install(&stuck);
    launcher.signal(rustix::process::Signal::HUP);
    let answer = until("the template serves", SOON, || {
        let answer = launcher.http().post("/templates/stuck/options", &json!({"params": {}}));
        Probe::when(!matches!(answer.status, 404 | 422), answer.clone(), || answer.to_string())
    });
    answer.problem(504, "hook_timeout");
}

#[test]
fn a_template_extends_another_and_overrides_one_hook() {
    let base = Template::working("base").toml("[params.cores]\ntype = \"int\"\ndefault = 3\n");
    let over = Template::new("over")
        .toml("api = 1\nextends = \"base\"\ntitle = \"Ours\"\n[command]\ndefault = [\"sleep\", \"2000\"]\n")
        .hook("on_running", "");
    let launcher = Launcher::builder().template(&base).template(&over).start();
    let id = launcher.run_session("over", &[]);
    let session = launcher.session(&id);
    assert_eq!(
        (&session["params"]["cores"], &session["command"][1]),
        (&json!(3), &json!("2000")),
        "{session}"
    );
    assert_eq!(session["template"], "over");
    launcher.await_call("on_running", &id);
    assert_eq!(launcher.calls("submit", Some(&id)), 1);
    assert_eq!(launcher.http().get("/templates/over").expect(200)["title"], "Ours");
    launcher.terminate(&id, "15s");
}

#[test]
fn job_ids_must_match_the_templates_pattern() {
    let template = Template::queueing("strict")
        .hook("submit", "echo 'abc'")
        .hook("find", "exit 1")
        .toml("[hooks]\njob_id_pattern = \"[0-9]+\"\n");
    let launcher = Launcher::with(&template);
    let id = launcher.start_session(&json!({"template": "strict"}));
    let seen = launcher.await_session(&id, "not taken", SOON, |session| {
        session["phase"] == "unknown" || session["state"] == "ended"
    });
    assert_eq!(seen["job"], json!(null), "{seen}");
}

#[test]
fn limits_of_a_template_hold() {
    let template = Template::queueing("few").toml("[limits]\nper_user = 2\n");
    let launcher = Launcher::with(&template);
    launcher.start_session(&json!({"template": "few"}));
    let second = launcher.start_session(&json!({"template": "few"}));
    launcher.http().post("/sessions", &json!({"template": "few"})).problem(429, "rate_limited");
    launcher.await_session(&second, "submitted", SOON, |session| session["phase"] == "submitted");
    launcher.http().post(&format!("/sessions/{second}/terminate"), &json!({})).expect(200);
    launcher.http().post("/sessions", &json!({"template": "few"})).expect(201);
}

#[test]
fn idle_and_lifetime_end_a_session_with_their_cause() {
    let lifetime =
        Template::working("short").toml("[session]\nmax_lifetime = \"3s\"\nterminate_grace = \"1s\"\n");
    let idle = Template::working("idle").toml("[session]\nidle_timeout = \"3s\"\nterminate_grace = \"1s\"\n");
    let launcher = Launcher::builder().template(&lifetime).template(&idle).start();
    for (template, cause) in [("short", "timeout"), ("idle", "idle")] {
        let id = launcher.run_session(template, &[]);
        let ended = launcher.await_ended(&id, Duration::from_secs(60));
        assert_eq!(ended["end"]["cause"], cause, "{template}: {ended}");
        assert!(launcher.inside(&id).is_empty());
    }
}

#[test]
fn someone_elses_template_is_closed_to_others() {
    let template = Template::queueing("theirs").toml("[access]\nusers = [\"somebody-else\"]\n");
    let launcher = Launcher::with(&template);
    let answer = launcher.http().post("/sessions", &json!({"template": "theirs"}));
    assert!(matches!(answer.status, 403 | 422), "{answer}");
    assert_eq!(launcher.all_calls(), 0);
}

#[test]
fn an_overlay_of_a_builtin_replaces_it_as_a_whole() {
    let launcher = Launcher::with(&Template::queueing("shell").toml("tty = false\n"));
    let id = launcher.start_session(&json!({"template": "shell"}));
    launcher.queued(&id);
    let templates = launcher.http().get("/templates").expect(200);
    let items = templates["items"].as_array().expect("items").clone();
    assert_eq!(items.iter().filter(|item| item["name"] == "shell").count(), 1, "{templates}");
}

/// A bad reload under load: nobody notices but the administrator, and the repair serves what began before.
#[test]
fn a_bad_reload_under_load_fails_no_start_and_its_repair_ends_older_sessions() {
    let good = Template::working("site");
    let launcher = Launcher::with(&good);
    let old = launcher.run_session("site", &["sleep", "1000"]);
    let stop = AtomicBool::new(false);
    let started = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let body = json!({"template": "site", "command": ["true"], "tty": false});
                    let answer = launcher.http().post("/sessions", &body);
                    let mut started = started.lock().unwrap_or_else(PoisonError::into_inner);
                    started.push((answer.status, answer.text()));
                }
            });
        }
        // Whatever fails here, the load ends, or the scope would wait for it for ever.
        let watched = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let count = || started.lock().unwrap_or_else(PoisonError::into_inner).len();
            let more = |what: &str| {
                let before = count();
                until(what, SOON, || Probe::when(count() >= before + 10, (), || count().to_string()));
            };
            more("the good one serves");
            launcher.home().install(&good.clone().toml("[timeouts]\npol = \"1s\"\n"));
            let fault = until("the fault is in the list", SOON, || {
                let listed = launcher.cli(&["template", "list"]);
                Probe::when(listed.stdout.contains("pol"), listed.stdout.clone(), || listed.to_string())
            });
            assert!(fault.contains("did you mean `poll`?"), "{fault}");
            more("the last good one serves");
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = watched {
            std::panic::resume_unwind(panic);
        }
    });
    let started = started.into_inner().unwrap_or_else(PoisonError::into_inner);
    let failed: Vec<_> = started.iter().filter(|(status, _)| *status != 201).collect();
    assert!(failed.is_empty(), "{} of {}: {:?}", failed.len(), started.len(), failed.first());
    let log = launcher.log();
    let told = log.lines().filter(|line| line.contains("did you mean `poll`?")).count();
    assert_eq!(told, 1, "the log tells the fault once:\n{log}");
    // The repaired version ends the session that the first one has started.
    let repaired = good.hook("terminate", &format!("echo repaired >> \"$J/repaired\"; {END}"));
    launcher.home().install(&repaired);
    until("the repair is in the list", SOON, || {
        let listed = launcher.cli(&["template", "list"]);
        Probe::when(!listed.stdout.contains("pol"), (), || listed.to_string())
    });
    launcher.monitor(&old).signal(Signal::STOP);
    let ended = launcher.terminate(&old, "40s");
    assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
    assert!(launcher.home().journal().join("repaired").exists(), "by the hook of the repaired version");
}
