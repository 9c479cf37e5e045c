//! The whole life of sessions, the same on every backend: what the shell backend shows in many small tests holds for real jobs
//! and containers too. Each function here is one part of that life; each backend's test runs them all.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use wharf_tests::events::Following;
use wharf_tests::processes::{self, Process};
use wharf_tests::websocket::WebSocket;
use wharf_tests::{Dockerd, GridEngine, Home, Launcher, Probe, Slurm, Sshd, Template, until};

/// Long enough for a job to be scheduled and its monitor to register on a starved machine.
const SOON: Duration = Duration::from_secs(60);

/// A launcher with the templates `job`; `idle` and `brief`, which end their sessions by themselves; and `held`, whose jobs wait
/// for a `release`, where the backend has that.
struct Place {
    launcher: Launcher,
    params: Value,
    release: Option<Release>,
    /// Whether what is left of a session whose monitor was killed is ended too. The tests' batch systems have no cgroups to
    /// follow processes with, as sites do.
    clears: bool,
}

type Release = Box<dyn Fn(&str)>;

impl Place {
    /// `template` makes one of a name with lines of `template.toml`.
    fn new(
        home: &std::sync::Arc<Home>,
        env: Option<(&str, &str)>,
        template: impl Fn(&str, &str) -> Template,
    ) -> Self {
        for (name, more) in [
            ("job", ""),
            ("idle", "[session]\nidle_timeout = \"2s\"\n"),
            ("brief", "[session]\nmax_lifetime = \"3s\"\nterminate_grace = \"1s\"\n"),
        ] {
            home.install(&template(name, more));
        }
        let mut launcher = Launcher::at(home);
        if let Some((name, value)) = env {
            launcher = launcher.env(name, value);
        }
        Self { launcher: launcher.start(), params: json!({}), release: None, clears: true }
    }

    #[track_caller]
    fn start(&self, template: &str, command: &[&str]) -> String {
        let body = json!({"template": template, "command": command, "tty": false, "params": self.params});
        self.launcher.start_session(&body)
    }

    #[track_caller]
    fn run(&self, template: &str, script: &str) -> String {
        let id = self.start(template, &["sh", "-c", script]);
        self.await_linked(&id);
        id
    }

    #[track_caller]
    fn await_linked(&self, id: &str) -> Value {
        self.launcher.await_session(id, "linked", SOON, |session| session["link"] == "connected")
    }

    /// The session's monitor: what runs above its command.
    #[track_caller]
    fn monitor(&self, id: &str) -> Process {
        let above = || {
            let inside = self.launcher.inside(id);
            let is_above = |one: &Process| inside.iter().any(|command| command.parent == one.pid);
            processes::all()
                .into_iter()
                .find(|one| is_above(one) && one.command_line().contains("wharf-monitor"))
        };
        until("its command runs", SOON, || {
            above().map_or_else(|| Probe::NotYet("none".to_owned()), Probe::Ready)
        })
    }

    #[track_caller]
    fn await_nothing_left(&self, id: &str) {
        until("nothing of it runs", SOON, || {
            let left = self.launcher.inside(id);
            Probe::when(left.is_empty(), (), || format!("{left:?}"))
        });
    }

    fn sweep(mut self) {
        every_action(&mut self);
        ends(&self);
        limits(&self);
        kills(&mut self);
        if self.release.is_some() {
            pending(&self);
        }
    }
}

/// start, wait, exec, logs, params, disconnect, share, purge refused, terminate, history.
fn every_action(place: &mut Place) {
    let launcher = &place.launcher;
    let script = "trap 'echo clean; exit 0' TERM; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done";
    let id = place.start("job", &["sh", "-c", script]);
    launcher.cli(&["wait", &id, "--for", "running", "--timeout", "60s"]).ok();
    place.await_linked(&id);
    let path = format!("/sessions/{id}");
    let http = launcher.http();
    let result = launcher.exec(&id, &["sh", "-c", "echo $WHARF_SESSION_ID; echo oops >&2; exit 3"]);
    assert_eq!(
        (&result["exit_code"], &result["stdout"], &result["stderr"]),
        (&json!(3), &json!(format!("{id}\n")), &json!("oops\n"))
    );
    let echoed =
        http.post(&format!("{path}/exec"), &json!({"argv": ["cat"], "stdin": "to and fro"})).expect(200);
    assert_eq!(echoed["stdout"], "to and fro");
    assert_eq!(launcher.exec(&id, &["/no/such/program"])["exit_code"], 127);
    let mut following = Following::open(&http, &format!("{path}/logs?follow=true"));
    assert!(following.read_until(SOON, |text| text.contains("line 5\n")), "{}", following.seen());
    assert_eq!(
        http.patch(&format!("{path}/params"), &json!({"note": "x"})).expect(200)["params"]["note"],
        "x"
    );
    assert_eq!(http.get(&format!("{path}/params")).expect(200)["params"]["note"], "x");
    let share =
        http.post(&format!("{path}/shares"), &json!({"grantee": "user:bob", "role": "view"})).expect(201);
    let bob = launcher.tcp(Some(&launcher.token("guest", Some("bob"))));
    bob.get(&path).expect(200);
    bob.post(&format!("{path}/exec"), &json!({"argv": ["true"]})).problem(403, "forbidden");
    let share = share["id"].as_str().expect("it has an id");
    assert_eq!(http.delete(&format!("{path}/shares/{share}")).status, 204);
    bob.get(&path).problem(404, "unknown_session");
    http.post(&format!("{path}/connect"), &json!({})).expect(200);
    http.post(&format!("{path}/attach"), &json!({})).problem(405, "method_not_allowed");
    http.post(&format!("{path}/purge"), &json!({})).problem(409, "session_reachable");
    let ended = launcher.terminate(&id, "30s");
    assert_eq!(
        (&ended["end"]["cause"], &ended["end"]["stopped_by"]),
        (&json!("terminated"), &json!("signal")),
        "{ended}"
    );
    assert!(following.ends(SOON), "it ends with the session");
    assert!(following.seen().ends_with("clean\n"), "{}", following.seen());
    assert_eq!(http.get(&format!("{path}/logs")).text(), following.seen());
    let history = http.get(&format!("{path}/history")).text();
    for event in ["created", "running", "ended"] {
        assert!(history.contains(&format!("\"{event}\"")), "{event}: {history}");
    }
    assert!(!launcher.listed().contains(&id));
    assert_eq!(http.post(&format!("{path}/terminate"), &json!({})).status, 200);
    place.await_nothing_left(&id);
    attached(place);
}

/// A terminal, and being dropped from it.
fn attached(place: &Place) {
    let launcher = &place.launcher;
    let body = json!({"template": "job", "command": ["sh"], "tty": true, "params": place.params});
    let id = launcher.start_session(&body);
    place.await_linked(&id);
    let http = launcher.http();
    let mut socket = WebSocket::open(&http, &format!("/sessions/{id}/attach")).expect("an upgrade");
    assert!(socket.control(&json!({"resize": {"rows": 31, "cols": 91}})));
    assert!(socket.input(b"stty size; echo th''ere\n"));
    let seen = socket.read_until("there\r\n", SOON);
    assert!(seen.contains("31 91"), "{seen}");
    launcher.await_session(&id, "somebody is in it", SOON, |session| session["connections"] == 1);
    assert_eq!(http.post(&format!("/sessions/{id}/disconnect"), &json!({})).expect(200)["disconnected"], 1);
    launcher.await_session(&id, "nobody is in it", SOON, |session| session["connections"] == 0);
    assert_eq!(launcher.terminate(&id, "30s")["end"]["cause"], "terminated");
}

/// Its command ends by itself, by a signal, or cannot be run.
fn ends(place: &Place) {
    let launcher = &place.launcher;
    let scripts =
        [("exit 3", "exited", json!(3), Value::Null), ("kill -SEGV $$", "signaled", Value::Null, json!(11))];
    let mut ids: Vec<_> = scripts
        .into_iter()
        .map(|(script, cause, code, signal)| (place.start("job", &["sh", "-c", script]), cause, code, signal))
        .collect();
    ids.push((place.start("job", &["/no/such/program"]), "exited", json!(127), Value::Null));
    for (id, cause, code, signal) in ids {
        let end = launcher.await_ended(&id, SOON)["end"].clone();
        assert_eq!(
            (&end["cause"], &end["exit_code"], &end["signal"]),
            (&json!(cause), &code, &signal),
            "{end}"
        );
    }
}

/// Nobody is in it, or its time is over.
fn limits(place: &Place) {
    let ids = [("idle", "idle"), ("brief", "timeout")]
        .map(|(template, cause)| (place.run(template, "exec sleep 1000"), cause));
    for (id, cause) in ids {
        assert_eq!(place.launcher.await_ended(&id, SOON)["end"]["cause"], cause);
        place.await_nothing_left(&id);
    }
}

/// The launcher is killed, its monitor hangs, its monitor is killed, and it does not want to end.
fn kills(place: &mut Place) {
    let id = place.run("job", "trap '' TERM HUP; echo begun; setsid sleep 1000 & while :; do sleep 1; done");
    let before = place.launcher.session(&id);
    place.launcher.kill9();
    place.launcher.restart();
    let after = place.await_linked(&id);
    for member in ["id", "name", "created_at", "started_at", "command"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    let launcher = &place.launcher;
    assert_eq!(launcher.exec(&id, &["echo", "here"])["stdout"], "here\n");
    let monitor = place.monitor(&id);
    monitor.signal(Signal::STOP);
    let purged = launcher.http().post(&format!("/sessions/{id}/purge"), &json!({}));
    monitor.signal(Signal::CONT);
    assert_eq!(purged.status, 204, "{purged}");
    launcher.await_reappeared(&id, SOON);
    let answer = launcher.http().post(&format!("/sessions/{id}/terminate?wait=60s"), &json!({"grace": "1s"}));
    let ended = answer.expect(200);
    assert_eq!(
        (&ended["end"]["cause"], &ended["end"]["stopped_by"]),
        (&json!("terminated"), &json!("kill")),
        "{ended}"
    );
    place.await_nothing_left(&id);

    let id = place.run("job", "setsid sleep 1000 & exec sleep 1000");
    place.monitor(&id).signal(Signal::KILL);
    let end = place.launcher.await_ended(&id, SOON)["end"].clone();
    assert!(["vanished", "signaled"].contains(&end["cause"].as_str().unwrap_or_default()), "{end}");
    if !place.clears {
        place.launcher.inside(&id).iter().for_each(|left| left.signal(Signal::KILL));
    }
    place.await_nothing_left(&id);
}

/// Before the job starts.
fn pending(place: &Place) {
    let launcher = &place.launcher;
    let release = place.release.as_ref().expect("it was looked at");
    let held = |script: &str| {
        let id = place.start("held", &["sh", "-c", script]);
        let session = launcher.await_session(&id, "held", SOON, |session| session["job"]["state"] == "held");
        assert_eq!(
            (&session["state"], &session["phase"]),
            (&json!("pending"), &json!("submitted")),
            "{session}"
        );
        (id, session["job"]["id"].as_str().expect("it has a job").to_owned())
    };
    let (id, job) = held("echo $WHARF_SESSION_NAME; exec sleep 1000");
    let path = format!("/sessions/{id}");
    let http = launcher.http();
    http.post(&format!("{path}/exec"), &json!({"argv": ["true"]})).problem(409, "session_pending");
    http.post(&format!("{path}/connect"), &json!({})).problem(409, "session_pending");
    assert_eq!(http.post(&format!("{path}/disconnect"), &json!({})).expect(200)["disconnected"], 0);
    assert_eq!(http.get(&format!("{path}/logs")).text(), "");
    http.patch(&format!("{path}/params"), &json!({"note": "early"})).expect(200);
    http.post(&format!("{path}/shares"), &json!({"grantee": "user:bob", "role": "view"})).expect(201);
    release(&job);
    place.await_linked(&id);
    let session = launcher.session(&id);
    assert_eq!(
        (&session["params"]["note"], &session["job"]["id"]),
        (&json!("early"), &json!(job)),
        "{session}"
    );
    assert_eq!(http.get(&format!("{path}/shares")).expect(200)["items"][0]["grantee"], "user:bob");
    assert_eq!(launcher.terminate(&id, "30s")["end"]["cause"], "terminated");

    let (id, _) = held("exec sleep 1000");
    let ended = launcher.terminate(&id, "30s");
    assert_eq!(
        (&ended["end"]["cause"], &ended["end"]["stopped_by"]),
        (&json!("terminated"), &json!("hook")),
        "{ended}"
    );
    let (id, job) = held("exec sleep 1000");
    assert_eq!(http.post(&format!("/sessions/{id}/purge"), &json!({})).status, 204);
    http.get(&format!("/sessions/{id}")).problem(404, "unknown_session");
    release(&job);
    launcher.await_reappeared(&id, SOON);
    assert_eq!(launcher.terminate(&id, "30s")["end"]["cause"], "terminated");
    place.await_nothing_left(&id);
}

#[test]
fn on_this_host() {
    let home = Home::new();
    let template = |name: &str, more: &str| {
        Template::new(name).toml(&format!("api = 1\nextends = \"shell\"\n[timeouts]\npoll = \"1s\"\n{more}"))
    };
    Place::new(&home, None, template).sweep();
}

#[test]
fn on_slurm() {
    let slurm = Slurm::shared();
    let home = Home::new();
    home.install(&slurm.template("held", "options = [\"--hold\"]"));
    let mut place = Place::new(&home, None, |name, more| slurm.template(name, "").toml(more));
    place.clears = false;
    let conf = slurm.conf();
    place.release = Some(Box::new(move |job| {
        let released =
            std::process::Command::new("scontrol").args(["release", job]).env("SLURM_CONF", &conf).status();
        assert!(released.is_ok_and(|status| status.success()), "{job}");
    }));
    place.sweep();
}

#[test]
fn on_grid_engine() {
    let site = GridEngine::shared();
    let home = Home::new();
    home.install(&site.template("held", "[config]\noptions = [\"-h\"]"));
    let mut place = Place::new(&home, None, |name, more| site.template(name, more));
    place.clears = false;
    place.release = Some(Box::new(|job| {
        let mut command = std::process::Command::new("qrls");
        command.arg(job).env("SGE_ROOT", "/var/lib/gridengine").env("SGE_CELL", "default");
        assert!(command.output().is_ok_and(|output| output.status.success()), "{job}");
    }));
    place.sweep();
}

#[test]
fn on_another_host_by_ssh() {
    let sshd = Sshd::start();
    let home = Home::new();
    Place::new(&home, None, |name, more| sshd.template(name).toml(more)).sweep();
}

#[test]
fn on_docker() {
    let engine = Dockerd::start();
    let home = Home::new();
    let host = engine.host();
    let template =
        |name: &str, more: &str| Template::new(name).toml(&format!("api = 1\nextends = \"docker\"\n{more}"));
    let mut place = Place::new(&home, Some(("DOCKER_HOST", &host)), template);
    place.params = json!({"image": "busybox", "network": "none"});
    place.sweep();
}
