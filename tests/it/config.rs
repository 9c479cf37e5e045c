//! Configuration, listeners, and what a launcher refuses to start with.

use std::time::Duration;

use serde_json::json;
use wharf_tests::launcher::Home;
use wharf_tests::{Launcher, Output, Template, cli};

/// Runs `wharf serve` where it cannot work; it must end by itself, soon.
#[track_caller]
fn refused(home: &Home, args: &[&str], status: i32) -> Output {
    let args: Vec<&str> = ["serve"].iter().chain(args).copied().collect();
    let output = cli::run(home.command(&args), b"", Duration::from_secs(20));
    output.exits(status);
    assert_eq!(output.stdout, "", "{output}");
    output
}

#[test]
fn the_default_configuration_is_one_commented_file_that_is_valid() {
    let home = Home::new();
    let text = home.cli(&["config", "show", "--default"]).ok().to_owned();
    for section in ["[listen]", "[history]", "[logs]", "[limits]", "[log]"] {
        assert!(text.contains(section), "no {section} in\n{text}");
    }
    std::fs::write(home.config(), &text).expect("our own directory");
    home.cli(&["config", "check"]).exits(0);
    Launcher::at(&home).start();
}

#[test]
fn unknown_keys_are_refused_with_did_you_mean() {
    let home = Home::new();
    std::fs::write(home.config(), "[history]\nkeeep = \"1d\"\n").expect("our own directory");
    let output = refused(&home, &[], 2);
    assert!(output.stderr.contains("keeep") && output.stderr.contains("keep"), "{output}");
    assert!(output.stderr.contains("wharf.toml"), "the file is named: {output}");
    home.cli(&["config", "check"]).exits(2);
}

#[test]
fn an_address_that_would_show_tokens_to_the_network_is_refused() {
    let home = Home::new();
    let text = "[backends.slurm.main]\nrest = \"http://login1:6820\"\n";
    std::fs::write(home.config(), text).expect("our own directory");
    let output = refused(&home, &[], 2);
    assert!(output.stderr.contains("show tokens to the network"), "{output}");
    assert!(output.stderr.contains("wharf.toml"), "the file is named: {output}");
    std::fs::write(home.config(), text.replace("login1", "localhost")).expect("our own directory");
    let shown = home.cli(&["config", "show"]);
    shown.exits(0);
    assert!(shown.stdout.contains("http://localhost:6820"), "{shown}");
}

#[test]
fn broken_toml_is_told_with_file_and_line() {
    let home = Home::new();
    std::fs::write(home.config(), "[history]\nkeep = \n").expect("our own directory");
    let output = refused(&home, &[], 2);
    assert!(output.stderr.contains("wharf.toml") && output.stderr.contains('2'), "{output}");
    let output = refused(&home, &["--config", "/nowhere/wharf.toml"], 2);
    assert!(output.stderr.contains("/nowhere/wharf.toml"), "{output}");
}

#[test]
fn a_port_that_was_named_and_is_taken_exits_7() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let output = refused(&home, &["--listen", &format!("http://127.0.0.1:{port}")], 7);
    assert!(output.stderr.contains(&port.to_string()), "{output}");
}

#[test]
fn plain_http_beyond_loopback_needs_to_be_asked_for() {
    let home = Home::new();
    let output = refused(&home, &["--listen", "http://0.0.0.0:0"], 2);
    assert!(output.stderr.contains("--insecure-http"), "{output}");
    let launcher = Launcher::at(&home).arg("--listen").arg("http://0.0.0.0:0").arg("--insecure-http").start();
    assert!(launcher.ready.to_string().contains("http://0.0.0.0:"), "{}", launcher.ready);
    let output = refused(&home, &["--listen", "gopher://x"], 2);
    assert!(output.stderr.contains("gopher://x"), "{output}");
}

#[test]
fn check_refuses_what_serve_refuses() {
    let home = Home::new();
    let monitor = format!("[monitor.path]\n{} = \"/etc/passwd\"\n", std::env::consts::ARCH);
    for (text, status, word) in [
        ("[listen]\naddresses = [\"http://0.0.0.0:0\"]\n", 2, "--insecure-http"),
        ("[listen]\naddresses = [\"https://127.0.0.1:0\"]\n", 2, "[tls]"),
        ("[log]\nlevel = \"loud\"\n", 2, "loud"),
        ("[history]\nkeep = \"9999y\"\n", 2, "3650d"),
        (&monitor, 1, "/etc/passwd"),
    ] {
        std::fs::write(home.config(), text).expect("our own directory");
        let checked = home.cli(&["config", "check"]);
        checked.exits(status);
        assert!(checked.stdout.is_empty() && checked.stderr.contains(word), "{text}: {checked}");
        let served = refused(&home, &[], status);
        assert!(served.stderr.contains(word), "{text}: {served}");
    }
    let open = "[listen]\ninsecure_http = true\naddresses = [\"http://0.0.0.0:0\"]\n";
    std::fs::write(home.config(), open).expect("our own directory");
    home.cli(&["config", "check"]).exits(0);
}

#[test]
fn a_picked_port_is_remembered_and_replaced_when_taken() {
    let mut launcher = Launcher::start();
    let first = launcher.tcp_host();
    assert_eq!(launcher.stop().0, 0);
    launcher.restart();
    assert_eq!(launcher.tcp_host(), first, "remembered in DATA");
    launcher.stop();
    let _taken = std::net::TcpListener::bind(&first).expect("the port is free");
    launcher.restart();
    assert_ne!(launcher.tcp_host(), first);
    assert!(launcher.log().to_lowercase().contains("warn"), "with a warning");
}

#[test]
fn only_the_named_listeners_are_served() {
    let home = Home::new();
    let socket = home.path().join("my.sock");
    let launcher = Launcher::at(&home).arg("--listen").arg(&format!("unix:{}", socket.display())).start();
    assert_eq!(launcher.ready["listen"], json!([format!("unix:{}", socket.display())]));
    launcher.http().get("/sessions").expect(200);
}

#[test]
fn a_socket_path_that_is_too_long_works_all_the_same() {
    let home = Home::new();
    let long = home.path().join("d".repeat(100)).join("e".repeat(50));
    std::fs::create_dir_all(&long).expect("our own directory");
    let mut launcher = Launcher::at(&home).data(&long).start();
    let socket = long.join("run/wharf.sock");
    assert!(launcher.ready.to_string().contains(&*socket.to_string_lossy()), "{}", launcher.ready);
    let server = format!("unix:{}", socket.display());
    let started = home.cli(&["start", "shell", "--server", &server, "--wait=20s", "--", "sleep", "1000"]);
    let id = started.ok().trim().to_owned();
    launcher.kill9();
    launcher.restart();
    wharf_tests::until("linked again over the long path", Duration::from_secs(20), || {
        let shown = home.cli(&["show", &id, "--server", &server, "--output", "json"]).json();
        wharf_tests::Probe::when(shown["link"] == "connected", (), || shown.to_string())
    });
    home.cli(&["terminate", &id, "--server", &server]).exits(0);
}

#[test]
fn a_second_launcher_on_the_same_data_exits_7_and_names_the_first() {
    let launcher = Launcher::start();
    let output = refused(launcher.home(), &[], 7);
    assert!(output.stderr.contains(&launcher.pid().to_string()), "{output}");
    launcher.http().get("/sessions").expect(200);
}

#[test]
fn another_hosts_live_launcher_is_respected_and_a_dead_ones_data_taken_over() {
    let mut launcher = Launcher::start();
    let owner = launcher.data().join("owner.json");
    let own: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&owner).expect("owner.json")).expect("JSON");
    for member in ["host", "pid"] {
        assert!(!own[member].is_null(), "{own}");
    }
    launcher.kill9();
    // The same file, as a launcher of another host would keep it fresh.
    let mut foreign = own.clone();
    foreign["host"] = json!("elsewhere");
    for (name, value) in own.as_object().expect("an object") {
        if name.contains("boot") && value.is_string() {
            foreign[name] = json!("00000000-0000-0000-0000-000000000000");
        }
    }
    std::fs::write(&owner, foreign.to_string()).expect("our own directory");
    let output = refused(launcher.home(), &[], 7);
    assert!(output.stderr.contains("elsewhere"), "{output}");
    // One of this host whose process is gone is taken over.
    std::fs::write(&owner, own.to_string()).expect("our own directory");
    launcher.restart();
    launcher.http().get("/sessions").expect(200);
}

#[test]
fn limits_of_the_configuration_hold() {
    let launcher =
        Launcher::builder().config("[limits]\nsessions = 2\n").template(&Template::queueing("queue")).start();
    launcher.start_session(&json!({"template": "queue"}));
    launcher.start_session(&json!({"template": "queue"}));
    let answer = launcher.http().post("/sessions", &json!({"template": "queue"}));
    answer.problem(429, "rate_limited");
    launcher.cli(&["start", "queue"]).exits(7);
}

#[test]
fn history_is_kept_as_long_as_configured() {
    let launcher = Launcher::builder().config("[history]\nkeep = \"2s\"\n").start();
    let id = launcher.start_session(&json!({"template": "shell", "command": ["true"], "tty": false}));
    launcher.await_ended(&id, Duration::from_secs(20));
    wharf_tests::until("it is forgotten", Duration::from_secs(90), || {
        let answer = launcher.http().get(&format!("/sessions/{id}"));
        wharf_tests::Probe::when(answer.status == 404, (), || answer.to_string())
    });
}

#[test]
fn doctor_looks_at_the_monitor_that_the_configuration_names() {
    let home = Home::new();
    let monitor = |path: &str| {
        let text = format!("[monitor.path]\n{} = {path:?}\n", std::env::consts::ARCH);
        std::fs::write(home.config(), text).expect("our own directory takes files");
        home.cli(&["doctor"])
    };
    for path in ["/nonexistent/wharf-monitor", "/etc/passwd", "/bin/true"] {
        let output = monitor(path);
        assert!(output.exits(6).stdout.contains(&format!("the monitor {path} cannot be used")), "{output:?}");
    }
}
