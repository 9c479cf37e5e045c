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
