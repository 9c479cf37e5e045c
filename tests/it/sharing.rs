//! Shares: what a guest sees, may do, and loses at once.

use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::websocket::{Received, WebSocket};
use wharf_tests::{Http, Launcher, Probe, until};

const SOON: Duration = Duration::from_secs(10);

struct Scene {
    launcher: Launcher,
    id: String,
    bob: Http,
}

fn scene() -> Scene {
    let launcher = Launcher::start();
    let body = json!({"template": "shell", "name": "shared", "command": ["bash", "--norc"], "tty": true});
    let id = launcher.start_session(&body);
    launcher.await_connected(&id);
    let bob = launcher.tcp(Some(&launcher.token("guest", Some("bob"))));
    Scene { launcher, id, bob }
}

impl Scene {
    fn share(&self, body: &Value) -> String {
        let share = self.launcher.http().post(&format!("/sessions/{}/shares", self.id), body).expect(201);
        share["id"].as_str().expect("an id").to_owned()
    }

    fn path(&self, rest: &str) -> String {
        format!("/sessions/{}{rest}", self.id)
    }
}

#[test]
fn a_stranger_sees_nothing_and_learns_nothing() {
    let scene = scene();
    assert_eq!(scene.bob.get("/sessions").expect(200)["items"], json!([]));
    for path in ["", "/logs", "/params", "/history", "/shares"] {
        scene.bob.get(&scene.path(path)).problem(404, "unknown_session");
    }
    for (action, body) in
        [("terminate", json!({})), ("purge", json!({})), ("exec", json!({"argv": ["true"]}))]
    {
        scene.bob.post(&scene.path(&format!("/{action}")), &body).problem(404, "unknown_session");
    }
    scene.bob.post("/sessions", &json!({"template": "shell"})).problem(403, "forbidden");
    scene.bob.get("/tokens").problem(403, "forbidden");
}

#[test]
fn a_view_share_shows_and_forbids_the_rest() {
    let scene = scene();
    scene.share(&json!({"grantee": "user:bob", "role": "view"}));
    let seen = scene.bob.get(&scene.path("")).expect(200);
    assert_eq!(seen["name"], "shared");
    assert_eq!(scene.bob.get("/sessions").expect(200)["items"].as_array().map(Vec::len), Some(1));
    for path in ["/logs", "/params", "/history"] {
        assert_eq!(scene.bob.get(&scene.path(path)).status, 200, "{path}");
    }
    for (action, body) in [
        ("exec", json!({"argv": ["true"]})),
        ("terminate", json!({})),
        ("purge", json!({})),
        ("shares", json!({"grantee": "user:eve"})),
    ] {
        scene.bob.post(&scene.path(&format!("/{action}")), &body).problem(403, "forbidden");
    }
    scene.bob.patch(&scene.path("/params"), &json!({"a": 1})).problem(403, "forbidden");
    scene.bob.get(&scene.path("/shares")).problem(403, "forbidden");
    let mut terminal = WebSocket::open(&scene.bob, &scene.path("/attach")).expect("a read-only terminal");
    terminal.input(b"echo typed-$((1+1))\n");
    let mut owner = WebSocket::open(&scene.launcher.http(), &scene.path("/attach")).expect("an upgrade");
    owner.input(b"echo owner-$((2+2))\n");
    let seen = terminal.read_until("owner-4", SOON);
    assert!(!seen.contains("typed-2"), "{seen}");
    assert_eq!(scene.launcher.session(&scene.id)["state"], "running");
}

#[test]
fn a_control_share_types_and_exec_needs_exec() {
    let scene = scene();
    scene.share(&json!({"grantee": "user:bob", "role": "control"}));
    let mut terminal = WebSocket::open(&scene.bob, &scene.path("/attach")).expect("an upgrade");
    terminal.input(b"echo typed-$((1+1))\n");
    terminal.read_until("typed-2", SOON);
    scene.bob.post(&scene.path("/exec"), &json!({"argv": ["true"]})).problem(403, "forbidden");
    // The same grantee again replaces.
    scene.share(&json!({"grantee": "user:bob", "role": "control", "exec": true}));
    let result = scene.bob.post(&scene.path("/exec"), &json!({"argv": ["echo", "bob"]})).expect(200);
    assert_eq!(result["stdout"], "bob\n");
    let shares = scene.launcher.http().get(&scene.path("/shares")).expect(200);
    assert_eq!(shares["items"].as_array().map(Vec::len), Some(1), "{shares}");
    scene.bob.post(&scene.path("/terminate"), &json!({})).problem(403, "forbidden");
}

#[test]
fn a_share_with_a_group_is_for_those_who_are_in_it_on_this_host() {
    let scene = scene();
    // Every host has this user, in a group of the same name.
    let daemon = scene.launcher.tcp(Some(&scene.launcher.token("guest", Some("daemon"))));
    let share = scene.share(&json!({"grantee": "group:daemon", "role": "view"}));
    assert_eq!(daemon.get(&scene.path("")).expect(200)["name"], "shared");
    assert_eq!(daemon.get("/sessions").expect(200)["items"].as_array().map(Vec::len), Some(1));
    scene.bob.get(&scene.path("")).problem(404, "unknown_session");
    scene.launcher.http().delete(&scene.path(&format!("/shares/{share}"))).expect(204);
    daemon.get(&scene.path("")).problem(404, "unknown_session");
}

#[test]
fn unshare_cuts_open_streams_and_sight_within_a_second() {
    let scene = scene();
    let share = scene.share(&json!({"grantee": "user:bob", "role": "control"}));
    let mut terminal = WebSocket::open(&scene.bob, &scene.path("/attach")).expect("an upgrade");
    terminal.input(b"echo in-$((1+1))\n");
    terminal.read_until("in-2", SOON);
    let mut events = wharf_tests::events::Events::open(&scene.bob, None);
    let answer = scene.launcher.http().delete(&scene.path(&format!("/shares/{share}")));
    assert_eq!(answer.status, 204, "{answer}");
    until("the terminal is cut", Duration::from_secs(3), || match terminal.next(Duration::from_secs(1)) {
        Some(Received::Closed(_) | Received::Gone) => Probe::Ready(()),
        other => Probe::NotYet(format!("{other:?}")),
    });
    scene.bob.get(&scene.path("")).problem(404, "unknown_session");
    let gone =
        events.expect("the guest's delete", Duration::from_secs(3), |event| event.data["type"] == "delete");
    assert_eq!(gone.data["session"], json!({"id": scene.id}));
}

#[test]
fn a_share_expires_and_cuts_also_beside_one_that_lasts() {
    let scene = scene();
    scene.share(&json!({"grantee": "user:bob", "role": "control", "expires_in": "2s"}));
    scene.share(&json!({"grantee": "user:eve", "expires_in": "1h"}));
    let mut terminal = WebSocket::open(&scene.bob, &scene.path("/attach")).expect("an upgrade");
    let mut events = wharf_tests::events::Events::open(&scene.bob, None);
    until("the terminal is cut by expiry", Duration::from_secs(5), || {
        match terminal.next(Duration::from_secs(1)) {
            Some(Received::Closed(_) | Received::Gone) => Probe::Ready(()),
            other => Probe::NotYet(format!("{other:?}")),
        }
    });
    let gone =
        events.expect("the guest's delete", Duration::from_secs(1), |event| event.data["type"] == "delete");
    assert_eq!(gone.data["session"], json!({"id": scene.id}));
    scene.bob.get(&scene.path("")).problem(404, "unknown_session");
}

#[test]
fn a_link_that_is_withdrawn_cuts_who_came_by_it_within_a_second() {
    let scene = scene();
    let share = launcher_link(&scene);
    let secret = share["url"].as_str().and_then(|url| url.split_once("/#/join/")).expect("an address").1;
    let redeemed = scene.launcher.tcp(None).post("/redeem", &json!({"secret": secret})).expect(200);
    let guest = scene.launcher.tcp(redeemed["token"].as_str());
    assert_eq!(guest.get("/login").expect(200)["session_id"], scene.id.as_str());
    let access = guest.get(&scene.path("/access")).expect(200);
    assert_eq!(access, json!({"own": false, "role": "view", "exec": false, "terminal": true}));
    let owned = scene.launcher.http().get(&scene.path("/access")).expect(200);
    assert_eq!(owned, json!({"own": true, "role": "control", "exec": true, "terminal": true}));
    let mut terminal = WebSocket::open(&guest, &scene.path("/attach")).expect("an upgrade");
    let mut events = wharf_tests::events::Events::open(&guest, None);
    let share = share["id"].as_str().expect("an id");
    scene.launcher.http().delete(&scene.path(&format!("/shares/{share}"))).expect(204);
    let began = std::time::Instant::now();
    until("the terminal is cut", Duration::from_secs(1), || match terminal.next(Duration::from_secs(1)) {
        Some(Received::Closed(_) | Received::Gone) => Probe::Ready(()),
        other => Probe::NotYet(format!("{other:?}")),
    });
    events.expect("the guest's delete", Duration::from_secs(1).saturating_sub(began.elapsed()), |event| {
        event.data["type"] == "delete"
    });
    assert!(matches!(guest.get(&scene.path("")).status, 401 | 404));
    let path = scene.path("/attach");
    let refused = WebSocket::open(&guest, &path).expect_err("it is withdrawn");
    assert!(matches!(refused.0, 401 | 404), "{refused:?}");
}

/// Shares by link on the command line.
fn launcher_link(scene: &Scene) -> Value {
    scene.launcher.cli(&["share", &scene.id, "--link", "--expires", "1h", "--output", "json"]).json()
}

#[test]
fn a_link_share_is_redeemed_with_its_secret() {
    let scene = scene();
    let share = scene.launcher.http().post(&scene.path("/shares"), &json!({"grantee": "link"})).expect(201);
    let url = share["url"].as_str().expect("an address");
    let (_, secret) = url.split_once("/#/join/").expect("BASE/#/join/SECRET");
    let shares = scene.launcher.http().get(&scene.path("/shares")).expect(200);
    assert!(!shares.to_string().contains(secret), "shown once");
    let anybody = scene.launcher.tcp(None);
    let answer = anybody.post("/redeem", &json!({"secret": secret}));
    let redeemed = answer.expect(200);
    assert_eq!(
        (&redeemed["session_id"], &redeemed["role"]),
        (&json!(scene.id), &json!("view")),
        "{redeemed}"
    );
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let guest = scene.launcher.tcp(redeemed["token"].as_str());
    assert_eq!(guest.get(&scene.path("")).expect(200)["id"], scene.id.as_str());
    guest.post(&scene.path("/exec"), &json!({"argv": ["true"]})).problem(403, "forbidden");
    anybody.post("/redeem", &json!({"secret": "wrong"})).expect(404);
    let share = share["id"].as_str().expect("an id");
    assert_eq!(scene.launcher.http().delete(&scene.path(&format!("/shares/{share}"))).status, 204);
    anybody.post("/redeem", &json!({"secret": secret})).expect(404);
    assert!(matches!(guest.get(&scene.path("")).status, 401 | 404));
}

#[test]
fn too_many_wrong_secrets_are_slowed_down() {
    let scene = scene();
    let anybody = scene.launcher.tcp(None);
    let statuses: Vec<u16> =
        (0..15).map(|at| anybody.post("/redeem", &json!({"secret": format!("wrong-{at}")})).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 404).count(), 10, "{statuses:?}");
    assert!(statuses[10..].iter().all(|status| *status == 429), "{statuses:?}");
}

#[test]
fn the_command_line_shares_lists_and_withdraws() {
    let scene = scene();
    let (launcher, id) = (&scene.launcher, &scene.id);
    let share = launcher.cli(&[
        "share",
        id,
        "--with",
        "user:carol",
        "--role",
        "control",
        "--exec",
        "--expires",
        "1h",
        "--output",
        "json",
    ]);
    let share = share.json();
    assert_eq!(
        (&share["grantee"], &share["role"], &share["exec"]),
        (&json!("user:carol"), &json!("control"), &json!(true))
    );
    let listed = launcher.cli(&["share", id, "--list", "--output", "json"]).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    launcher.cli(&["unshare", id, share["id"].as_str().expect("an id")]).exits(0);
    launcher.cli(&["unshare", id, share["id"].as_str().expect("an id")]).exits(3);
    launcher.cli(&["share", id, "--with", "nonsense"]).exits(2);
    let soon = json!("2099-01-01T00:00:00Z");
    for (field, body) in [
        ("expires_in", json!({"grantee": "user:bob", "expires_in": "1h", "expires_at": soon})),
        ("expires_in", json!({"grantee": "user:bob", "expires_in": 0})),
        ("expires_in", json!({"grantee": "user:bob", "expires_in": "3000000d"})),
    ] {
        let problem = launcher.http().post(&scene.path("/shares"), &body).problem(422, "invalid");
        assert_eq!(problem["field"], field, "{problem}");
    }
    let long = launcher.cli(&["share", id, "--with", "user:bob", "--expires", "3000000d"]);
    long.exits(2);
    assert!(long.stderr.contains("3650d"), "{long}");
    for grantee in ["user:", "bob", "user:a\u{7}b", "group:", ""] {
        launcher.http().post(&scene.path("/shares"), &json!({"grantee": grantee})).problem(422, "invalid");
    }
}
