//! The shipped templates for applications, in images that their own Dockerfiles make, entered by the link alone: their
//! containers have no network.

use std::time::Duration;

use serde_json::json;
use wharf_tests::images::Images;
use wharf_tests::websocket::{Received, WebSocket};
use wharf_tests::{Launcher, Probe, until};

const SOON: Duration = Duration::from_secs(60);

struct App {
    launcher: Launcher,
    id: String,
    _images: Images,
}

impl App {
    #[track_caller]
    fn start(template: &str, image: &str) -> Self {
        let images = Images::of(template, image);
        let launcher = Launcher::builder().env("DOCKER_HOST", &images.engine.host()).start();
        let id = launcher.start_session(&json!({"template": template, "params": {"network": "none"}}));
        launcher.await_connected(&id);
        Self { launcher, id, _images: images }
    }

    /// Says something to an endpoint and returns all that comes within a while, until it is enough.
    fn talk(&self, endpoint: &str, say: &[u8], enough: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, String> {
        let path = format!("/sessions/{}/tunnel/{endpoint}", self.id);
        let mut socket = WebSocket::open(&self.launcher.http(), &path).map_err(|told| format!("{told:?}"))?;
        if !say.is_empty() {
            socket.input(say);
        }
        let mut seen = Vec::new();
        while !enough(&seen) {
            match socket.next(Duration::from_secs(10)) {
                Some(Received::Data(0, data)) => seen.extend(data),
                other => return Err(format!("{other:?} after {:?}", String::from_utf8_lossy(&seen))),
            }
        }
        Ok(seen)
    }

    #[track_caller]
    fn await_talk(&self, endpoint: &str, say: &[u8], enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        until("the application answers", SOON, || match self.talk(endpoint, say, &enough) {
            Ok(seen) => Probe::Ready(seen),
            Err(told) => Probe::NotYet(told),
        })
    }

    #[track_caller]
    fn sh(&self, script: &str) -> String {
        let result = self.launcher.exec(&self.id, &["sh", "-c", script]);
        assert_eq!(result["exit_code"], 0, "{result}");
        result["stdout"].as_str().unwrap_or_default().to_owned()
    }

    /// Nothing listens where others could come in: no port at all, and the socket is its user's own.
    #[track_caller]
    fn is_entered_by_the_link_alone(&self, socket: &str) {
        let listening = self.sh("cat /proc/net/tcp /proc/net/tcp6 | grep ' 0A ' || true");
        assert_eq!(listening, "");
        assert_eq!(self.sh(&format!("stat -c '%F %a %u' {socket}; id -u")), "socket 600 1000\n1000\n");
    }

    #[track_caller]
    fn ends_cleanly(self) {
        let end = self.launcher.terminate(&self.id, "30s")["end"].clone();
        assert_eq!((&end["cause"], &end["stopped_by"]), (&json!("terminated"), &json!("signal")), "{end}");
    }
}

#[test]
fn jupyterlab_answers_through_the_link() {
    let app = App::start("docker-jupyter", "wharf-jupyter");
    let get = |path: &str| {
        let prefix = format!("/s/{}/jupyter", app.id);
        format!("GET {prefix}{path} HTTP/1.1\r\nHost: jupyter.localhost\r\nConnection: close\r\n\r\n")
    };
    let holds = |text: &'static str| {
        move |seen: &[u8]| seen.windows(text.len()).any(|window| window == text.as_bytes())
    };
    let status = app.await_talk("jupyter", get("/api/status").as_bytes(), holds("\"started\""));
    assert!(status.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&status));
    let page = app.await_talk("jupyter", get("/lab").as_bytes(), holds("<title>JupyterLab</title>"));
    assert!(page.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&page));
    let endpoints =
        app.launcher.http().post(&format!("/sessions/{}/connect", app.id), &json!({})).expect(200);
    let found = endpoints["endpoints"].as_array().into_iter().flatten();
    let kinds: Vec<_> = found.map(|one| (one["name"].clone(), one["kind"].clone())).collect();
    assert!(kinds.contains(&(json!("jupyter"), json!("http"))), "{endpoints}");
    app.is_entered_by_the_link_alone("/run/wharf/jupyter.sock");
    app.ends_cleanly();
}

#[test]
fn a_desktop_is_drawn_through_the_link() {
    let app = App::start("docker-desktop", "wharf-desktop");
    // As a viewer speaks: version, "no authentication", "shared"; the server tells the size and name of its screen.
    let viewer = b"RFB 003.008\n\x01\x01";
    let seen = app.await_talk("desktop", viewer, |seen| seen.len() >= 12 + 2 + 4 + 24);
    let (version, rest) = seen.split_at(12);
    assert_eq!(version, b"RFB 003.008\n");
    assert_eq!(rest[..6], [1, 1, 0, 0, 0, 0], "one way in, without a password, and it was taken");
    let size = |at: usize| u16::from_be_bytes([rest[6 + at], rest[7 + at]]);
    assert_eq!((size(0), size(2)), (1280, 800));
    let running = until("the window manager runs", SOON, || {
        let running = app.sh("cat /proc/[0-9]*/comm");
        Probe::when(running.contains("openbox\n"), running.clone(), || running)
    });
    assert!(running.contains("Xvnc\n"), "{running}");
    app.is_entered_by_the_link_alone("/run/wharf/desktop.sock");
    app.ends_cleanly();
}
