//! Sessions in containers, on a real engine.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::Engine as _;
use wharf_tests::events::Following;
use wharf_tests::launcher::Home;
use wharf_tests::{Dockerd, Launcher, Probe, Template, until, wait};

use super::docker_everywhere::{
    SLOW_START, SOON, await_container, await_no_container, body, launcher, run, site,
};

/// Purged while nobody knows what became of the submit: nothing is asked and nothing touched, and what was made and never
/// started is gone in the end, whatever happens to launcher and engine meanwhile.
#[test]
fn a_container_that_was_made_and_never_started_does_not_outlive_its_purged_session() {
    let mut engine = Dockerd::start();
    let find = "function hooks.find(req) host.fail('unavailable', 'not now') end";
    let toml = "[timeouts]\nsubmit = \"5s\"\nsettle = \"2s\"\n";
    let mut launcher = site(&engine, toml, &format!("{SLOW_START}\n{find}"));
    let cut_off = |launcher: &mut Launcher| {
        let id = launcher.start_session(&body("site", "busybox", &["sleep", "1000"]));
        await_container(&engine, &id, "created");
        launcher.kill9();
        launcher.restart();
        launcher.await_session(&id, "is looked for", SOON, |session| session["phase"] == "unknown");
        assert_eq!(launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})).status, 204);
        launcher.http().get(&format!("/sessions/{id}")).problem(404, "unknown_session");
        assert_eq!(engine.containers(), [format!("{id} busybox created")]);
        id
    };
    cut_off(&mut launcher);
    await_no_container(&engine);

    // One that somebody starts is a session again, and stays.
    let id = cut_off(&mut launcher);
    engine.run(&["start", &id]).exits(0);
    launcher.await_reappeared(&id, SOON);
    wait::never("it is taken for a leftover", Duration::from_secs(8), || {
        let there = engine.containers();
        (there != [format!("{id} busybox running")]).then(|| format!("{there:?}"))
    });
    assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
    await_no_container(&engine);

    // Neither launcher nor engine are there when it is time.
    cut_off(&mut launcher);
    launcher.kill9();
    engine.kill9();
    launcher.restart();
    until("the engine is missed", SOON, || {
        let backends = launcher.http().get("/backends").text();
        Probe::when(backends.contains("cannot be reached"), (), || backends)
    });
    engine.restart();
    until("the container is gone", Duration::from_secs(40), || {
        let left = engine.containers();
        Probe::when(left.is_empty(), (), || format!("{left:?}"))
    });
}

#[test]
fn sessions_outlive_an_engine_with_live_restore_and_starts_meanwhile_are_refused() {
    let mut engine = Dockerd::live_restore();
    let launcher = launcher(&engine);
    let id = run(&launcher, "busybox", &["sleep", "1000"]);
    engine.kill9();
    until("starts are refused", SOON, || {
        let answer = launcher.http().post("/sessions", &body("docker", "busybox", &["sleep", "1"]));
        Probe::when(answer.status == 503 && answer.text().contains("\"unavailable\""), (), || {
            format!("{answer}")
        })
    });
    let backends = launcher.http().get("/backends").text();
    assert!(backends.contains("the Docker engine at unix:///"), "{backends}");
    assert_eq!(launcher.exec(&id, &["echo", "here"])["stdout"], "here\n");
    engine.restart();
    wait::never("the session is lost", Duration::from_secs(4), || {
        let session = launcher.session(&id);
        (session["state"] != "running" || session["link"] != "connected").then(|| session.to_string())
    });
    until("starts are taken again", SOON, || {
        let answer = launcher.http().post("/sessions", &body("docker", "busybox", &["true"]));
        Probe::when(answer.status == 201, (), || format!("{answer}"))
    });
    assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
    await_no_container(&engine);
}

#[test]
fn an_engine_without_live_restore_ends_its_sessions_and_they_say_so() {
    let mut engine = Dockerd::start();
    let mut launcher = launcher(&engine);
    let id = run(&launcher, "busybox", &["sleep", "1000"]);
    // With the launcher away nobody hears the monitor: only the engine can tell.
    launcher.kill9();
    engine.stop();
    launcher.restart();
    wait::never("a silent engine ends a session", Duration::from_secs(4), || {
        let session = launcher.session(&id);
        (session["state"] != "running").then(|| session.to_string())
    });
    engine.restart();
    let is_told = |id: &str| {
        let ended = launcher.await_ended(id, Duration::from_secs(60));
        let cause = ended["end"]["cause"].as_str().unwrap_or_default();
        assert!(["vanished", "signaled"].contains(&cause), "{ended}");
    };
    is_told(&id);
    await_no_container(&engine);

    // Killed, it leaves its containers, and their sessions go on; the next one ends them.
    let id = run(&launcher, "busybox", &["sleep", "1000"]);
    engine.kill9();
    wait::never("a dead engine ends a session", Duration::from_secs(4), || {
        let session = launcher.session(&id);
        (session["state"] != "running" || session["link"] != "connected").then(|| session.to_string())
    });
    assert_eq!(launcher.exec(&id, &["echo", "here"])["stdout"], "here\n");
    engine.restart();
    is_told(&id);
    await_no_container(&engine);
    let id = until("starts are taken again", SOON, || {
        let answer = launcher.http().post("/sessions", &body("docker", "busybox", &["sleep", "1000"]));
        let id = if answer.status == 201 { answer.json()["id"].clone() } else { Value::Null };
        Probe::when(id.is_string(), id, || format!("{answer}"))
    });
    launcher.await_connected(id.as_str().unwrap_or_default());
}

/// In front of the real client: whoever is created finds no address that is good where it is.
const CLIENT: &str = r#"#!/bin/sh
if [ "$1" = create ]; then
    for word; do
        case $word in
        *target=/run/wharf/session*)
            word=${word#*source=}
            sed -i '/wharf.link.sock/d' "${word%%,*}/addresses"
            ;;
        esac
    done
fi
PATH=${PATH#*:} exec docker "$@"
"#;

#[test]
fn the_template_of_plain_scripts_does_the_same() {
    let engine = Dockerd::start();
    let toml = format!(
        "api = 1\nextends = \"docker-cli\"\n[hooks]\nenv = {{ DOCKER_HOST = \"{}\" }}\n",
        engine.host()
    );
    let template = Template::new("scripts").toml(&toml);
    let path = tempfile::tempdir().expect("a directory");
    std::fs::write(path.path().join("docker"), CLIENT).expect("our own directory takes files");
    std::fs::set_permissions(path.path().join("docker"), std::fs::Permissions::from_mode(0o755))
        .expect("it is ours");
    let lost = Template::new("lost").toml(&format!("{toml}path = [{:?}]\n", path.path()));
    let launcher =
        Launcher::builder().env("DOCKER_HOST", &engine.host()).template(&template).template(&lost).start();
    let id = launcher.start_session(&body("scripts", "busybox", &["sleep", "1000"]));
    launcher.await_connected(&id);
    assert_eq!(engine.containers(), [format!("{id} busybox running")]);
    assert_eq!(launcher.session(&id)["job"]["id"], id);
    assert_eq!(launcher.exec(&id, &["echo", "here"])["stdout"], "here\n");
    let limits = "{{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.HostConfig.Memory}} {{.HostConfig.NetworkMode}}";
    assert_eq!(engine.property(&id, limits), "[ALL] [no-new-privileges] 2147483648 none");
    assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
    await_no_container(&engine);
    let id = launcher.start_session(&body("scripts", "busybox", &["sleep", "1000"]));
    launcher.await_connected(&id);
    engine.run(&["rm", "-f", &id]).exits(0);
    let end = launcher.await_ended(&id, Duration::from_secs(30));
    assert_eq!(end["end"]["cause"], "vanished", "{end}");

    let pending = |command: &[&str]| {
        let id = launcher.start_session(&body("lost", "busybox", command));
        let mut following = Following::open(&launcher.http(), &format!("/sessions/{id}/logs?follow=true"));
        let told = following.read_until(SOON, |text| text.contains("no launcher is reached"));
        assert!(told, "{}", following.seen());
        (id, following)
    };
    let (id, mut following) = pending(&["sh", "-c", "echo first; sleep 2; echo last"]);
    let addresses = launcher.data().join("sessions").join(&id).join("mount/addresses");
    let kept = std::fs::read_to_string(&addresses).expect("it was written");
    std::fs::write(&addresses, format!("{kept}unix:/run/wharf/link/sock\n")).expect("our own directory");
    assert!(following.ends(Duration::from_secs(60)), "{}", following.seen());
    let seen = following.seen().replace("\r\n", "\n");
    assert!(seen.ends_with(")\nfirst\nlast\n"), "{seen}");
    assert_eq!(seen.matches("no launcher is reached").count(), 1, "{seen}");
    await_no_container(&engine);
    // What it said is kept when its monitor never comes.
    let (id, mut following) = pending(&["true"]);
    engine.run(&["kill", &id]).exits(0);
    assert_eq!(launcher.await_ended(&id, SOON)["end"]["cause"], "never_registered");
    await_no_container(&engine);
    assert!(following.ends(SOON), "{}", following.seen());
    let said = launcher.http().get(&format!("/sessions/{id}/logs")).text();
    assert!(said.starts_with("wharf-monitor: no launcher is reached"), "{said}");
    assert_eq!(following.seen(), said);
}

#[test]
fn the_shipped_template_passes_the_conformance_run() {
    let engine = Dockerd::start();
    let home = Home::new();
    let args = ["template", "test", "docker", "--live", "-p", "image=busybox", "-p", "network=none"];
    let mut command = home.command(&args);
    command.env("DOCKER_HOST", engine.host());
    let output = wharf_tests::cli::run(command, b"", Duration::from_secs(120));
    output.exits(0);
    await_no_container(&engine);
}
