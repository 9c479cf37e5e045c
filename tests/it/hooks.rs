//! Hooks that misbehave get a clear error, promptly, and slow nobody else.

use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::templates::{HANG, RUN};
use wharf_tests::{Launcher, Probe, Template, alone, processes, until, wait};

/// Ends with an error that says something; returns the end record and how long it took.
fn fails(body: &str) -> (Launcher, String, Value, Duration) {
    // Without find nothing is looked up: the bad answer itself is what the session ends with, or waits on.
    let template = Template::working("bad").hook("submit", body).hook("find", "exit 0").without("find");
    let launcher = Launcher::with(&template);
    let id = launcher.start_session(&json!({"template": "bad"}));
    let (seen, took) = wait::timed(|| {
        launcher.await_session(&id, "failed or unknown", Duration::from_secs(15), |session| {
            session["state"] == "ended" || session["phase"] == "unknown"
        })
    });
    (launcher, id, seen, took)
}

/// What the administrator finds about the session's submit hook.
fn trace(launcher: &Launcher, id: &str) -> Value {
    let history = launcher.http().get(&format!("/sessions/{id}/history")).expect(200);
    let entries = history.as_array().or_else(|| history["items"].as_array()).expect("entries").clone();
    let traces: Vec<&str> = entries.iter().filter_map(|entry| entry["trace_id"].as_str()).collect();
    let trace = traces.first().unwrap_or_else(|| panic!("no trace in {history}"));
    launcher.http().get(&format!("/traces/{trace}")).expect(200)
}

#[test]
fn bad_answers_are_told_clearly_and_promptly() {
    for (what, body) in [
        ("invalid UTF-8", r"printf 'job-\377\376\n'"),
        ("two documents", r#"echo '{"result":{"job_id":"a"}}{"result":{"job_id":"b"}}'"#),
        ("nothing", "true"),
        ("an id that begins with -", "echo '-rf'"),
        ("the same in JSON", r#"echo '{"result":{"job_id":"-rf"}}'"#),
        ("an id with a blank", r#"echo '{"result":{"job_id":"a b"}}'"#),
        ("an unknown field", r#"echo '{"result":{"job_id":"a","jobid":"a"}}'"#),
        ("text around a document", r#"echo 'hello'; echo '{"result":{"job_id":"a"}}'; echo '$('"#),
        ("a broken document", r#"echo '{"result":{"job_id":'"#),
        ("another type", r#"echo '{"result":[1]}'"#),
    ] {
        let (launcher, id, seen, took) = fails(body);
        assert!(took < Duration::from_secs(8), "{what}: {took:?}");
        let trace = trace(&launcher, &id);
        assert_ne!(trace["outcome"], "ok", "{what}: {trace}");
        assert!(trace["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{what}: {trace}");
        assert_eq!(seen["job"], Value::Null, "{what}: {seen}");
        assert!(launcher.calls("submit", Some(&id)) == 1, "{what}");
    }
}

#[test]
fn two_hundred_megabytes_are_an_error_and_cost_no_memory_in_time() {
    let _alone = alone();
    let template = Template::working("flood").hook("submit", "yes flood | head -c 200000000").without("find");
    let launcher = Launcher::builder().template(&template).template(&Template::working("plain")).start();
    let id = launcher.start_session(&json!({"template": "flood"}));
    // Somebody else is not slowed meanwhile.
    let (_, took) = wait::timed(|| launcher.run_session("plain", &[]));
    assert!(took < Duration::from_secs(5), "{took:?}");
    launcher.await_session(&id, "failed or unknown", Duration::from_secs(15), |session| {
        session["state"] == "ended" || session["phase"] == "unknown"
    });
    let status = std::fs::read_to_string(format!("/proc/{}/status", launcher.pid())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("kilobytes");
    assert!(peak < 300_000, "the launcher grew to {peak} kB");
    let trace = trace(&launcher, &id);
    assert_ne!(trace["outcome"], "ok", "{trace}");
    assert!(trace.to_string().len() < 200_000, "a trace is shortened");
}

#[test]
fn standard_error_without_end_is_cut_and_not_an_error() {
    let body = format!("yes noise | head -c 20000000 >&2\n{RUN}");
    let launcher = Launcher::with(&Template::working("noisy").hook("submit", &body));
    let id = launcher.run_session("noisy", &[]);
    assert_eq!(launcher.jobs(&id).len(), 1);
}

#[test]
fn a_child_that_holds_the_pipe_delays_nothing_and_is_ended() {
    let body = format!("sleep 777 &\n{RUN}");
    let launcher = Launcher::with(&Template::working("holding").hook("submit", &body));
    let (id, took) = wait::timed(|| launcher.run_session("holding", &[]));
    assert!(took < Duration::from_secs(5), "{took:?}");
    until("the leftover is ended", Duration::from_secs(5), || {
        let home = launcher.home().path().to_string_lossy().into_owned();
        let left: Vec<_> = processes::running("sleep 777")
            .into_iter()
            .filter(|process| process.environment().contains(&home))
            .collect();
        Probe::when(left.is_empty(), (), || format!("{left:?}"))
    });
    assert_eq!(launcher.inside(&id).len(), 1, "the job itself goes on");
}

#[test]
fn a_leftover_that_left_the_group_is_ended_after_the_call() {
    let body = format!("setsid sleep 778 > /dev/null 2>&1 &\n{RUN}");
    let launcher = Launcher::with(&Template::working("leaving").hook("submit", &body));
    launcher.run_session("leaving", &[]);
    until("the leftover is ended", Duration::from_secs(5), || {
        let left: Vec<_> = processes::running("sleep 778")
            .into_iter()
            .filter(|process| process.environment().contains(&*launcher.home().path().to_string_lossy()))
            .collect();
        Probe::when(left.is_empty(), (), || format!("{left:?}"))
    });
}

#[test]
fn a_hanging_template_slows_no_other_in_time() {
    let _alone = alone();
    let mut stuck =
        Template::working("stuck").toml("[timeouts]\nsubmit = \"60s\"\nstatus = \"60s\"\npoll = \"1s\"\n");
    for hook in ["submit", "find", "status", "terminate", "logs"] {
        stuck = stuck.hook(hook, HANG);
    }
    let launcher = Launcher::builder().template(&stuck).template(&Template::working("plain")).start();
    let stuck: Vec<String> = (0..20).map(|_| launcher.start_session(&json!({"template": "stuck"}))).collect();
    for id in stuck.iter().take(2) {
        launcher.await_call("submit", id);
    }
    let (id, took) = wait::timed(|| launcher.run_session("plain", &[]));
    assert!(took < Duration::from_secs(5), "start beside hanging hooks: {took:?}");
    let (_, took) = wait::timed(|| launcher.http().get("/sessions").expect(200));
    assert!(took < Duration::from_secs(1), "list: {took:?}");
    let (_, took) = wait::timed(|| launcher.terminate(&id, "10s"));
    assert!(took < Duration::from_secs(5), "terminate: {took:?}");
    let builtin = launcher.run_session("shell", &["sleep", "1000"]);
    launcher.terminate(&builtin, "10s");
}

#[test]
fn an_executable_gets_the_documented_environment_and_request() {
    let body = format!(
        "env > \"$J/env\"; pwd > \"$J/pwd\"; printf '%s' \"$req\" > \"$J/request\"; umask > \"$J/umask\"; \
         echo \"$0 $*\" > \"$J/argv\"\n{RUN}"
    );
    let template = Template::working("curious")
        .hook("submit", &body)
        .toml("[hooks]\nenv = { SITE_CONF = \"/etc/site.conf\" }\n[config]\nqueue = \"long\"\n");
    let launcher = Launcher::builder().template(&template).env("LEAK_CANARY", "leaked").start();
    let id = launcher.run_session("curious", &["sh", "-c", "echo 'a\"b'; exec sleep 1000"]);
    let read = |file: &str| {
        std::fs::read_to_string(launcher.home().journal().join(file)).expect("the hook wrote it")
    };
    let env = read("env");
    let names: Vec<&str> = env.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    for name in [
        "PATH",
        "HOME",
        "USER",
        "LANG",
        "WHARF_HOOK",
        "WHARF_SESSION_ID",
        "WHARF_TRACE_ID",
        "WHARF_DEADLINE_MS",
        "WHARF_TMPDIR",
        "WHARF_DRY_RUN",
        "WHARF_INSTANCE",
        "SITE_CONF",
    ] {
        assert!(names.contains(&name), "no {name} in\n{env}");
    }
    assert!(!env.contains("leaked"), "{env}");
    assert!(
        env.contains("WHARF_HOOK=submit\n") && env.contains(&format!("WHARF_SESSION_ID={id}\n")),
        "{env}"
    );
    let directory = read("pwd").trim().to_owned();
    assert!(env.contains(&format!("WHARF_TMPDIR={directory}\n")), "{directory}\n{env}");
    until("the private directory is removed", Duration::from_secs(5), || {
        Probe::when(!std::path::Path::new(&directory).exists(), (), || directory.clone())
    });
    assert_eq!(read("umask").trim(), "0077");
    assert!(read("argv").trim().ends_with("/curious/hooks/submit submit"), "{}", read("argv"));
    let document: Value = serde_json::from_str(&read("request")).expect("JSON");
    assert_eq!((&document["api"], &document["hook"]), (&json!(1), &json!("submit")));
    let request = &document["request"];
    for member in ["session", "user", "config", "trace_id", "deadline_ms", "dry_run", "monitor"] {
        assert!(!request[member].is_null(), "no {member} in {request}");
    }
    assert_eq!(request["config"]["queue"], "long");
    assert_eq!(request["session"]["id"], id.as_str());
    assert_eq!(request["session"]["command"][2], "echo 'a\"b'; exec sleep 1000");
    let monitor = request["monitor"]["argv"].as_array().expect("argv");
    assert!(monitor[0].as_str().is_some_and(|path| path.starts_with('/')), "{request}");
    assert_eq!((&monitor[1], &monitor[2]), (&json!("run"), &json!("--bootstrap")), "{request}");
    let directory = request["monitor"]["dir"].as_str().expect("a directory");
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(directory).expect("it exists").permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
}

#[test]
fn values_never_become_code() {
    let launcher = Launcher::with(&Template::working("plain").toml("[params.text]\ntype = \"string\"\n"));
    let canary = std::path::PathBuf::from(format!("/tmp/x{}", std::process::id()));
    let hostile = format!("'; touch {0}; \" $(touch {0}) `touch {0}` \\ && touch {0}", canary.display());
    let id = launcher.start_session(&json!({
        "template": "plain", "name": hostile.chars().take(100).collect::<String>(), "params": {"text": hostile}, "tags": {"t": hostile},
        "env": {"E": hostile},
        "command": ["sh", "-c", "printf '%s\\n' \"$WHARF_PARAM_TEXT\" \"$E\" \"$1\"; exec sleep 1000", "sh", hostile],
    }));
    launcher.await_connected(&id);
    let expected = format!("{hostile}\n{hostile}\n{hostile}\n");
    until("the values arrive as data", Duration::from_secs(5), || {
        let text = launcher.http().get(&format!("/sessions/{id}/logs?stream=stdout")).text();
        Probe::when(text == expected, (), || text.clone())
    });
    let shell = launcher.start_session(&json!({
        "template": "shell", "name": hostile, "env": {"E": hostile}, "command": ["sleep", "1000"], "tty": false,
    }));
    launcher.await_connected(&shell);
    assert!(!canary.exists());
}

#[test]
fn lua_hooks_serve_as_executables_do() {
    let lua = r#"
local M = {}
function M.validate(req)
  if req.params.cores > 4 then
    return { errors = { { field = "params.cores", message = "this site has four" } } }
  end
  return {}
end
function M.submit(req)
  return { job_id = "lua-" .. req.session.id, message = "taken" }
end
function M.status(req)
  local out = {}
  for _, job in ipairs(req.jobs) do out[job.job_id] = { state = "held", raw = "H", reason = "operator" } end
  return out
end
function M.terminate(req)
  host.fail("denied", "ask the operator", { hint = "call 42" })
end
return M
"#;
    let template = Template::new("lua")
        .file("hooks.lua", lua)
        .toml("[command]\ndefault = [\"true\"]\n[params.cores]\ntype = \"int\"\ndefault = 1\n");
    let launcher = Launcher::with(&template);
    let problem = launcher
        .http()
        .post("/sessions", &json!({"template": "lua", "params": {"cores": 9}}))
        .problem(422, "invalid");
    assert_eq!(problem["field"], "params.cores", "{problem}");
    assert!(problem.to_string().contains("this site has four"), "{problem}");
    let id = launcher.start_session(&json!({"template": "lua"}));
    let held = launcher
        .await_session(&id, "held", Duration::from_secs(10), |session| session["job"]["state"] == "held");
    assert_eq!(held["job"]["id"], format!("lua-{id}"));
    assert_eq!((&held["job"]["raw"], &held["job"]["reason"]), (&json!("H"), &json!("operator")));
    let problem =
        launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({})).problem(403, "hook_failed");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("ask the operator")), "{problem}");
}

#[test]
fn lua_that_loops_or_eats_memory_is_stopped_by_its_limits() {
    for (what, body) in [
        ("loop", "while true do end"),
        ("caught loop", "while true do pcall(function() while true do end end) end"),
        ("memory", "local t = {} while true do t[#t + 1] = string.rep('x', 1000000) .. #t end"),
    ] {
        let lua = format!(
            "return {{ submit = function(req) {body} end, terminate = function(req) return {{}} end }}"
        );
        let template = Template::new("greedy")
            .file("hooks.lua", &lua)
            .toml("[command]\ndefault = [\"true\"]\n[timeouts]\nsubmit = \"1s\"\n");
        let launcher = Launcher::with(&template);
        let id = launcher.start_session(&json!({"template": "greedy"}));
        let (_, took) = wait::timed(|| {
            launcher.await_session(&id, "failed or unknown", Duration::from_secs(10), |session| {
                session["state"] == "ended" || session["phase"] == "unknown"
            })
        });
        assert!(took < Duration::from_secs(6), "{what}: {took:?}");
        let trace = trace(&launcher, &id);
        assert!(matches!(trace["outcome"].as_str(), Some("timeout" | "memory")), "{what}: {trace}");
    }
}

#[test]
fn a_changed_template_serves_and_a_broken_one_keeps_the_last_good_version() {
    let launcher =
        Launcher::with(&Template::queueing("site").toml("[params.a]\ntype = \"int\"\ndefault = 1\n"));
    let state = || launcher.http().get("/templates/site").expect(200);
    launcher.home().install(&Template::queueing("site").toml("[params.b]\ntype = \"int\"\ndefault = 2\n"));
    launcher.signal(rustix::process::Signal::HUP);
    until("the new version serves", Duration::from_secs(10), || {
        let answer = launcher.http().post("/sessions", &json!({"template": "site", "params": {"b": 5}}));
        Probe::when(answer.status == 201, (), || answer.to_string())
    });
    launcher.home().install(&Template::queueing("site").toml("[params.b\n"));
    launcher.signal(rustix::process::Signal::HUP);
    let detail = until("the broken one is reported", Duration::from_secs(10), || {
        let detail = state();
        Probe::when(detail["state"] == "stale", detail.clone(), || detail.to_string())
    });
    assert!(detail["findings"][0]["file"] == "template.toml", "{detail}");
    assert!(detail["findings"][0]["line"].is_u64(), "{detail}");
    let backends = launcher.http().get("/backends").expect(200).to_string();
    assert!(backends.contains("template site: the last good version serves: template.toml:"), "{backends}");
    launcher.http().post("/sessions", &json!({"template": "site", "params": {"b": 6}})).expect(201);
    launcher.home().install(&Template::queueing("site"));
    launcher.signal(rustix::process::Signal::HUP);
    until("it recovers", Duration::from_secs(10), || {
        let detail = state();
        Probe::when(detail["state"] == "ok", (), || detail.to_string())
    });
}

#[test]
fn templates_are_read_again_by_themselves_when_they_change() {
    let launcher =
        Launcher::with(&Template::queueing("site").toml("[params.a]\ntype = \"int\"\ndefault = 1\n"));
    let start = |name: &str, params: Value| {
        launcher.http().post("/sessions", &json!({"template": name, "params": params}))
    };
    let state = |name: &str| {
        let list = launcher.http().get("/templates").expect(200);
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.into_iter().find(|item| item["name"] == name).map(|item| item["state"].clone())
    };
    launcher.home().install(&Template::queueing("site").toml("[params.b]\ntype = \"int\"\ndefault = 2\n"));
    start("site", json!({"b": 5})).expect(201);
    launcher.home().install(&Template::queueing("site").toml("[params.b\n"));
    assert_eq!(state("site"), Some(json!("stale")));
    launcher.home().install(&Template::queueing("site"));
    assert_eq!(state("site"), Some(json!("ok")));
    // One that is new, first with a mistake.
    start("late", json!({})).expect(422);
    launcher.home().install(&Template::queueing("late").toml("[params.b\n"));
    start("late", json!({})).problem(422, "template_broken");
    assert_eq!(state("late"), Some(json!("broken")));
    launcher.home().install(&Template::queueing("late"));
    start("late", json!({})).expect(201);
    // Over a shipped one, and away again.
    launcher.home().install(&Template::queueing("shell").toml("[params.c]\ntype = \"int\"\ndefault = 2\n"));
    start("shell", json!({"c": 5})).expect(201);
    std::fs::remove_dir_all(launcher.home().templates().join("late")).expect("it is ours");
    assert_eq!(state("late"), Some(json!("stale")));
    assert_eq!(launcher.log().matches("the template's directory is gone").count(), 1, "{}", launcher.log());
}

#[test]
fn a_hook_cannot_reach_the_terminal_that_the_launcher_was_started_in() {
    let home = wharf_tests::launcher::Home::new();
    let look = "if (: < /dev/tty) 2> /dev/null; then echo yes; else echo no; fi > \"$J/terminal\"";
    home.install(&Template::working("curious").hook("submit", &format!("{look}\n{RUN}")));
    let templates = home.templates().to_string_lossy().into_owned();
    let serve = home.command(&["serve", "--templates", &templates]);
    // `script` gives its shell a terminal; the launcher runs in it as it would for a user, not in the shell's place.
    let words: Vec<String> = std::iter::once(serve.get_program())
        .chain(serve.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let line = format!(
        "(: < /dev/tty) && echo yes > '{}/shell'; {}; true",
        home.journal().display(),
        words.join(" ")
    );
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).env_clear().current_dir(home.path());
    for (name, value) in serve.get_envs() {
        script.env(name, value.expect("all are set"));
    }
    let mut script = script
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("script is there");
    until("a session is started", Duration::from_secs(20), || {
        let output = home.cli(&["start", "curious", "--output", "json"]);
        Probe::when(output.status == 0, (), || output.stderr.clone())
    });
    let seen = until("the hook looked", Duration::from_secs(10), || {
        let text = std::fs::read_to_string(home.journal().join("terminal")).unwrap_or_default();
        Probe::when(!text.is_empty(), text.clone(), || text.clone())
    });
    let shell = std::fs::read_to_string(home.journal().join("shell")).unwrap_or_default();
    let owner: Value =
        serde_json::from_slice(&std::fs::read(home.data().join("owner.json")).expect("an owner"))
            .expect("JSON");
    let pid = owner["pid"]
        .as_i64()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("a pid"), rustix::process::Signal::TERM).expect("it runs");
    script.wait().expect("it ends");
    assert_eq!((shell.trim(), seen.trim()), ("yes", "no"));
}
