//! The administrator's bench on the command line: check, test, run, new, the conformance run, doctor.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::Value;
use wharf_tests::launcher::Home;
use wharf_tests::templates::FIND;
use wharf_tests::{Http, Launcher, Probe, Template, processes, until};

fn text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

#[test]
fn shipped_templates_pass_check_test_and_inject() {
    let home = Home::new();
    for name in ["shell", "shell-exec", "docker", "docker-cli", "docker-jupyter", "docker-desktop"] {
        assert_eq!(home.cli(&["template", "check", name, "--output", "json"]).json(), serde_json::json!([]));
        let cases = home.cli(&["template", "test", name, "--output", "json"]).json();
        assert!(
            cases.as_array().is_some_and(|cases| cases.iter().all(|case| case["passed"] == true)),
            "{cases}"
        );
        let report = home.cli(&["template", "test", name, "--inject", "--output", "json"]).json();
        assert_eq!(report["failures"], serde_json::json!([]), "{report}");
        assert!(report["data"].as_u64().is_some_and(|count| count > 100), "{report}");
        home.cli(&["template", "doctor", name]).exits(0);
    }
}

#[test]
fn shipped_templates_pass_the_conformance_run() {
    let home = Home::new();
    for name in ["shell", "shell-exec"] {
        let file = home.path().join(format!("{name}.json"));
        let output = home.cli(&["template", "test", name, "--live", "--report", &text(&file)]);
        output.exits(0);
        let report: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(report["passed"], true, "{report}");
        let steps: Vec<&str> =
            report["steps"].as_array().unwrap().iter().filter_map(|step| step["step"].as_str()).collect();
        for step in [
            "start",
            "find",
            "status",
            "register",
            "logs",
            "exec",
            "terminate running",
            "terminate again",
            "unknown job",
            "bulk status",
            "terminate pending",
            "no orphans",
        ] {
            assert!(steps.contains(&step), "{step}: {output}");
        }
        assert!(
            report["steps"].as_array().unwrap().iter().all(|step| step["result"] == "passed"),
            "{report}"
        );
    }
    let home = text(home.path());
    until("nothing of the run runs on", Duration::from_secs(5), || {
        let left = processes::mentioning(&home);
        let lines: Vec<String> = left.iter().map(processes::Process::command_line).collect();
        Probe::when(left.is_empty(), (), || format!("{lines:?}"))
    });
}

/// A template whose `terminate` says that all is well and does nothing, and whose `status` knows no end.
#[test]
fn the_conformance_run_catches_a_template_that_lies() {
    let home = Home::new();
    let lying = Template::working("liar")
        .toml("[timeouts]\npoll = \"1s\"\nsettle = \"0s\"\nterminate = \"5s\"\n")
        .hook("terminate", "true")
        .hook("find", "printf '{\"result\":{}}\\n'");
    home.install(&lying);
    let dir = text(&home.templates().join("liar"));
    let output = home.cli(&["template", "test", &dir, "--live", "--output", "json"]);
    output.exits(6);
    let report: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output}"));
    let failed: Vec<&str> = report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["result"] == "failed")
        .filter_map(|step| step["step"].as_str())
        .collect();
    assert!(failed.contains(&"find"), "{output}");
    assert!(failed.contains(&"terminate by session"), "{output}");
    assert_eq!(report["passed"], false);
    // The launcher has it for administrators, and says when it is of another version.
    let launcher = Launcher::at(&home).start();
    let kept = |http: &Http| http.get("/templates/liar").expect(200)["report"].clone();
    assert_eq!(kept(&launcher.http()), report);
    assert_eq!(kept(&launcher.tcp(Some(&launcher.token("read", None)))), report);
    let guest = launcher.token("guest", Some("bob"));
    launcher.tcp(Some(&guest)).get("/templates/liar").problem(403, "forbidden");
    assert_eq!(launcher.http().get("/templates/shell").expect(200)["report"], Value::Null);
    assert!(launcher.cli(&["template", "show", "liar"]).ok().contains("steps failed"));
    home.install(&lying.hook("find", FIND));
    let renewed = until("the new version serves", Duration::from_secs(5), || {
        let now = kept(&launcher.http());
        Probe::when(now["outdated"] == true, now.clone(), || now.to_string())
    });
    assert_eq!(renewed["steps"], report["steps"]);
}

#[test]
fn a_new_template_passes_as_it_is_and_is_never_written_over() {
    let home = Home::new();
    let below = home.path().join("site");
    fs::create_dir(&below).unwrap();
    fs::set_permissions(&below, fs::Permissions::from_mode(0o700)).unwrap();
    for (name, from) in [("mine", None), ("lua", Some("shell")), ("sh", Some("shell-exec"))] {
        let mut args = vec!["template", "new", name];
        args.extend(from.into_iter().flat_map(|from| ["--from", from]));
        let site = text(&below);
        args.push(&site);
        home.cli(&args).exits(0);
        let dir = text(&below.join(name));
        home.cli(&["template", "check", &dir]).exits(0);
        home.cli(&["template", "test", &dir]).exits(0);
        home.cli(&["template", "test", &dir, "--inject"]).exits(0);
        let file = below.join(name).join("template.toml");
        fs::write(&file, "kept").unwrap();
        home.cli(&args).exits(4);
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept", "nothing is changed");
    }
    home.cli(&["template", "new", "x", "--from", "shel", &text(&below)]).exits(3);
    home.cli(&["template", "new", "Bad_Name", &text(&below)]).exits(2);
    assert!(!below.join("x").exists());
    let left: Vec<_> = fs::read_dir(&below).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn check_lists_every_mistake_and_exits_6() {
    let home = Home::new();
    let bad = Template::new("bad")
        .toml("[hooks]\ncommand = [\"x\"]\n[params.p]\ntype = \"strng\"\n")
        .file("hooks.lua", "local M = {}\nfunction M.submit(req)\n  hots.exec {}\nend\nfunction M.terminate() end\nreturn M\n")
        .file("tests/one.toml", "hook = \"submitt\"\n");
    home.install(&bad);
    let dir = text(&home.templates().join("bad"));
    let output = home.cli(&["template", "check", &dir, "--output", "json"]);
    output.exits(6);
    let findings: Value = serde_json::from_str(&output.stdout).unwrap();
    let codes: Vec<(&str, &str)> = findings
        .as_array()
        .unwrap()
        .iter()
        .map(|found| (found["file"].as_str().unwrap(), found["code"].as_str().unwrap()))
        .collect();
    for wanted in [
        ("template.toml", "unknown_key"),
        ("template.toml", "type"),
        ("hooks.lua", "undefined_global"),
        ("tests/one.toml", "unknown_hook"),
    ] {
        assert!(codes.contains(&wanted), "{wanted:?}: {output}");
    }
    assert!(findings.as_array().unwrap().iter().all(|found| found["line"].is_u64()), "{output}");
    let output = home.cli(&["template", "check", &dir]);
    assert!(
        output
            .exits(6)
            .stdout
            .contains("hooks.lua:3: error: `hots` is nowhere defined; did you mean `host`?"),
        "{output}"
    );
    home.cli(&["template", "test", &dir]).exits(6);
    home.cli(&["template", "check", "nosuch"]).exits(3);
    home.cli(&["template", "check", "./nosuch"]).exits(3);
}

/// Five different mistakes, five findings, each in its place and with words that say what to do.
#[test]
fn five_mistakes_get_five_precise_findings_in_one_run() {
    let home = Home::new();
    let lua = "local M = {}\n\
               function M.submit(req)\n\
               \x20 local run = host.exec { argv = { \"mysubb\", req.session.id } }\n\
               \x20 return { job_id = lines(run.stdout)[1], q = req.session.prams.queue }\n\
               end\n\
               function M.terminate(req)\n\
               \x20 hots.fail(\"denied\", \"no\")\n\
               end\n\
               return M\n";
    let toml = "api = 1\nbackend = \"shell\"\n[params.queue]\ntype = \"strng\"\n[timeouts]\npol = \"5s\"\n\
                [hooks]\ncommands = [\"mysub\"]\n";
    home.install(&Template::new("five").toml(toml).file("hooks.lua", lua));
    let dir = text(&home.templates().join("five"));
    let output = home.cli(&["template", "check", &dir]);
    let said: Vec<&str> = output.exits(6).stdout.lines().collect();
    let wanted = [
        ("template.toml:4: error: ", "did you mean \"string\"?"),
        ("template.toml:6: error: ", "did you mean `poll`?"),
        ("hooks.lua:3: error: ", "did you mean `mysub`?"),
        ("hooks.lua:4: error: ", "did you mean `params`?"),
        ("hooks.lua:7: error: ", "did you mean `host`?"),
    ];
    for (place, hint) in wanted {
        let hits = said.iter().filter(|line| line.starts_with(place) && line.contains(hint)).count();
        assert_eq!(hits, 1, "{place} … {hint}: {output}");
    }
    let errors = said.iter().filter(|line| line.contains(": error: ")).count();
    assert_eq!(errors, wanted.len(), "each once, and nothing that follows from another: {output}");
}

#[test]
fn run_prints_the_result_or_the_error_and_a_dry_run_runs_nothing() {
    let home = Home::new();
    let proof = home.path().join("proof");
    let lua = format!(
        "local M = {{}}\n\
         function M.submit(req) host.exec {{ argv = {{ 'touch', '{}' }} }} return {{ job_id = 'j' .. req.session.params.n }} end\n\
         function M.terminate(req) host.fail('denied', 'not today') end\nreturn M\n",
        proof.display()
    );
    let template = Template::new("t")
        .toml("[command]\ndefault = [\"true\"]\n[hooks]\ncommands = [\"touch\"]\n[params.n]\ntype = \"int\"\ndefault = 1\n")
        .file("hooks.lua", &lua);
    home.install(&template);
    let dir = text(&home.templates().join("t"));
    let dry =
        home.cli(&["template", "run", &dir, "submit", "-p", "n=7", "--dry-run", "--output", "json"]).json();
    assert_eq!(dry["result"]["job_id"], "j7", "{dry}");
    assert_eq!(dry["commands"][0]["argv"][0], "touch", "{dry}");
    assert!(!proof.exists(), "it ran");
    let shown = home.cli(&["template", "run", &dir, "submit", "--dry-run"]);
    assert!(shown.ok().contains("would run (write): touch "), "{shown}");
    let really = home.cli(&["template", "run", &dir, "submit", "-p", "n=7"]).json();
    assert_eq!(really, serde_json::json!({ "result": { "job_id": "j7" } }));
    assert!(proof.exists());
    let refused = home.cli(&["template", "run", &dir, "terminate"]);
    refused.exits(6);
    let error: Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!(error["error"]["kind"], "denied", "{refused}");
    home.cli(&["template", "run", &dir, "submit", "-p", "n=x"]).exits(2);
    home.cli(&["template", "run", &dir, "sumbit"]).exits(2);
    let request = home.path().join("request.json");
    fs::write(&request, "{\"session\":{\"params\":{\"n\":9}}}").unwrap();
    let asked = home.cli(&["template", "run", &dir, "submit", "--request", &text(&request)]).json();
    assert_eq!(asked["result"]["job_id"], "j9");
}

#[test]
fn update_and_record_write_cases_that_pass() {
    let home = Home::new();
    let lua = "local M = {}\n\
               function M.submit(req) return { job_id = lines(host.exec { argv = { 'echo', '-n', req.session.name } }.stdout)[1] } end\n\
               function M.terminate(req) return {} end\nreturn M\n";
    home.install(
        &Template::new("t")
            .toml("[command]\ndefault = [\"true\"]\n[hooks]\ncommands = [\"echo\"]\n")
            .file("hooks.lua", lua),
    );
    let dir = home.templates().join("t");
    let shown = text(&dir);
    home.cli(&["template", "test", &shown]).exits(2);
    home.cli(&["template", "test", &shown, "--record", "submit"]).exits(0);
    let case = fs::read_to_string(dir.join("tests/submit-recorded.toml")).unwrap();
    assert!(case.contains("argv = [\"echo\", \"-n\", \"example\"]"), "{case}");
    home.cli(&["template", "test", &shown]).exits(0);
    fs::write(dir.join("tests/submit-recorded.toml"), case.replace("\"-n\"", "\"-x\"")).unwrap();
    let failed = home.cli(&["template", "test", &shown]);
    assert!(failed.exits(6).stdout.contains("argv[1]: -x"), "{failed}");
    home.cli(&["template", "test", &shown, "--update"]).exits(0);
    assert_eq!(fs::read_to_string(dir.join("tests/submit-recorded.toml")).unwrap(), case);
    home.cli(&["template", "test", "shell", "--update"]).exits(2);
}

#[test]
fn inject_names_the_value_the_place_and_what_it_did() {
    let home = Home::new();
    let bad = "cat >/dev/null; name=$(printf '%s' \"$req\" | sed -n 's/.*\"tags\":{\"inject\":\"\\([^\"]*\\)\".*/\\1/p'); eval \"mysub $name\"; echo 1";
    home.install(
        &Template::new("bad")
            .hook("submit", bad)
            .hook("terminate", "true")
            .toml("[command]\ndefault = [\"true\"]\n[hooks]\ncommands = [\"mysub\"]\n"),
    );
    let dir = text(&home.templates().join("bad"));
    let output = home.cli(&["template", "test", &dir, "--inject"]);
    let said = &output.exits(6).stdout;
    assert!(
        said.contains("command substitution in a tag") && said.contains("a value was run as code"),
        "{output}"
    );
}

#[test]
fn doctor_names_the_commands_that_are_missing() {
    let home = Home::new();
    home.install(&Template::working("t").toml("[hooks]\ncommands = [\"no-such-command\", \"sh\"]\n"));
    let output = home.cli(&["template", "doctor", &text(&home.templates().join("t")), "--output", "json"]);
    output.exits(6);
    let found: Value = serde_json::from_str(&output.stdout).unwrap();
    let level = |id: &str| {
        found.as_array().unwrap().iter().find(|found| found["id"] == id).map(|found| found["level"].clone())
    };
    assert_eq!(level("command no-such-command"), Some("fail".into()), "{output}");
    assert_eq!(level("command sh"), Some("ok".into()), "{output}");
}
