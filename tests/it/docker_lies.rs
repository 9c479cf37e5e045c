//! Engines whose answers are none: garbage, cut short, endless, silence, and images that say too much. Nothing of it ends
//! a session, starts one twice, or costs the launcher more than a bounded amount of memory.

use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::proxy::Lie;
use wharf_tests::{Dockerd, Engine as _, Launcher, Probe, Proxy, Template, dockerd, processes, until};

use super::docker_everywhere::{WAITS, await_no_container};

const SOON: Duration = Duration::from_secs(30);
/// What a lie may cost, in bytes.
const COST: u64 = 96 << 20;

struct Site {
    launcher: Launcher,
    door: Proxy,
    engine: Dockerd,
    _place: tempfile::TempDir,
}

impl Site {
    /// Lies begin before the launcher does.
    #[track_caller]
    fn with(lies: &[(&str, Lie)]) -> Self {
        let engine = Dockerd::start();
        let place = tempfile::tempdir().expect("a directory");
        let door = Proxy::unix(&place.path().join("door"), engine.socket());
        for (about, lie) in lies {
            door.lie(about, lie.clone());
        }
        let toml = "api = 1\nextends = \"docker\"\n[timeouts]\npoll = \"500ms\"\nsettle = \"2s\"\nstatus = \"2s\"\n\
                    terminate = \"5s\"\nregister = \"10m\"\n";
        let template = Template::new("site").toml(toml).file("hooks.lua", WAITS);
        let launcher = Launcher::builder().env("DOCKER_HOST", door.address()).template(&template).start();
        Self { launcher, door, engine, _place: place }
    }

    #[track_caller]
    fn start(&self, name: &str, image: &str) -> String {
        self.launcher.start_session(&json!({
            "template": "site", "name": name, "command": ["sleep", "1000"],
            "params": {"image": image, "network": "none", "memory": "16MiB"},
        }))
    }

    /// Waits until that was asked so often.
    #[track_caller]
    fn await_asked(&self, about: &str, times: usize) {
        let mut asked = Vec::new();
        until("the engine is asked", SOON, || {
            asked.extend(self.door.take_requests().into_iter().filter(|line| line.contains(about)));
            Probe::when(asked.len() >= times, (), || format!("{about}: {asked:?}"))
        });
    }
}

fn body(text: &str) -> Lie {
    Lie::Body("200 OK", text.as_bytes().to_vec())
}

/// A list that goes on with containers of others that have long labels.
fn endless_list() -> Lie {
    let one = json!({"Id": "0", "Names": ["/other"], "State": "running",
                     "Labels": {"a": "x".repeat(64 << 10), "io.wharf.session": "abcdefghjkmnpqrstvw1"}});
    Lie::Endless(b"[".to_vec(), format!("{one},").into_bytes())
}

#[test]
fn an_engine_that_talks_nonsense_ends_nothing_and_costs_little() {
    // Its events never were any.
    let events = Lie::Endless(Vec::new(), vec![b'x'; 64 << 10]);
    let site = Site::with(&[("/events", events)]);
    let Site { launcher, door, engine, .. } = &site;
    let waiting = site.start("waits", "busybox");
    let running = site.start("runs", "busybox");
    launcher.await_connected(&running);
    launcher.await_session(&waiting, "is created", SOON, |session| session["job"]["state"] == "starting");
    let before = processes::peak(launcher.pid());
    let both_are_as_they_were = |what: &str| {
        let (waiting, running) = (launcher.session(&waiting), launcher.session(&running));
        assert_eq!(
            (&waiting["state"], &waiting["end"]),
            (&json!("pending"), &Value::Null),
            "{what}: {waiting}"
        );
        assert_eq!(
            (&running["state"], &running["link"]),
            (&json!("running"), &json!("connected")),
            "{what}: {running}"
        );
    };
    let said_to_be_over = json!([{"Id": "0", "Names": [format!("/{waiting}")], "State": "exited",
                                  "Labels": {"io.wharf.session": waiting}}]);
    let one_of_a_new_word = said_to_be_over.to_string().replace("exited", "hibernating");
    for (what, about, lie) in [
        ("a page", "/containers/json", body("<html><body>It works!</body></html>")),
        ("a part of the list", "/containers/json", Lie::Cut(400)),
        ("an unknown word", "/containers/json", body(&one_of_a_new_word)),
        ("a long refusal", "/containers/json", Lie::Body("500 Internal Server Error", vec![b'y'; 8 << 20])),
        (
            "a text without an end",
            "/containers/json",
            Lie::Endless(b"[{\"Names\": [\"".to_vec(), vec![b'z'; 64 << 10]),
        ),
        ("an endless list", "/containers/json", endless_list()),
        ("silence", "/containers/json", Lie::Silence),
        (
            "one container without an end",
            &format!("/containers/{waiting}/json"),
            Lie::Endless(b"{\"Id\": \"".to_vec(), vec![b'x'; 64 << 10]),
        ),
    ] {
        if about != "/containers/json" {
            door.lie(
                "/containers/json",
                body(&said_to_be_over.to_string().replace("\"0\"", &format!("{waiting:?}"))),
            );
        }
        door.take_requests();
        door.lie(about, lie);
        site.await_asked(about, 2);
        both_are_as_they_were(what);
        assert_eq!(launcher.exec(&running, &["echo", "here"])["stdout"], "here\n", "{what}");
        let checked = launcher.session(&waiting)["job"]["checked_at"].clone();
        door.be_honest();
        launcher.await_session(&waiting, "is seen again", SOON, |session| {
            session["job"]["checked_at"] != checked
        });
        let cost = processes::peak(launcher.pid()).saturating_sub(before);
        assert!(cost < COST, "{what} cost {cost} bytes");
    }
    // So slowly that no answer is whole in time.
    door.throttle(100);
    site.await_asked("/containers/json", 2);
    both_are_as_they_were("a trickle");
    door.throttle(0);
    // When it comes to its senses, what it says is believed again.
    engine.run(&["rm", &waiting]).exits(0);
    assert_eq!(launcher.await_ended(&waiting, SOON)["end"]["cause"], "vanished");
    assert_eq!(launcher.terminate(&running, "15s")["end"]["cause"], "terminated");
    await_no_container(engine);
}

/// What was asked has happened, and the answer says nothing of it.
#[test]
fn whatever_answer_is_lost_a_start_makes_one_container_and_an_end_leaves_none() {
    let site = Site::with(&[]);
    let Site { launcher, door, engine, .. } = &site;
    for (about, lie) in [
        ("/containers/create", Lie::Cut(0)),
        ("/containers/create", Lie::Cut(150)),
        ("/start", Lie::Cut(0)),
        ("/start", Lie::Cut(15)),
    ] {
        door.lie(about, lie.clone());
        let id = site.start("runs", "busybox");
        launcher.await_connected(&id);
        assert_eq!(engine.containers(), [format!("{id} busybox running")], "{about} {lie:?}");
        door.be_honest();
        assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
        await_no_container(engine);
    }
    // Nothing was made, whatever was said.
    for lie in [body("{}"), Lie::Body("201 Created", b"<html>".to_vec())] {
        door.lie("/containers/create", lie.clone());
        let end = launcher.await_ended(&site.start("runs", "busybox"), SOON);
        assert_eq!(end["end"]["cause"], "submit_failed", "{lie:?}: {end}");
        door.be_honest();
        assert_eq!(engine.containers(), [""; 0]);
    }
    // A removal whose answer is lost is no success yet, and the wish stays.
    let id = site.start("waits", "busybox");
    launcher.await_session(&id, "is created", SOON, |session| session["job"]["state"] == "starting");
    door.lie("DELETE ", Lie::Cut(0));
    door.lie("/containers/json", Lie::Silence);
    let path = format!("/sessions/{id}/terminate?wait=20s");
    let answer = launcher.http().post(&path, &json!({}));
    assert!([502, 503, 504].contains(&answer.status), "{answer}");
    let session = launcher.session(&id);
    assert_eq!((&session["state"], &session["terminating"]), (&json!("pending"), &json!(true)), "{session}");
    door.be_honest();
    let end = launcher.terminate(&id, "15s")["end"].clone();
    assert_eq!(end["cause"], "terminated", "{end}");
    await_no_container(engine);
}

#[test]
fn an_image_that_says_too_much_is_not_run_and_hides_no_other() {
    let site = Site::with(&[]);
    let Site { launcher, engine, .. } = &site;
    dockerd::wordy_image(engine, 1_500_000);
    let end = launcher.await_ended(&site.start("runs", "wordy"), SOON)["end"].clone();
    assert_eq!(end["cause"], "submit_failed", "{end}");
    let words = end["message"].as_str().unwrap_or_default();
    assert!(words.contains("the image wordy is not run") && words.len() < 1000, "{end}");
    // Somebody makes one by hand, and says that it is a session's: the others are seen all the same.
    let id = site.start("waits", "busybox");
    launcher.await_session(&id, "is created", SOON, |session| session["job"]["state"] == "starting");
    let by_hand = "abcdefghjkmnpqrstvw1";
    let label = format!("io.wharf.session={by_hand}");
    engine
        .run(&["run", "-d", "--network=none", "--name", by_hand, "--label", &label, "wordy", "sleep", "1000"])
        .exits(0);
    engine.run(&["rm", &id]).exits(0);
    assert_eq!(launcher.await_ended(&id, SOON)["end"]["cause"], "vanished");
    let id = site.start("runs", "busybox");
    launcher.await_connected(&id);
    assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
}

/// Nobody knows whether the image came: it is asked for again, until the user has enough of it.
#[test]
fn a_pull_that_ends_in_nonsense_is_said_again() {
    let site = Site::with(&[]);
    let Site { launcher, door, engine, .. } = &site;
    let before = processes::peak(launcher.pid());
    for lie in [
        body("<html>"),
        Lie::Cut(40),
        Lie::Endless(b"{\"status\": \"".to_vec(), vec![b'x'; 64 << 10]),
        Lie::Endless(
            Vec::new(),
            b"{\"status\": \"Downloading\", \"id\": \"a\"}\n{\"errorDetail\": 1}\n".repeat(100),
        ),
    ] {
        door.lie("/images/create", lie.clone());
        let id = site.start("pulls", "127.0.0.1:1/absent:1");
        let session = launcher.await_session(&id, "is to be tried again", SOON, |session| {
            session["reason"]["code"] == "unavailable"
        });
        assert_eq!(
            (&session["state"], &session["phase"]),
            (&json!("pending"), &json!("recorded")),
            "{session}"
        );
        assert_eq!(launcher.terminate(&id, "10s")["end"]["stopped_by"], "not_started");
        door.be_honest();
        // It works again before it is lied about once more.
        let id = site.start("runs", "busybox");
        launcher.await_connected(&id);
        assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
    }
    let cost = processes::peak(launcher.pid()).saturating_sub(before);
    assert!(cost < COST, "it cost {cost} bytes");
    await_no_container(engine);
}

/// Replaced by another one while the launcher runs.
#[test]
fn an_engine_of_another_version_is_greeted_again() {
    let site = Site::with(&[]);
    let Site { launcher, door, engine, .. } = &site;
    let id = site.start("runs", "busybox");
    launcher.await_connected(&id);
    let refusal = r#"{"message": "client version 1.41 is too old. Minimum supported API version is 1.44, please upgrade your client to a newer version"}"#;
    door.lie("/containers/", Lie::Body("400 Bad Request", refusal.into()));
    let waits = site.start("runs", "busybox");
    launcher.await_session(&waits, "waits for the engine", SOON, |session| {
        session["state"] == "pending" && session["reason"]["code"] == "unavailable"
    });
    site.await_asked("/version ", 1);
    door.be_honest();
    launcher.await_connected(&waits);
    assert_eq!(engine.containers().len(), 2);
    launcher.cli(&["terminate", &id, &waits]).exits(0);
    await_no_container(engine);
}
