//! Terminals that last: beyond viewers, broken streams and the launcher itself, with nothing lost and nothing doubled.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use wharf_tests::websocket::{Received, WebSocket};
use wharf_tests::{Launcher, Probe, processes, until};

const SOON: Duration = Duration::from_secs(10);

fn scene() -> (Launcher, String) {
    let launcher = Launcher::start();
    let body = json!({"template": "shell", "command": ["bash", "--norc"], "tty": true, "env": {"PS1": "$ "}});
    let id = launcher.start_session(&body);
    launcher.await_connected(&id);
    (launcher, id)
}

fn attach(launcher: &Launcher, id: &str, query: &str) -> WebSocket {
    WebSocket::open(&launcher.http(), &format!("/sessions/{id}/attach{query}")).expect("an upgrade")
}

/// What came until that text, and where in the output it begins.
fn counted(socket: &mut WebSocket, wanted: &str) -> (Option<u64>, Vec<u8>, Vec<u8>) {
    let (mut offset, mut before, mut after) = (None, Vec::new(), Vec::new());
    let began = Instant::now();
    while !String::from_utf8_lossy(&after).contains(wanted) {
        match socket.next(SOON.saturating_sub(began.elapsed())) {
            Some(Received::Control(control)) => offset = control["offset"].as_u64(),
            Some(Received::Data(_, data)) if offset.is_none() => before.extend(data),
            Some(Received::Data(_, data)) => after.extend(data),
            other => panic!("{other:?} after {}", String::from_utf8_lossy(&after)),
        }
    }
    (offset, before, after)
}

#[test]
fn a_stream_that_broke_off_goes_on_at_its_byte() {
    let (launcher, id) = scene();
    // One who never leaves knows what there was.
    let mut witness = attach(&launcher, &id, "?offset=now");
    let mut viewer = attach(&launcher, &id, "?offset=now");
    witness.input(b"echo be'gin'\n");
    let (begun, screen, mut seen) = counted(&mut viewer, "begin\r\n");
    assert!(begun.is_some() && !screen.is_empty(), "the screen first, then what is counted");
    viewer.vanish();
    witness.input(b"for i in $(seq 300); do echo line $i; done; echo mis'sed'\n");
    let (from, _, all) = counted(&mut witness, "missed\r\n");
    let at = begun.expect("an offset") + seen.len() as u64;
    let mut back = attach(&launcher, &id, &format!("?offset={at}"));
    witness.input(b"echo la'st'\n");
    let (now, screen, rest) = counted(&mut back, "last\r\n");
    assert_eq!((now, screen.len()), (Some(at), 0), "no screen: it goes on");
    seen.extend(rest);
    let (_, _, more) = {
        let mut more = Vec::new();
        while !String::from_utf8_lossy(&more).contains("last\r\n") {
            match witness.next(SOON) {
                Some(Received::Data(_, data)) => more.extend(data),
                other => panic!("{other:?}"),
            }
        }
        ((), (), more)
    };
    let whole = [all, more].concat();
    let skipped = usize::try_from(begun.expect("an offset") - from.expect("an offset")).expect("a length");
    let length = seen.len().min(whole.len() - skipped);
    assert_eq!(
        String::from_utf8_lossy(&seen[..length]),
        String::from_utf8_lossy(&whole[skipped..skipped + length]),
        "nothing lost, nothing doubled"
    );
    // What is no longer held, or was never written, is a screen again.
    for offset in ["99999999", "now"] {
        let mut late = attach(&launcher, &id, &format!("?offset={offset}"));
        late.read_until("last", SOON);
    }
    let refused = WebSocket::open(&launcher.http(), &format!("/sessions/{id}/attach?offset=x"));
    assert_eq!(refused.expect_err("a refusal").0, 422);
    // Lines above the screen come for who asks, before it.
    let mut above = attach(&launcher, &id, "?scrollback=200");
    let seen = above.read_until("last", SOON);
    assert!(seen.contains("line 150\u{1b}[m\r\n") && !seen.contains("line 50\u{1b}"), "{seen}");
}

#[test]
fn below_a_full_screen_program_is_what_was_there() {
    let (launcher, id) = scene();
    let mut controller = attach(&launcher, &id, "");
    controller
        .input(b"echo be'low'; printf '\\033[?1049h\\033[H\\033[2Jfull'; read x; printf '\\033[?1049l'\n");
    controller.read_until("full", SOON);
    controller.control(&json!({"resize": {"rows": 30, "cols": 100}}));
    let mut late = attach(&launcher, &id, "");
    let seen = late.read_until("full", SOON);
    let (first, second) = seen.split_once("\u{1b}[?1049h").expect("the other screen");
    assert!(first.contains("below") && !second.contains("below"), "{seen:?}");
    controller.input(b"\n");
    late.read_until("\u{1b}[?1049l", SOON);
}

/// `wharf attach` on a terminal of its own.
struct OnTerminal {
    child: Child,
    keys: ChildStdin,
    output: mpsc::Receiver<Vec<u8>>,
    seen: String,
}

impl OnTerminal {
    fn start(launcher: &Launcher, args: &str) -> Self {
        let own = launcher.home().command(&[]);
        let line = format!("stty rows 24 cols 80; exec {} {args}", own.get_program().to_string_lossy());
        let mut command = Command::new("script");
        command.args(["-qfec", &line, "/dev/null"]).env_clear();
        command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("script is there");
        let (keys, mut shown) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let (to, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = shown.read(&mut bytes) {
                _ = to.send(bytes[..length].to_vec());
            }
        });
        Self { child, keys, output, seen: String::new() }
    }

    fn types(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).and_then(|()| self.keys.flush()).expect("it listens");
    }

    #[track_caller]
    fn shows(&mut self, wanted: &str, within: Duration) {
        let began = Instant::now();
        while !self.seen.contains(wanted) {
            match self.output.recv_timeout(within.saturating_sub(began.elapsed())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("waiting for {wanted:?}: {error}; seen {:?}", self.seen),
            }
        }
    }

    #[track_caller]
    fn ends(mut self, within: Duration) -> i32 {
        until("it ends", within, || {
            Probe::when(self.child.try_wait().expect("our child").is_some(), (), String::new)
        });
        self.child.wait().expect("our child").code().unwrap_or(-1)
    }
}

#[test]
fn attach_outlives_the_launcher() {
    let (mut launcher, id) = scene();
    let mut terminal = OnTerminal::start(&launcher, &format!("attach {id}"));
    terminal.types(b"X=kept; echo on-$((1+1))\n");
    terminal.shows("on-2", SOON);
    launcher.kill9();
    terminal.shows("out of reach", SOON);
    launcher.restart();
    launcher.await_connected(&id);
    terminal.types(b"echo back-$X-$((40+2))\n");
    terminal.shows("back-kept-42", Duration::from_secs(20));
    assert_eq!(terminal.seen.matches("on-2").count(), 1, "not drawn again: {:?}", terminal.seen);
    // The key leaves, also while nobody answers.
    launcher.kill9();
    terminal.shows("out of reach", SOON);
    terminal.types(&[0x1d]);
    assert_eq!(terminal.ends(SOON), 0);
    launcher.restart();
    launcher.await_connected(&id);
    // One that ended meanwhile gives its code.
    let mut terminal = OnTerminal::start(&launcher, &format!("attach {id} --detach-keys none"));
    terminal.shows("back-kept-42", SOON);
    let pid = launcher.pid();
    processes::send(pid, Signal::STOP);
    terminal.types(b"exit 7\n");
    processes::send(pid, Signal::CONT);
    assert_eq!(terminal.ends(Duration::from_secs(20)), 7);
}

#[test]
fn attach_without_a_terminal_ends_with_its_input() {
    let (launcher, id) = scene();
    let typed = launcher.cli_with(&["attach", &id], b"echo typed-$((1+1))\n");
    assert!(typed.exits(0).stdout.contains("typed-2"), "{typed}");
    let looked = launcher.cli_with(&["attach", &id, "--role", "view"], b"");
    assert!(looked.exits(0).stdout.contains("typed-2"), "{looked}");
    assert!(looked.took < Duration::from_secs(5), "{looked}");
    assert_eq!(launcher.session(&id)["state"], "running");
    // What cannot work is not started.
    let before = launcher.listed().len();
    launcher.cli(&["start", "shell", "--attach", "--no-tty"]).exits(2);
    assert_eq!(launcher.listed().len(), before);
}
