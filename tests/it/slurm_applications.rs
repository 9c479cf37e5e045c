//! Applications as jobs of a real Slurm: a notebook and a desktop, entered through the launcher.

use std::time::Duration;

use serde_json::json;
use wharf_tests::websocket::{Received, WebSocket};
use wharf_tests::{Http, Launcher, Probe, Slurm, Template, until};

const RUNS: Duration = Duration::from_secs(60);

/// A shipped template on the test's cluster: `more` are lines of its own.
fn shipped(slurm: &Slurm, name: &str, more: &str) -> Template {
    Template::new("app").toml(&format!(
        "api = 1\nextends = \"{name}\"\n{more}\n[timeouts]\npoll = \"1s\"\n[hooks]\nenv = {{ SLURM_CONF = \"{}\" }}\n",
        slurm.conf()
    ))
}

fn run(launcher: &Launcher) -> String {
    let id = launcher.start_session(&json!({"template": "app"}));
    launcher.await_session(&id, "running", RUNS, |session| session["link"] == "connected");
    id
}

#[test]
fn notebooks_of_one_node_each_answer_at_their_own_origin() {
    let slurm = Slurm::shared();
    // Debian has the server without the page.
    let command = "[command]\ndefault = [\"sh\", \"-c\", '''exec jupyter-server --no-browser --allow-root \
                   --ServerApp.sock=\"$WHARF_SOCKET_JUPYTER\" --ServerApp.sock_mode=0600 \
                   --ServerApp.base_url=\"$WHARF_PREFIX_JUPYTER\" --ServerApp.allow_remote_access=True --ServerApp.token= --ServerApp.password=''']";
    let launcher = Launcher::with(&shipped(&slurm, "slurm-jupyter", command));
    let ids = [run(&launcher), run(&launcher)];
    let token = launcher.token("full", None);
    let at = launcher.tcp_host();
    let (_, port) = at.rsplit_once(':').expect("HOST:PORT");
    let mut sockets = Vec::new();
    for id in &ids {
        let connection = launcher.http().post(&format!("/sessions/{id}/connect"), &json!({})).expect(200);
        assert_eq!(
            (&connection["endpoints"][0]["name"], &connection["endpoints"][0]["kind"]),
            (&json!("jupyter"), &json!("http")),
            "{connection}"
        );
        let origin: Http =
            launcher.tcp(Some(&token)).with("host", &format!("jupyter--{id}.localhost:{port}"));
        let status = until("it answers", RUNS, || {
            let answer = origin.try_raw("GET", "/api/status", Vec::new()).expect("an answer");
            Probe::when(answer.status == 200, answer.text(), || answer.to_string())
        });
        assert!(status.contains("\"started\""), "{status}");
        let place = launcher
            .exec(id, &["sh", "-c", "stat -c '%a %n' ${WHARF_SOCKET_JUPYTER%/*} $WHARF_SOCKET_JUPYTER"]);
        let place = place["stdout"].as_str().unwrap_or_default().to_owned();
        let modes: Vec<&str> = place.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(modes, ["700", "600"], "{place}");
        sockets.push(place);
    }
    assert_ne!(sockets[0], sockets[1]);
    for id in &ids {
        assert_eq!(launcher.terminate(id, "30s")["end"]["cause"], "terminated");
    }
}

/// Reads so many bytes of a tunnel.
fn read(tunnel: &mut WebSocket, have: &mut Vec<u8>, count: usize) -> Vec<u8> {
    while have.len() < count {
        match tunnel.next(Duration::from_secs(20)) {
            Some(Received::Data(_, data)) => have.extend(data),
            other => panic!("wanted {count} bytes, have {have:?}, then {other:?}"),
        }
    }
    have.drain(..count).collect()
}

#[test]
fn a_desktop_speaks_rfb_through_the_tunnel_and_its_cookie_is_in_no_argument() {
    let slurm = Slurm::shared();
    let launcher = Launcher::with(&shipped(
        &slurm,
        "slurm-desktop",
        "[job]\nenv = { DESKTOP_COMMAND = \"exec xterm\" }",
    ));
    let id = run(&launcher);
    let mut have = Vec::new();
    let mut tunnel = until("the display is served", RUNS, || {
        let path = format!("/sessions/{id}/tunnel/desktop");
        match WebSocket::open(&launcher.http(), &path) {
            Ok(tunnel) => Probe::Ready(tunnel),
            Err(refused) => Probe::NotYet(format!("{refused:?}")),
        }
    });
    assert_eq!(read(&mut tunnel, &mut have, 12), b"RFB 003.008\n");
    tunnel.data(0, b"RFB 003.008\n");
    let kinds = read(&mut tunnel, &mut have, 1)[0];
    assert!(read(&mut tunnel, &mut have, kinds.into()).contains(&1), "it needs no password");
    tunnel.data(0, &[1]);
    assert_eq!(read(&mut tunnel, &mut have, 4), [0; 4]);
    tunnel.data(0, &[1]);
    let screen = read(&mut tunnel, &mut have, 4);
    assert_eq!((&screen[..2], &screen[2..]), (&1280u16.to_be_bytes()[..], &800u16.to_be_bytes()[..]));
    let script = "xauth -f ${WHARF_SOCKET_DESKTOP%/*}/xauthority list";
    let cookie = until("xterm is on the display", RUNS, || {
        let listed = launcher.exec(&id, &["sh", "-c", script]);
        let text = listed["stdout"].as_str().unwrap_or_default();
        let cookie = text.split_whitespace().last().unwrap_or_default().to_owned();
        let shown = launcher.inside(&id).iter().any(|one| one.command_line().starts_with("xterm"));
        Probe::when(shown && cookie.len() == 32, cookie.clone(), || format!("{listed}"))
    });
    for process in wharf_tests::processes::all() {
        assert!(!process.command_line().contains(&cookie), "{process:?}");
    }
    assert_eq!(launcher.terminate(&id, "30s")["end"]["cause"], "terminated");
    assert_eq!(launcher.inside(&id).len(), 0);
}
