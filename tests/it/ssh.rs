//! Sessions on another host that is only known by ssh, by template alone: a real sshd.

use std::time::Duration;

use serde_json::json;
use wharf_tests::{Home, Launcher, Probe, Sshd, until, wait};

const RUNS: Duration = Duration::from_secs(40);

#[test]
fn the_conformance_run_passes() {
    let sshd = Sshd::start();
    let home = Home::new();
    home.install(&sshd.template("remote"));
    let dir = home.templates().join("remote");
    let output = home.cli(&["template", "test", &dir.to_string_lossy(), "--live"]);
    assert!(output.ok().contains("ok    no orphans"), "{output:?}");
}

#[test]
fn a_session_runs_there_and_leaves_nothing_behind() {
    let sshd = Sshd::start();
    let launcher = Launcher::with(&sshd.template("remote"));
    let choices = launcher.http().post("/templates/remote/options", &json!({"params": {}})).expect(200);
    assert_eq!(choices["host"], json!(["vis1", "vis2"]), "{choices}");
    let nowhere = json!({"template": "remote", "params": {"host": "vis3"}});
    launcher.http().post("/sessions", &nowhere).problem(422, "invalid");
    let id = launcher.start_session(&json!({
        "template": "remote", "params": {"host": "vis2"}, "env": {"GREETING": "$(id); `id`"},
        "command": ["sh", "-c", "echo hello; setsid sleep 1000 & exec sleep 1000"],
    }));
    let session = launcher.await_session(&id, "running there", RUNS, |session| {
        session["link"] == "connected" && session["job"]["node"] == "vis2"
    });
    assert_eq!(session["scheduler"], "ssh", "{session}");
    let job = session["job"]["id"].as_str().unwrap_or_default().to_owned();
    assert!(job.ends_with("@vis2"), "{session}");
    let remote = sshd.home().join(".local/share/wharf-remote");
    let bootstrap = remote.join(format!("sessions/{id}/mount/bootstrap.json"));
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&remote).expect("it is there"));
    assert_eq!(mode & 0o77, 0, "others can look into {}", remote.display());
    let seen = launcher.exec(&id, &["sh", "-c", "echo $GREETING; echo $HOME; env"]);
    let environment = seen["stdout"].as_str().unwrap_or_default();
    let home = sshd.home().display().to_string();
    assert!(environment.starts_with(&format!("$(id); `id`\n{home}\n")), "{environment}");
    assert!(
        !environment.contains("WHARF_INSTANCE=") && !environment.contains("WHARF_HOOK="),
        "{environment}"
    );
    assert_eq!(launcher.terminate(&id, "30s")["end"]["cause"], "terminated");
    assert_eq!(launcher.inside(&id).len(), 0);
    until("its files are gone there", Duration::from_secs(20), || {
        Probe::when(!bootstrap.exists(), (), || bootstrap.display().to_string())
    });
}

#[test]
fn a_host_that_is_away_ends_nothing_and_a_killed_monitor_is_noticed() {
    let mut sshd = Sshd::start();
    let launcher = Launcher::with(&sshd.template("remote"));
    let body = json!({"template": "remote", "command": ["sleep", "1000"]});
    let id = launcher.start_session(&body);
    launcher.await_session(&id, "running", RUNS, |session| session["link"] == "connected");
    sshd.stop();
    let late = launcher.start_session(&body);
    launcher.monitor(&id).signal(rustix::process::Signal::KILL);
    launcher.await_session(&id, "lost", RUNS, |session| session["link"] == "lost");
    wait::never("a session that nobody can tell of ended", Duration::from_secs(5), || {
        let now = [launcher.session(&id), launcher.session(&late)];
        (now[0]["state"] != "running" || now[1]["state"] == "running").then(|| format!("{now:?}"))
    });
    sshd.resume();
    let ended = launcher.await_ended(&id, RUNS);
    assert_eq!(ended["end"]["cause"], "vanished", "{ended}");
}
