//! A job's time limit as those who are in its session learn of it.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use wharf_tests::events::Events;
use wharf_tests::websocket::{Received, WebSocket};
use wharf_tests::{Launcher, Probe, Template, until, wait};

const SOON: Duration = Duration::from_secs(30);

/// A scheduler that ends jobs when the journal's `ends` says so.
fn limited() -> Template {
    let status = r#"out=
end=$(date -u -d "@$(cat "$J/ends")" +%FT%TZ)
for j in $(ask '"job_id":"[^"]*"'); do
  out="$out${out:+,}\"$j\":{\"state\":\"running\",\"ends_at\":\"$end\"}"
done
printf '{"result":{%s}}\n' "$out""#;
    let extend = r#"date -d '+2 hours' +%s > "$J/ends"
printf '{"result":{"ends_at":"%s"}}\n' "$(date -u -d "@$(cat "$J/ends")" +%FT%TZ)""#;
    Template::working("limited")
        .hook("status", status)
        .hook("extend", extend)
        .toml("[timeouts]\npoll = \"200ms\"\nsettle = \"2s\"\n")
}

fn ends_in(launcher: &Launcher, left: Duration) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
    let file = launcher.home().journal().join("ends");
    fs::write(file, (now + left).as_secs().to_string()).expect("our own directory takes files");
}

/// The warnings that were given so far.
fn warnings(launcher: &Launcher, id: &str) -> Vec<String> {
    let history = launcher.http().get(&format!("/sessions/{id}/history")).expect(200);
    let items = history["items"].as_array().or(history.as_array()).cloned().unwrap_or_default();
    let of_limit = items.into_iter().filter(|entry| entry["event"] == "time_limit");
    of_limit.map(|entry| entry["detail"].as_str().unwrap_or_default().to_owned()).collect()
}

fn await_warnings(launcher: &Launcher, id: &str, count: usize) -> Vec<String> {
    until(&format!("{count} warnings"), SOON, || {
        let seen = warnings(launcher, id);
        Probe::when(seen.len() == count, seen.clone(), || format!("{seen:?}"))
    })
}

fn await_line(screen: &std::path::Path, line: &str) {
    until("the line on the terminal", SOON, || {
        let seen = fs::read_to_string(screen).unwrap_or_default();
        Probe::when(seen.contains(line), (), || seen)
    });
}

/// What a stream is told, its program's output aside.
fn notice(stream: &mut WebSocket) -> Value {
    loop {
        match stream.next(SOON).expect("a notice comes") {
            Received::Control(message) => return message["notice"].clone(),
            Received::Data(..) => {}
            other => panic!("the stream is over: {other:?}"),
        }
    }
}

#[test]
fn who_is_in_a_session_is_warned_before_its_limit_ends_it() {
    let mut launcher = Launcher::builder().template(&limited()).start();
    ends_in(&launcher, Duration::from_secs(3 * 3600));
    let body = json!({"template": "limited", "command": ["cat"], "tty": true});
    let id = launcher.start_session(&body);
    launcher.await_session(&id, "its end is known", SOON, |session| {
        session["link"] == "connected" && session["job"]["ends_at"].is_string()
    });
    let mut stream =
        WebSocket::open(&launcher.http(), &format!("/sessions/{id}/attach?role=view")).expect("it opens");
    let mut events = Events::open(&launcher.http(), None);
    let screen = launcher.home().path().join("screen");
    let mut terminal = attach(&launcher, &id, &screen);

    // Ten minutes before: in `show` and events, on streams, on the terminal.
    ends_in(&launcher, Duration::from_secs(9 * 60 + 30));
    let told = notice(&mut stream);
    assert_eq!(told["code"], "time_limit", "{told}");
    let message = told["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("its time limit ends this session in 10 minutes, at "), "{told}");
    assert!(message.ends_with(&format!("; for more time: wharf extend {id} --by 1h")), "{told}");
    events.expect("the warning", SOON, |event| {
        event.data["session"]["id"] == id.as_str() && event.data["session"]["reason"]["code"] == "time_limit"
    });
    await_line(&screen, "[wharf: its time limit ends this session in 10 minutes");
    assert!(launcher.cli(&["show", &id]).ok().contains("its time limit ends it at "));
    await_warnings(&launcher, &id, 1);

    // A launcher that starts again has said it already.
    launcher.kill9();
    launcher.restart();
    launcher.await_session(&id, "back", SOON, |session| {
        session["link"] == "connected" && session["reason"]["code"] == "time_limit"
    });
    wait::never("it was said again", Duration::from_secs(3), || {
        let seen = warnings(&launcher, &id);
        (seen.len() != 1).then(|| format!("{seen:?}"))
    });

    // Two minutes before, once, in the same places; and both anew when there is more time.
    let mut stream =
        WebSocket::open(&launcher.http(), &format!("/sessions/{id}/attach?role=view")).expect("it opens");
    let mut events = Events::open(&launcher.http(), None);
    launcher.await_session(&id, "both are in it again", SOON, |session| session["connections"] == 2);
    ends_in(&launcher, Duration::from_secs(110));
    let told = notice(&mut stream);
    let message = told["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("its time limit ends this session in 2 minutes, at "), "{told}");
    let end = launcher.session(&id)["job"]["ends_at"].clone();
    events.expect("the second warning", SOON, |event| {
        let session = &event.data["session"];
        session["id"] == id.as_str()
            && session["reason"]["code"] == "time_limit"
            && session["job"]["ends_at"] == end
    });
    await_line(&screen, "[wharf: its time limit ends this session in 2 minutes");
    assert!(launcher.cli(&["show", &id]).ok().contains("its time limit ends it at "));
    let seen = await_warnings(&launcher, &id, 2);
    assert!(seen[1].contains("in 2 minutes, at "), "{seen:?}");
    let _ = terminal.kill();
    let _ = terminal.wait();
    launcher.cli(&["extend", &id, "--by", "2h"]).ok();
    assert_eq!(launcher.session(&id)["reason"], json!(null));
    ends_in(&launcher, Duration::from_secs(9 * 60 + 30));
    await_warnings(&launcher, &id, 3);
    launcher.terminate(&id, "15s");
}

/// `wharf attach` on a terminal whose screen goes to a file.
fn attach(launcher: &Launcher, id: &str, screen: &std::path::Path) -> std::process::Child {
    let line = format!("{} attach {id}", wharf_tests::program::wharf().display());
    let mut command = Command::new("script");
    command.args(["--quiet", "--flush", "--command", &line]).arg(screen).env_clear();
    for (name, value) in launcher.home().command(&[]).get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("script is installed")
}
