//! Canaries: no secret in argv, logs, answers, or a file that another user could read.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::json;
use wharf_tests::{Launcher, Template, processes};

const PARAM: &str = "canary-param-5tr9";
const ENV: &str = "canary-env-8hq2";
const FILE: &str = "canary-file-3zp7";

/// Files below a directory that another user could open: readable by others all the way down.
fn exposed(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let Ok(metadata) = entry.path().symlink_metadata() else { continue };
        let mode = metadata.permissions().mode();
        if metadata.is_dir() && mode & 0o005 != 0 {
            exposed(&entry.path(), found);
        } else if metadata.is_file() && mode & 0o004 != 0 {
            found.push(entry.path());
        }
    }
}

#[test]
fn canaries_are_found_nowhere_they_must_not_be() {
    let secret = "[params.password]\ntype = \"string\"\nsecret = true\n";
    let template = Template::queueing("plain").toml(secret);
    let launcher = Launcher::builder().template(&template).config("[log]\nlevel = \"trace\"\n").start();
    let file = launcher.home().path().join("site-secret");
    std::fs::write(&file, FILE).expect("our own directory");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    let body = json!({
        "template": "plain", "params": {"password": PARAM}, "env": {"MY_SECRET": ENV}, "command": ["sleep", "1000"],
    });
    let id = launcher.start_session(&body);
    let bootstrap = launcher.bootstrap(&id);
    let credential = bootstrap.text("credential").to_owned();
    let tail = credential[credential.len() - 40..].to_owned();
    launcher.start_queued(&id);
    launcher.await_connected(&id);
    let shell =
        json!({"template": "shell", "env": {"MY_SECRET": ENV}, "command": ["sleep", "1000"], "tty": false});
    let shell = launcher.start_session(&shell);
    launcher.await_connected(&shell);
    let token = launcher.token("full", None);
    let share =
        launcher.http().post(&format!("/sessions/{id}/shares"), &json!({"grantee": "link"})).expect(201);
    let (_, link) = share["url"].as_str().expect("an address").split_once("/#/join/").expect("a secret");
    launcher.tcp(Some(&token)).get("/sessions").expect(200);
    launcher.tcp(Some("canary-wrong-token-1x")).get("/sessions").problem(401, "unauthenticated");
    launcher.exec(&id, &["true"]);
    let secrets = [PARAM, ENV, FILE, tail.as_str(), token.as_str(), link, "canary-wrong-token-1x"];

    for process in processes::all() {
        let line = process.command_line();
        for secret in secrets {
            assert!(!line.contains(secret), "{secret} in argv of {process:?}: {line}");
        }
    }
    let log = launcher.log();
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} in the log");
    }
    let mut answers = String::new();
    for path in [
        "/sessions",
        &format!("/sessions/{id}"),
        &format!("/sessions/{id}/history"),
        &format!("/sessions/{id}/shares"),
        "/tokens",
        "/backends",
        "/nodes",
        "/templates/plain",
    ] {
        answers.push_str(&launcher.http().get(path).text());
    }
    let history = launcher.http().get(&format!("/sessions/{id}/history")).text();
    let history: serde_json::Value = serde_json::from_str(&history).expect("JSON");
    let entries = history.as_array().or_else(|| history["items"].as_array()).expect("entries").clone();
    for trace in entries.iter().filter_map(|entry| entry["trace_id"].as_str()) {
        answers.push_str(&launcher.http().get(&format!("/traces/{trace}")).text());
    }
    answers.push_str(&launcher.cli(&["list", "--all", "--output", "json"]).stdout);
    answers.push_str(&launcher.http().try_raw("GET", "/metrics", Vec::new()).expect("an answer").text());
    for secret in secrets {
        assert!(!answers.contains(secret), "{secret} in an answer");
    }
    // The home itself is 0700, as a user's may not be: look as if it were open.
    let mut files = Vec::new();
    exposed(&launcher.data(), &mut files);
    for directory in ["journal", "runtime", "config"] {
        exposed(&launcher.home().path().join(directory), &mut files);
    }
    for file in files {
        if file.metadata().is_ok_and(|metadata| metadata.size() > 50_000_000) {
            continue;
        }
        let bytes = std::fs::read(&file).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} in {}", file.display());
        }
    }
    // Tokens are stored hashed: not even the private datastore holds one.
    for file in ["wharf.db", "wharf.db-wal"] {
        let bytes = std::fs::read(launcher.data().join(file)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(&token) && !text.contains(link), "a token's secret in {file}");
    }
    // Nor does the command's environment carry the launcher's credential.
    for process in launcher.inside(&id).iter().chain(&launcher.inside(&shell)) {
        let environment = process.environment();
        assert!(!environment.contains(&tail) && !environment.contains(PARAM), "{process:?}");
    }
}

#[test]
fn the_bootstrap_file_is_private() {
    let launcher = Launcher::with(&Template::queueing("plain"));
    let id = launcher.start_session(&json!({"template": "plain"}));
    let bootstrap = launcher.bootstrap(&id).path;
    let mut path = bootstrap.as_path();
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    // Either the file itself is private, or a directory above it that nobody else may pass.
    let mut closed = mode(path) & 0o077 == 0;
    while let Some(parent) = path.parent() {
        if !parent.starts_with(launcher.data()) {
            break;
        }
        closed |= mode(parent) & 0o077 == 0;
        path = parent;
    }
    assert!(closed, "{}", bootstrap.display());
}

#[test]
fn what_the_launcher_was_started_with_reaches_no_session() {
    let launcher = Launcher::builder()
        .env("WHARF_TOKEN", "canary-launcher-token-7qk2")
        .env("SITE_PASSWORD", "canary-launcher-env-4wd8")
        .start();
    for template in ["shell", "shell-exec"] {
        let id = launcher.run_session(template, &["sleep", "1000"]);
        let seen = launcher.exec(&id, &["env"]);
        let monitor = launcher.monitor(&id).environment();
        for text in [seen["stdout"].as_str().expect("text"), &monitor] {
            assert!(!text.contains("canary-launcher"), "{template}: {text}");
        }
        assert!(seen["stdout"].as_str().is_some_and(|text| text.contains("HOME=") && text.contains("PATH=")));
    }
}

/// Whether anything below the session's directory holds the canary.
fn holds(launcher: &Launcher, id: &str, canary: &str) -> bool {
    fn look(place: &Path, canary: &[u8]) -> bool {
        if place.is_dir() {
            return std::fs::read_dir(place)
                .into_iter()
                .flatten()
                .flatten()
                .any(|entry| look(&entry.path(), canary));
        }
        std::fs::read(place).is_ok_and(|text| text.windows(canary.len()).any(|part| part == canary))
    }
    look(&launcher.data().join("sessions").join(id), canary.as_bytes())
}

#[test]
fn of_a_session_that_is_over_no_value_stays_where_monitors_read() {
    const CANARY: &str = "hunter2zz";
    let mut launcher = Launcher::with(&Template::queueing("queue"));
    let start = |template: &str, script: &str| {
        let body = json!({"template": template, "command": ["sh", "-c", script], "env": {"MYPASS": CANARY}});
        launcher.start_session(&body)
    };
    let within = std::time::Duration::from_secs(20);
    let gone = |launcher: &Launcher, id: &str| {
        wharf_tests::until("the session's values are gone", within, || {
            wharf_tests::Probe::when(!holds(launcher, id, CANARY), (), || id.to_owned())
        });
    };
    let purge = |launcher: &Launcher, id: &str| {
        assert_eq!(launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})).status, 204);
    };
    // An end alone is enough, and a late job runs nothing.
    let ended = start("queue", "touch ran-late");
    let (monitor, bootstrap) = launcher.queued(&ended);
    assert!(holds(&launcher, &ended, CANARY), "its job needs them");
    let whole = std::fs::read(&bootstrap).expect("the bootstrap file");
    launcher.http().post(&format!("/sessions/{ended}/terminate"), &json!({})).expect(200);
    gone(&launcher, &ended);
    let status = launcher.spawn_monitor(&monitor, &bootstrap).wait().expect("it ends");
    assert!(!status.success(), "{status}");
    assert!(!launcher.home().path().join("ran-late").exists());
    // One that ran: an end record, then no record.
    let ran = start("shell", "exit 0");
    launcher.await_ended(&ran, within);
    purge(&launcher, &ran);
    assert!(!holds(&launcher, &ran, CANARY), "found after a purge");
    // One whose monitor does not answer: it has read its file, and comes back without it.
    let lost = start("shell", "sleep 1000");
    launcher.await_connected(&lost);
    let process = launcher.monitor(&lost);
    process.signal(rustix::process::Signal::STOP);
    purge(&launcher, &lost);
    assert!(!holds(&launcher, &lost, CANARY), "found after a purge");
    process.signal(rustix::process::Signal::CONT);
    launcher.await_reappeared(&lost, within);
    launcher.terminate(&lost, "10s");
    // One whose job may still start keeps them: it comes back as it was.
    let waiting = start("queue", "sleep 1000");
    launcher.queued(&waiting);
    purge(&launcher, &waiting);
    assert!(holds(&launcher, &waiting, CANARY));
    // What a launcher from before has left of those that are over is found at the start.
    std::fs::write(&bootstrap, whole).expect("our own file");
    launcher.kill9();
    launcher.restart();
    gone(&launcher, &ended);
    assert!(holds(&launcher, &waiting, CANARY), "it may still come back");
    launcher.start_queued(&waiting);
    launcher.await_reappeared(&waiting, within);
    launcher.terminate(&waiting, "10s");
    gone(&launcher, &waiting);
}

#[test]
fn lua_puts_no_secret_into_a_command_line_and_spawns_nothing_but_the_monitor() {
    let lua = r#"return { submit = function(req)
      local how, pin = req.session.params.how, req.session.params.pin
      local argv, env = { table.unpack(req.monitor.argv) }, { PIN = pin }
      if how == "argv" then argv[3] = pin end
      if how == "program" then argv[1] = "/usr/bin/env" end
      return shell.spawn { argv = argv, env = env, dir = req.monitor.dir, tag = req.session.id }
    end, find = function(req)
      local out = {}
      for _, session in ipairs(req.sessions) do out[session.id] = false end
      return out
    end, terminate = function(req) return {} end }"#;
    let toml = "[command]\ndefault = [\"sh\", \"-c\", \"test \\\"$PIN\\\" = canary-pin-7wd1\"]\ntty = false\n\
        [params.how]\ntype = \"string\"\ndefault = \"env\"\n[params.pin]\ntype = \"string\"\nsecret = true\n";
    let launcher = Launcher::with(&Template::new("spawns").toml(toml).file("hooks.lua", lua));
    let within = std::time::Duration::from_secs(20);
    let trace = |id: &str| {
        let history = launcher.http().get(&format!("/sessions/{id}/history")).expect(200);
        let entries = history.as_array().or_else(|| history["items"].as_array()).expect("entries");
        let trace = entries.iter().find_map(|entry| entry["trace_id"].as_str()).expect("a trace");
        launcher.http().get(&format!("/traces/{trace}")).expect(200).to_string()
    };
    let end = |how: &str| {
        let params = json!({"how": how, "pin": "canary-pin-7wd1"});
        let id = launcher.start_session(&json!({"template": "spawns", "params": params}));
        (launcher.await_ended(&id, within)["end"].clone(), id)
    };
    let (handed_on, id) = end("env");
    assert_eq!(handed_on["exit_code"], 0, "{handed_on} {}", trace(&id));
    for (how, words) in [
        ("argv", "a secret in argv could be seen by everybody: use env or stdin"),
        (
            "program",
            "shell.spawn: `/usr/bin/env` is neither the request's monitor nor a path of [hooks] commands",
        ),
    ] {
        let (refused, id) = end(how);
        assert_eq!(refused["cause"], "submit_failed", "{how}: {refused}");
        let trace = trace(&id);
        assert!(trace.contains(words), "{how}: {trace}");
        assert!(!trace.contains("canary-pin"), "{how}: {trace}");
    }
}
