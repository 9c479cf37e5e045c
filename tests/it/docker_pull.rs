//! Bringing images from a registry: what the user sees meanwhile, what ends it, and what does not.

use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::Engine as _;
use wharf_tests::{Dockerd, Launcher, Probe, Proxy, Registry, Template, Terminal, until, wait};

const SOON: Duration = Duration::from_secs(30);
/// Of the big image's one layer.
const BYTES: u64 = 48 << 20;

#[track_caller]
fn launcher(engine: &Dockerd) -> Launcher {
    let scripts = format!(
        "api = 1\nextends = \"docker-cli\"\n[hooks]\nenv = {{ DOCKER_HOST = \"{}\" }}\n",
        engine.host()
    );
    let scripts = Template::new("scripts").toml(&scripts);
    Launcher::builder().env("DOCKER_HOST", &engine.host()).template(&scripts).start()
}

fn body(template: &str, image: &str) -> Value {
    json!({"template": template, "command": ["sleep", "1000"], "params": {"image": image, "network": "none"}})
}

/// Puts an image into the registry, and out of the engine.
#[track_caller]
fn publish(engine: &Dockerd, registry: &Registry, image: &str) -> String {
    let name = format!("{}/{image}:1", registry.host());
    engine.run(&["tag", image, &name]).exits(0);
    engine.run(&["push", "--quiet", &name]).exits(0);
    engine.run(&["rmi", "--force", &name, image]).exits(0);
    name
}

#[test]
fn a_pull_tells_how_far_it_is_and_terminate_stops_it() {
    let engine = Dockerd::start();
    engine.big_image("big", BYTES);
    let registry = Registry::start();
    let name = publish(&engine, &registry, "big");
    let slow = Proxy::tcp(&registry.host());
    slow.throttle(BYTES / 30);
    let name = name.replace(&registry.host(), slow.address());
    let launcher = launcher(&engine);
    let id = launcher.start_session(&body("docker", &name));
    let session = launcher.await_session(&id, "tells how far it is", SOON, |session| {
        let told = session["reason"]["message"].as_str().unwrap_or_default();
        told.starts_with("pulled ")
            && !told.starts_with("pulled 0 of")
            && told.contains(" MB, unpacked 0 of 1 layers")
            && told.ends_with(&name)
    });
    assert_eq!((&session["phase"], &session["reason"]["code"]), (&json!("preparing"), &json!("preparing")));
    // On the command line too, where it is seen however long the image's name is.
    let terminal = Terminal::open(launcher.home(), &["wait", &id, "--for", "running"]);
    terminal.await_text(" MB, unpacked 0 of 1 layers", SOON);
    let end = launcher.terminate(&id, "5s")["end"].clone();
    assert_eq!((&end["cause"], &end["stopped_by"]), (&json!("terminated"), &json!("not_started")), "{end}");
    let (status, seen) = terminal.ends(SOON);
    assert!(status == 6 && seen.contains("ended before anything was submitted"), "{status} {seen:?}");
    // Purged in the middle of it, nothing comes of it either: there is no job yet that could bring it back.
    let purged = launcher.start_session(&body("docker", &name));
    launcher.await_session(&purged, "is in the middle of it", SOON, |session| {
        session["reason"]["message"].as_str().is_some_and(|told| told.contains(" MB"))
    });
    let path = format!("/sessions/{purged}");
    assert_eq!(launcher.http().post(&format!("{path}/purge"), &json!({})).status, 204);
    launcher.http().get(&path).problem(404, "unknown_session");
    // Pulls that went on would now be done in a moment.
    slow.throttle(0);
    wait::never("the image comes all the same", Duration::from_secs(3), || {
        let there = engine.run(&["images", "--quiet", &name]).stdout;
        (!there.is_empty()).then_some(there)
    });
    assert_eq!((launcher.http().get(&path).status, engine.containers().len()), (404, 0));
    let id = launcher.start_session(&body("docker", &name));
    launcher.await_session(&id, "runs", SOON, |session| session["state"] == "running");
    assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
}

#[test]
fn a_registry_that_fails_for_a_moment_is_asked_again_and_one_without_the_image_is_believed() {
    let engine = Dockerd::start();
    let mut registry = Registry::start();
    let name = publish(&engine, &registry, "other");
    let launcher = launcher(&engine);
    let told = |session: &Value| session["reason"]["message"].as_str().unwrap_or_default().to_owned();
    for template in ["docker", "scripts"] {
        registry.kill9();
        let id = launcher.start_session(&body(template, &name));
        let session = launcher.await_session(&id, "waits for the registry", SOON, |session| {
            session["reason"]["code"] == "unavailable" && told(session).contains("refused")
        });
        assert_eq!(
            (&session["state"], &session["phase"]),
            (&json!("pending"), &json!("recorded")),
            "{session}"
        );
        registry.restart();
        launcher.await_session(&id, "runs", Duration::from_secs(60), |session| session["state"] == "running");
        assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
        engine.run(&["rmi", "--force", &name]).exits(0);
        let absent = format!("{}/absent:1", registry.host());
        let end =
            launcher.await_ended(&launcher.start_session(&body(template, &absent)), SOON)["end"].clone();
        assert_eq!(end["cause"], "submit_failed", "{end}");
        let words = end["message"].as_str().unwrap_or_default();
        assert!(words.contains(&absent) && words.contains("manifest unknown"), "{end}");
    }
    // A registry that is down is no fault of the template: others start.
    registry.kill9();
    for template in ["docker", "scripts"] {
        let ids: Vec<String> = (0..8).map(|_| launcher.start_session(&body(template, &name))).collect();
        for id in &ids {
            launcher.await_session(id, "waits", SOON, |session| {
                session["reason"]["code"] == "unavailable" && told(session).contains("refused")
            });
        }
        let id = launcher.start_session(&body(template, "busybox"));
        launcher.await_connected(&id);
        for id in &ids {
            let end = launcher.terminate(id, "5s")["end"].clone();
            assert_eq!(end["stopped_by"], "not_started", "{end}");
        }
        until("nothing is left of them", SOON, || {
            let left = engine.containers();
            Probe::when(left == [format!("{id} busybox running")], (), || format!("{left:?}"))
        });
        assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
    }
}

#[test]
fn an_image_that_is_removed_between_two_starts_is_brought_again() {
    let engine = Dockerd::start();
    let registry = Registry::start();
    let name = publish(&engine, &registry, "other");
    let launcher = launcher(&engine);
    for _ in 0..3 {
        let id = launcher.start_session(&body("docker", &name));
        launcher.await_session(&id, "runs", SOON, |session| session["link"] == "connected");
        assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
        engine.run(&["rmi", "--force", &name]).exits(0);
    }
    // Where nobody has it any more, that is what is told.
    let id = launcher.start_session(&body("docker", &name));
    launcher.await_session(&id, "runs", SOON, |session| session["link"] == "connected");
    assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
    engine.run(&["rmi", "--force", &name]).exits(0);
    drop(registry);
    let id = launcher.start_session(&body("docker", &name));
    let session = launcher.await_session(&id, "waits for the registry", SOON, |session| {
        session["reason"]["message"].as_str().is_some_and(|told| told.contains("refused"))
    });
    assert_eq!(session["phase"], "recorded", "{session}");
    assert_eq!(launcher.terminate(&id, "5s")["end"]["stopped_by"], "not_started");
}

#[test]
fn an_engine_that_is_killed_in_the_middle_of_a_pull_starts_the_session_when_it_is_back() {
    let mut engine = Dockerd::start();
    engine.big_image("big", BYTES);
    let registry = Registry::start();
    let name = publish(&engine, &registry, "big");
    let slow = Proxy::tcp(&registry.host());
    slow.throttle(BYTES / 30);
    let name = name.replace(&registry.host(), slow.address());
    let launcher = launcher(&engine);
    let id = launcher.start_session(&body("docker", &name));
    launcher.await_session(&id, "is in the middle of it", SOON, |session| {
        session["reason"]["message"].as_str().is_some_and(|told| told.contains(" MB"))
    });
    engine.kill9();
    launcher.await_session(&id, "waits for the engine", SOON, |session| {
        session["state"] == "pending" && session["reason"]["code"] == "unavailable"
    });
    slow.throttle(0);
    engine.restart();
    let patience = Duration::from_secs(90);
    launcher.await_session(&id, "runs", patience, |session| session["link"] == "connected");
    assert_eq!(engine.containers().len(), 1);
    assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
}

/// `missing` is what all others here show.
#[test]
fn a_site_says_when_images_are_pulled() {
    let engine = Dockerd::start();
    let registry = Registry::start();
    let name = publish(&engine, &registry, "other");
    let overlay = |when: &str| {
        let toml = format!("api = 1\nextends = \"docker\"\n[config]\npull = \"{when}\"\n");
        Template::new(when).toml(&toml)
    };
    let launcher = Launcher::builder()
        .env("DOCKER_HOST", &engine.host())
        .template(&overlay("always"))
        .template(&overlay("never"))
        .start();
    let end = launcher.await_ended(&launcher.start_session(&body("never", &name)), SOON)["end"].clone();
    assert_eq!(end["cause"], "submit_failed", "{end}");
    assert!(
        end["message"].as_str().is_some_and(|told| told.contains(&name) && told.contains("is not here")),
        "{end}"
    );
    let user_in = |template: &str| {
        let id = launcher.start_session(&body(template, &name));
        launcher.await_connected(&id);
        let user = launcher.exec(&id, &["id", "-u"])["stdout"].clone();
        assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
        user
    };
    assert_eq!((user_in("always"), user_in("never")), (json!("1234\n"), json!("1234\n")));
    // Somebody publishes another one under that name, and it is not here: only who always asks gets it.
    engine.run(&["tag", &name, "kept"]).exits(0);
    engine.run(&["tag", "busybox", &name]).exits(0);
    engine.run(&["push", "--quiet", &name]).exits(0);
    engine.run(&["tag", "kept", &name]).exits(0);
    assert_eq!((user_in("never"), user_in("always")), (json!("1234\n"), json!("0\n")));
}

/// What `docker login` has left serves both templates, and nothing of it is told.
#[test]
fn a_private_registry_is_told_who_asks() {
    let engine = Dockerd::start();
    let registry = Registry::private();
    registry.login(&engine.login_directory());
    let name = publish(&engine, &registry, "other");
    let launcher = launcher(&engine);
    let home = launcher.home().path().join(".docker");
    for template in ["docker", "scripts"] {
        let end = launcher.await_ended(&launcher.start_session(&body(template, &name)), SOON)["end"].clone();
        assert_eq!(end["cause"], "submit_failed", "{end}");
        assert!(
            end["message"].as_str().is_some_and(|told| told.contains("no basic auth credentials")),
            "{end}"
        );
        registry.login(&home);
        let id = launcher.start_session(&body(template, &name));
        launcher.await_connected(&id);
        assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
        engine.run(&["rmi", "--force", &name]).exits(0);
        std::fs::remove_dir_all(&home).expect("it was made");
    }
    let log = launcher.log();
    assert!(!log.contains("YWxpY2U6") && !log.contains("open-sesame"), "{log}");
}
