//! What each kind of hook does for users, beside submit, find, status and terminate.

use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::{Launcher, Probe, Template, until};

/// The journal's file, empty while there is none.
fn journal(launcher: &Launcher, file: &str) -> String {
    std::fs::read_to_string(launcher.home().journal().join(file)).unwrap_or_default()
}

#[test]
fn the_progress_of_a_preparation_is_the_sessions_reason() {
    let lua = "return { prepare = function(req)
      host.progress('pulling the image: 40 %') host.sleep(1)
      for i = 1, 100000 do host.progress('flood ' .. i) end
      host.progress('unpacking') host.sleep(1.5) return {} end }";
    let launcher = Launcher::with(&Template::working("staged").file("hooks.lua", lua));
    let id = launcher.start_session(&json!({"template": "staged"}));
    for words in ["pulling the image: 40 %", "unpacking"] {
        launcher.await_session(&id, words, Duration::from_secs(10), |session| {
            session["phase"] == "preparing"
                && session["reason"] == json!({"code": "preparing", "message": words})
        });
        let shown = launcher.cli(&["show", &id]);
        assert!(shown.ok().contains(words), "{}", shown.ok());
    }
    let session = launcher.await_connected(&id);
    // Not every word is a change: they are shown as fast as people read.
    assert!(session["rev"].as_u64().is_some_and(|rev| rev < 20), "{session}");
    assert!(!session["reason"].to_string().contains("unpacking"), "{session}");
}

#[test]
fn a_preparation_that_fails_or_is_not_wanted_any_more_starts_nothing() {
    let lua = "return { prepare = function(req)
      if req.session.name == 'bad' then host.fail('invalid', 'no such image', { hint = 'list them' }) end
      host.sleep(600) end }";
    let launcher = Launcher::with(&Template::working("staged").file("hooks.lua", lua));
    let bad = launcher.start_session(&json!({"template": "staged", "name": "bad"}));
    let ended = launcher.await_ended(&bad, Duration::from_secs(10));
    assert_eq!(ended["end"]["cause"], "submit_failed", "{ended}");
    assert!(ended["end"]["message"].as_str().is_some_and(|text| text.contains("no such image")), "{ended}");
    let id = launcher.start_session(&json!({"template": "staged"}));
    launcher
        .await_session(&id, "preparing", Duration::from_secs(10), |session| session["phase"] == "preparing");
    let ended = launcher.terminate(&id, "10s");
    assert_eq!(ended["end"]["stopped_by"], "not_started", "{ended}");
    assert_eq!((launcher.calls("submit", None), launcher.calls("terminate", None)), (0, 0));
}

const MANY: &str = r#"printf '%s\n' "$req" >> "$J/many"
out=
for s in $(ask '"session_id":"[a-z0-9]\{20\}"'); do
  if [ -e "$J/refuse-$s" ]; then v='{"error":{"kind":"denied","message":"ask the operator"}}'; else v='{}'; fi
  if [ ! -e "$J/forget-$s" ]; then out="$out${out:+,}\"$s\":$v"; fi
done
printf '{"result":{%s}}\n' "$out""#;

#[test]
fn ends_of_the_same_moment_go_together_and_each_gets_its_own_verdict() {
    let template = Template::queueing("many").hook("terminate_many", MANY);
    let launcher = Launcher::with(&template);
    let ids: Vec<String> = (0..8).map(|_| launcher.start_session(&json!({"template": "many"}))).collect();
    for id in &ids {
        launcher.await_session(id, "submitted", Duration::from_secs(10), |session| {
            session["phase"] == "submitted"
        });
    }
    std::fs::write(launcher.home().journal().join(format!("refuse-{}", ids[0])), "").expect("a file");
    std::fs::write(launcher.home().journal().join(format!("forget-{}", ids[1])), "").expect("a file");
    let answers: Vec<(String, u16, Value)> = std::thread::scope(|scope| {
        let running: Vec<_> = ids
            .iter()
            .map(|id| {
                let launcher = &launcher;
                scope.spawn(move || {
                    let answer =
                        launcher.http().post(&format!("/sessions/{id}/terminate?wait=10s"), &json!({}));
                    (id.clone(), answer.status, answer.json())
                })
            })
            .collect();
        running.into_iter().map(|one| one.join().expect("an answer")).collect()
    });
    let together = launcher.calls("terminate_many", None);
    let alone = launcher.calls("terminate", None);
    assert!(together >= 1 && together + alone <= 4, "{together} together, {alone} alone");
    let requests = journal(&launcher, "many");
    for line in requests.lines() {
        let request: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(request["request"]["session"], Value::Null);
        let job = &request["request"]["jobs"][0];
        assert!(job["job_id"].is_string() && job["mode"] == "stop", "{job}");
    }
    for (id, status, answer) in answers {
        if !requests.contains(&id) {
            // It came alone.
            continue;
        }
        if id == ids[0] {
            assert_eq!((status, &answer["code"]), (403, &json!("hook_failed")), "{answer}");
            assert!(answer["detail"].as_str().is_some_and(|text| text.contains("operator")), "{answer}");
        } else if id == ids[1] {
            assert_eq!((status, &answer["code"]), (502, &json!("hook_failed")), "{answer}");
        } else {
            assert_eq!((status, &answer["end"]["stopped_by"]), (200, &json!("hook")), "{answer}");
        }
        let history = launcher.http().get(&format!("/sessions/{id}/history")).expect(200);
        assert!(history.to_string().contains("terminate_many: "), "{history}");
    }
    // One that comes alone is ended as ever.
    let id = launcher.start_session(&json!({"template": "many"}));
    launcher
        .await_session(&id, "submitted", Duration::from_secs(10), |session| session["phase"] == "submitted");
    launcher.terminate(&id, "10s");
    assert_eq!(launcher.calls("terminate", Some(&id)), 1);
}

#[test]
fn an_event_that_the_launcher_died_upon_is_told_by_the_next_one() {
    let told = "if [ ! -e \"$J/once-$hook\" ]; then touch \"$J/once-$hook\"; sleep 1000; fi; touch \"$J/told-$hook\"";
    let template = Template::working("told").hook("on_running", told).hook("on_ended", told);
    let mut launcher = Launcher::with(&template);
    let id = launcher.run_session("told", &[]);
    until("on_running hangs", Duration::from_secs(10), || {
        let calls = launcher.calls("on_running", Some(&id));
        Probe::when(calls == 1, (), || format!("{calls} calls"))
    });
    launcher.kill9();
    launcher.restart();
    until("it is told again", Duration::from_secs(10), || {
        let text = launcher.log();
        Probe::when(launcher.home().journal().join("told-on_running").exists(), (), || text)
    });
    launcher.await_connected(&id);
    launcher.terminate(&id, "10s");
    until("on_ended hangs", Duration::from_secs(10), || {
        let calls = launcher.calls("on_ended", Some(&id));
        Probe::when(calls == 1, (), || format!("{calls} calls"))
    });
    launcher.kill9();
    launcher.restart();
    until("it is told again", Duration::from_secs(10), || {
        let text = launcher.log();
        Probe::when(launcher.home().journal().join("told-on_ended").exists(), (), || text)
    });
    // What has been heard is not told a third time.
    launcher.stop();
    launcher.restart();
    let calls = (launcher.calls("on_running", Some(&id)), launcher.calls("on_ended", Some(&id)));
    assert_eq!(calls, (2, 2));
}

#[test]
fn the_sites_own_part_of_the_job_reaches_hooks_and_command() {
    let site = "[job]\ncwd = \"/usr\"\nenv = { SITE = \"north\" }\nbefore = [\"module load gcc\", \"export FROM_BEFORE=it\\\\'s\"]\n";
    let template = Template::working("site")
        .hook("submit", "printf '%s' \"$req\" > \"$J/request\"; run_job; echo \"$job\"")
        .toml(site);
    let launcher = Launcher::with(&template);
    let id = launcher.run_session("site", &["sh", "-c", "pwd; echo $SITE; exec sleep 1000"]);
    let request: Value = serde_json::from_str(&journal(&launcher, "request")).expect("JSON");
    assert_eq!(
        request["request"]["job"],
        json!({"before": ["module load gcc", "export FROM_BEFORE=it\\'s"], "cwd": "/usr", "env": {"SITE": "north"}})
    );
    until("the command wrote", Duration::from_secs(10), || {
        let text = launcher.http().get(&format!("/sessions/{id}/logs?stream=stdout")).text();
        Probe::when(text == "/usr\nnorth\n", (), || text.clone())
    });
}

/// What each hook was told of the place, in order: `HOOK PLACE`.
const PLACE: &str = r#"echo "$hook $(ask '"node":"[^"]*"')" >> "$J/places""#;

fn places(launcher: &Launcher, hook: &str) -> Vec<String> {
    let text = journal(launcher, "places");
    let lines = text.lines().filter_map(|line| line.strip_prefix(hook)?.strip_prefix(' ').map(str::to_owned));
    lines.collect()
}

fn placing(name: &str, toml: &str) -> Template {
    use wharf_tests::templates::{END, QUEUE, STATUS};
    Template::new(name)
        .hook("find", wharf_tests::templates::FIND)
        .hook("submit", &format!("{PLACE}\n{QUEUE}"))
        .hook("terminate", &format!("{PLACE}\n{END}"))
        .hook("status", &format!("{PLACE}\n{STATUS}"))
        .toml(&format!("api = 1\nbackend = \"shell\"\n{toml}"))
}

/// A template whose own keys come first, as tables may not be left again.
fn several(name: &str, rule: &str) -> Template {
    placing(name, &format!("instance = [\"north\", \"south\", \"west\"]\n{rule}"))
        .toml("[command]\ndefault = [\"sleep\", \"1000\"]\n")
}

fn submitted(launcher: &Launcher, template: &str) -> String {
    let id = launcher.start_session(&json!({"template": template}));
    launcher
        .await_session(&id, "submitted", Duration::from_secs(10), |session| session["phase"] == "submitted");
    id
}

#[test]
fn one_of_several_instances_is_chosen_and_kept() {
    let launcher = Launcher::with(&several("turns", "select = \"round-robin\"\n"));
    for _ in 0..4 {
        submitted(&launcher, "turns");
    }
    assert_eq!(places(&launcher, "submit"), ["north", "south", "west", "north"]);

    let mut launcher = Launcher::with(&several("few", "select = \"fewest\"\n"));
    let ids: Vec<String> = (0..3).map(|_| submitted(&launcher, "few")).collect();
    assert_eq!(places(&launcher, "submit"), ["north", "south", "west"]);
    // Later hooks are asked where the session is, also by the next launcher.
    launcher.stop();
    launcher.restart();
    launcher.terminate(&ids[1], "10s");
    assert_eq!(places(&launcher, "terminate"), ["south"]);
    submitted(&launcher, "few");
    assert_eq!(places(&launcher, "submit")[3], "south");
    until("each place is asked about its own jobs", Duration::from_secs(10), || {
        let asked = places(&launcher, "status");
        let all = ["north", "south", "west"].iter().all(|place| asked.iter().any(|one| one == place));
        Probe::when(all, (), || format!("{asked:?}"))
    });
}

#[test]
fn a_select_hook_chooses_and_may_find_no_place() {
    let lua = "return { select = function(req)
      if req.session.name == 'nowhere' then return {} end
      if req.session.name == 'refused' then host.fail('denied', 'not for you') end
      local best = {}
      for _, node in ipairs(req.nodes) do assert(node.sessions >= 0) table.insert(best, 1, node.name) end
      return best end }";
    let launcher = Launcher::with(&several("chosen", "").file("hooks.lua", lua));
    submitted(&launcher, "chosen");
    assert_eq!(places(&launcher, "submit"), ["west"]);
    let start = |name: &str| launcher.http().post("/sessions", &json!({"template": "chosen", "name": name}));
    start("nowhere").problem(503, "unavailable");
    start("refused").problem(403, "hook_failed");
    assert_eq!(launcher.listed().len(), 1, "a refused start leaves no record");
}
