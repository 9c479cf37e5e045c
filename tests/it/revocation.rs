//! Who loses the right to be in a session is out of it within a second, whatever way they came and whatever they lose.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wharf_tests::events::Events;
use wharf_tests::http::Streaming;
use wharf_tests::websocket::{Received, WebSocket};
use wharf_tests::{Answer, Http, Launcher, Template, application};

const SOON: Duration = Duration::from_secs(10);
/// What the contract gives.
const SECOND: Duration = Duration::from_secs(1);

struct Scene {
    launcher: Launcher,
    id: String,
}

fn scene() -> Scene {
    let (web, echo) = (application::serve(), application::echo());
    let toml = format!(
        "[connect.web]\nkind = \"http\"\nport = {web}\n[connect.echo]\nkind = \"tcp\"\nport = {echo}\n"
    );
    let launcher = Launcher::with(&Template::working("app").toml(&toml));
    let body = json!({"template": "app", "command": ["bash", "--norc"], "tty": true});
    let id = launcher.start_session(&body);
    launcher.await_connected(&id);
    Scene { launcher, id }
}

/// Everything that can be open at once.
struct Open {
    sockets: Vec<(&'static str, WebSocket)>,
    bodies: Vec<(&'static str, Streaming)>,
    answers: Vec<(&'static str, JoinHandle<Answer>)>,
    /// None where somebody stays welcome elsewhere.
    events: Option<Events>,
}

impl Scene {
    fn path(&self, rest: &str) -> String {
        format!("/sessions/{}{rest}", self.id)
    }

    fn token(&self, body: &Value) -> (String, Http) {
        let made = self.launcher.http().post("/tokens", body).expect(201);
        let id = made["id"].as_str().expect("an id").to_owned();
        (id, self.launcher.tcp(made["token"].as_str()))
    }

    fn open(&self, http: &Http) -> Open {
        let at = self.launcher.tcp_host();
        let (_, port) = at.rsplit_once(':').expect("HOST:PORT");
        let host = format!("web--{}.localhost:{port}", self.id);
        let web = http.clone().with("host", &host);
        let mut exec = WebSocket::open(http, &self.path("/exec")).expect("an upgrade");
        assert!(exec.control(&json!({"start": {"argv": ["sh", "-c", "echo begun; exec sleep 1000"]}})));
        exec.read_until("begun", SOON);
        let mut attach = WebSocket::open(http, &self.path("/attach")).expect("an upgrade");
        attach.input(b"echo in-$((1+1))\n");
        attach.read_until("in-2", SOON);
        let mut tunnel = WebSocket::open(http, &self.path("/tunnel/echo")).expect("an upgrade");
        tunnel.input(b"in");
        tunnel.read_until("in", SOON);
        let socket = WebSocket::open_at(
            &web.clone().with("origin", &format!("http://{host}")),
            &format!("ws://{host}/socket"),
        );
        let mut logs = http.stream("GET", &format!("/api/v1{}", self.path("/logs?follow")));
        logs.read_some(SOON);
        let mut ticks = web.stream("GET", "/ticks");
        ticks.read_some(SOON);
        let (asking, path) = (http.clone(), self.path("/exec"));
        let long = thread::spawn(move || asking.post(&path, &json!({"argv": ["sleep", "1000"]})));
        let (asking, path) = (http.clone(), self.path("?wait=ended&timeout=50s"));
        let wait = thread::spawn(move || asking.get(&path));
        Open {
            sockets: vec![
                ("exec", exec),
                ("attach", attach),
                ("tunnel", tunnel),
                ("application", socket.expect("an upgrade")),
            ],
            bodies: vec![("logs", logs), ("an application's answer", ticks)],
            answers: vec![("a program", long), ("a wait", wait)],
            events: Some(Events::open(http, None)),
        }
    }
}

impl Open {
    /// All of it goes on.
    fn goes_on(&mut self) {
        for (name, socket) in &mut self.sockets {
            while let Some(received) = socket.next(Duration::from_millis(1)) {
                assert!(!matches!(received, Received::Closed(_) | Received::Gone), "{name}: {received:?}");
            }
        }
        if let Some(events) = &mut self.events {
            assert!(!events.ends(Duration::from_millis(1)));
        }
        for (name, answer) in &self.answers {
            assert!(!answer.is_finished(), "{name}");
        }
    }

    /// All of it is over a second after `from`.
    #[track_caller]
    fn ends_with(mut self, from: Instant) {
        let left = || (from + SECOND).saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        for (name, socket) in &mut self.sockets {
            loop {
                match socket.next(left()) {
                    Some(Received::Closed(_) | Received::Gone) => break,
                    Some(_) => {}
                    None => panic!("{name} is still open"),
                }
            }
        }
        for (_, body) in self.bodies {
            body.ends_broken(left());
        }
        if let Some(mut events) = self.events {
            assert!(events.ends(left()), "events are still open");
        }
        for (name, answer) in self.answers {
            let answer = answer.join().expect("it asks");
            assert!(answer.status != 200, "{name}: {answer}");
        }
        assert!(from.elapsed() < 2 * SECOND, "{:?}", from.elapsed());
    }
}

#[test]
fn a_token_that_is_revoked_takes_along_all_that_it_opened() {
    let scene = scene();
    let (id, http) = scene.token(&json!({"scope": "full"}));
    let (_, other) = scene.token(&json!({"scope": "full", "expires_in": "1h"}));
    let (open, mut of_another) = (scene.open(&http), scene.open(&other));
    let began = Instant::now();
    scene.launcher.http().delete(&format!("/tokens/{id}")).expect(204);
    open.ends_with(began);
    of_another.goes_on();
}

#[test]
fn a_token_that_is_over_takes_along_all_that_it_opened() {
    let scene = scene();
    let made = Instant::now();
    let (_, http) = scene.token(&json!({"scope": "full", "expires_in": "4s"}));
    let mut open = scene.open(&http);
    open.goes_on();
    open.ends_with(made + Duration::from_secs(4));
    http.get(&scene.path("")).problem(401, "unauthenticated");
}

#[test]
fn a_share_that_is_over_or_withdrawn_takes_along_all_that_it_opened() {
    let scene = scene();
    let (_, bob) = scene.token(&json!({"scope": "guest", "user": "bob"}));
    let share = |more: Value| {
        let mut body = json!({"grantee": "user:bob", "role": "control", "exec": true});
        body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        let share = scene.launcher.http().post(&scene.path("/shares"), &body).expect(201);
        share["id"].as_str().expect("an id").to_owned()
    };
    let id = share(json!({}));
    let mut open = scene.open(&bob);
    open.goes_on();
    let began = Instant::now();
    scene.launcher.http().delete(&scene.path(&format!("/shares/{id}"))).expect(204);
    // A guest's events stay open: there may be other sessions. They say that this one is gone.
    let mut events = open.events.take().expect("they are open");
    events.expect("the guest's delete", SECOND, |event| event.data["type"] == "delete");
    open.ends_with(began);
    let made = Instant::now();
    share(json!({"expires_in": "4s"}));
    let mut open = scene.open(&bob);
    open.goes_on();
    open.events = None;
    open.ends_with(made + Duration::from_secs(4));
    events.expect("the guest's delete", SECOND, |event| event.data["type"] == "delete");
}

#[test]
fn a_sign_in_that_is_ended_takes_along_all_that_it_opened() {
    let scene = scene();
    let login = scene.launcher.http().post("/login", &json!({})).expect(200);
    let (_, secret) = login["url"].as_str().and_then(|url| url.split_once("/#/login/")).expect("an address");
    let answer = scene.launcher.tcp(None).post("/login", &json!({"secret": secret}));
    let set = answer.header("set-cookie").expect("a cookie");
    let (_, token) = set.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
    // What the page's own cookie holds; the streams are the same whichever way it comes.
    let http = scene.launcher.tcp(Some(token));
    let at = scene.launcher.tcp_host();
    let (_, port) = at.rsplit_once(':').expect("HOST:PORT");
    let page = scene
        .launcher
        .tcp(None)
        .with("cookie", &format!("wharf-{port}={token}"))
        .with("origin", &format!("http://{at}"))
        .with("x-wharf-page", "1");
    let mut attach = WebSocket::open(&page, &scene.path("/attach")).expect("an upgrade");
    let mut events = Events::open(&http, None);
    let mut logs = page.stream("GET", &format!("/api/v1{}", scene.path("/logs?follow")));
    logs.read_some(SOON);
    let began = Instant::now();
    assert_eq!(page.delete("/login").status, 204);
    loop {
        match attach.next(SECOND) {
            Some(Received::Closed(_) | Received::Gone) => break,
            Some(_) => {}
            None => panic!("the terminal is still open"),
        }
    }
    logs.ends_broken(SECOND);
    assert!(events.ends(SECOND));
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
}
