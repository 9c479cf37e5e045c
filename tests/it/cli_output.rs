//! The command line's output formats, exit codes and words.

use std::time::Duration;

use serde_json::json;
use wharf_tests::launcher::Home;
use wharf_tests::{Launcher, Template, Terminal};

#[test]
fn start_prints_the_id_and_nothing_else() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let output = launcher.cli(&["start", "queue", "--name", "x", "--tag", "a=b", "--env", "K=V"]);
    let id = output.ok();
    assert_eq!(id.len(), 20, "{output}");
    assert_eq!(output.stdout, format!("{id}\n"));
    let object = launcher.cli(&["start", "queue", "--output", "json"]).json();
    assert_eq!(object["state"], "pending");
    let shown = launcher.cli(&["show", id, "--output", "json"]).json();
    assert_eq!((&shown["id"], &shown["tags"]["a"]), (&json!(id), &json!("b")));
}

#[test]
fn every_format_of_a_list() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let first = launcher.start_session(&json!({"template": "queue", "name": "first"}));
    let second = launcher.start_session(&json!({"template": "queue", "name": "second"}));
    let table = launcher.cli(&["list"]);
    assert!(table.ok().contains("first") && table.stdout.contains("pending"), "{table}");
    assert!(!table.stdout.contains('\u{1b}'), "no colour off a terminal: {table}");
    assert_eq!(launcher.cli(&["list", "--output", "id"]).ok(), format!("{second}\n{first}"));
    let lines = launcher.cli(&["list", "--output", "jsonl"]);
    let lines: Vec<serde_json::Value> =
        lines.ok().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(launcher.cli(&["list", "--output", "json"]).json()[1]["name"], "first");
    launcher.cli(&["list", "--output", "yaml"]).exits(2);
}

#[test]
fn prefixes_names_and_ambiguity() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let id = launcher.start_session(&json!({"template": "queue", "name": "only"}));
    launcher.cli(&["show", &id[..6]]).exits(0);
    launcher.cli(&["show", "only"]).exits(0);
    launcher.cli(&["show", &id[..3]]).exits(3);
    launcher.cli(&["show", "absent"]).exits(3);
    // A live session's name wins over an ended one's.
    launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({})).expect(200);
    let live = launcher.start_session(&json!({"template": "queue", "name": "only"}));
    assert_eq!(launcher.cli(&["show", "only", "--output", "json"]).json()["id"], live.as_str());
}

#[test]
fn an_error_with_output_json_is_the_problem_document() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let output = launcher.cli(&["show", "aaaaaaaaaaaaaaaaaaaa", "--output", "json"]);
    output.exits(3);
    assert_eq!(output.stdout, "");
    let problem = output.problem();
    assert_eq!((&problem["code"], &problem["status"]), (&json!("unknown_session"), &json!(404)));
    let output = launcher.cli(&["start", "absent", "--output", "json"]);
    output.exits(2);
    assert_eq!(output.problem()["code"], "unknown_template");
}

#[test]
fn without_a_launcher_it_says_how_to_start_one() {
    let home = Home::new();
    for args in [&["list"][..], &["start", "shell"], &["show", "x"], &["events"]] {
        let output = home.cli(args);
        output.exits(7);
        assert!(output.stderr.contains("wharf serve"), "{output}");
        assert_eq!(output.stdout, "");
    }
}

#[test]
fn usage_errors_exit_2_and_help_0() {
    let home = Home::new();
    home.cli(&["--help"]).exits(0);
    home.cli(&["start", "--help"]).exits(0);
    home.cli(&["--version"]).exits(0);
    home.cli(&["nonsense"]).exits(2);
    home.cli(&["start"]).exits(2);
    home.cli(&["list", "--nonsense"]).exits(2);
    let output = home.cli(&["serve", "--system"]);
    output.exits(2);
    assert!(output.stderr.contains("system"), "{output}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(home.cli(&["completions", shell]).ok().contains("wharf"));
    }
    assert!(home.cli(&["man"]).ok().contains("wharf"));
}

#[test]
fn terminate_waits_for_the_end_by_default() {
    let launcher = Launcher::start();
    let id = launcher.run_session("shell", &["sleep", "1000"]);
    launcher.cli(&["terminate", &id]).exits(0);
    assert_eq!(launcher.session(&id)["state"], "ended");
    let id = launcher.run_session("shell", &["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]);
    let output = launcher.cli(&["terminate", &id, "--grace", "2s", "--no-wait"]);
    output.exits(0);
    assert!(output.took < Duration::from_secs(2), "{output}");
    launcher.await_ended(&id, Duration::from_secs(15));
}

#[test]
fn start_with_wait_and_a_failing_submit_says_why() {
    let launcher =
        Launcher::with(&Template::working("bad").hook("submit", "echo 'no such account' >&2; exit 65"));
    let output = launcher.cli(&["start", "bad", "--wait=20s"]);
    output.exits(6);
    assert!(output.stderr.contains("no such account"), "{output}");
}

#[test]
fn the_other_commands_answer() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let id = launcher.start_session(&json!({"template": "queue"}));
    assert!(launcher.cli(&["template", "list"]).ok().contains("queue"));
    assert_eq!(launcher.cli(&["template", "show", "queue", "--output", "json"]).json()["state"], "ok");
    launcher.cli(&["template", "show", "absent"]).exits(3);
    assert!(launcher.cli(&["backend", "list"]).ok().contains("shell"));
    assert!(launcher.cli(&["history", &id, "--output", "json"]).json().is_array());
    launcher.cli(&["doctor"]).exits(0);
    launcher.cli(&["trace", "nonsense"]).exits(3);
}

#[test]
fn purge_of_several_prints_one_list_and_names_what_failed() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let start = || launcher.start_session(&json!({"template": "queue"}));
    let (first, second) = (start(), start());
    let output = launcher.cli(&["purge", "--output", "json", &first, &second]);
    assert_eq!(output.json(), json!([{"id": first}, {"id": second}]));
    let third = start();
    assert_eq!(launcher.cli(&["purge", "--output", "json", &third]).json(), json!({"id": third}));
    let running = launcher.run_session("shell", &["sleep", "1000"]);
    let output = launcher.cli(&["purge", &start(), &running]);
    assert!(output.exits(4).stderr.contains(&running), "{output}");
}

#[test]
fn attach_on_a_terminal_enters_and_leaves_with_the_sessions_exit() {
    let launcher = Launcher::start();
    let body = json!({"template": "shell", "command": ["bash", "--norc"], "tty": true});
    let id = launcher.start_session(&body);
    launcher.await_connected(&id);
    let mut terminal = Terminal::open(launcher.home(), &["attach", &id]);
    terminal.type_in("echo typed-$((20+3))\nexit 0\n");
    let (_, seen) = terminal.ends(Duration::from_secs(20));
    assert!(seen.contains("typed-23"), "{seen:?}");
    launcher.await_ended(&id, Duration::from_secs(10));
}

/// Whoever gives up waiting hears that the session does not, and how to end it.
#[test]
fn a_wait_on_a_terminal_that_is_interrupted_says_that_the_session_goes_on() {
    let launcher = Launcher::with(&Template::queueing("queue"));
    let mut terminal = Terminal::open(launcher.home(), &["start", "queue", "--name", "patient", "--wait"]);
    terminal.await_text("patient", Duration::from_secs(10));
    terminal.type_in("\u{3}");
    let (status, seen) = terminal.ends(Duration::from_secs(10));
    assert_eq!(status, 130, "{seen:?}");
    let session = launcher.cli(&["show", "patient", "--output", "json"]).json();
    assert_eq!(session["state"], "pending", "{session}");
    let id = session["id"].as_str().unwrap_or_default();
    assert!(
        seen.contains("the session goes on") && seen.contains(&format!("wharf terminate {id}")),
        "{seen:?}"
    );
}
