//! `wharf forward`, and what is built on it: ports of this host, ssh, browsers, desktops.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use wharf_tests::websocket::{Received, WebSocket};
use wharf_tests::{Launcher, Probe, Template, application, until};

const SOON: Duration = Duration::from_secs(10);

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// `wharf forward`, and the address that it prints.
fn forward(launcher: &Launcher, args: &[&str]) -> (Running, String) {
    let mut command = launcher.home().command(&[&["forward"], args].concat());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("wharf is there");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("an address");
    (Running(child), line.trim().to_owned())
}

#[test]
fn a_port_of_this_host_carries_many_connections_to_an_endpoint() {
    let echo = wharf_tests::application::echo();
    let toml = format!("[connect.echo]\nkind = \"tcp\"\nport = {echo}\n");
    let mut launcher = Launcher::with(&Template::working("plain").toml(&toml));
    let id = launcher.run_session("plain", &[]);
    let (_forward, address) = forward(&launcher, &[&id, "echo"]);
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let mut connections: Vec<TcpStream> =
        (0..20).map(|_| TcpStream::connect(&address).expect("it listens")).collect();
    for (number, connection) in connections.iter_mut().enumerate() {
        connection.set_read_timeout(Some(SOON)).expect("a socket");
        connection.write_all(format!("hello {number}").as_bytes()).expect("it is taken");
    }
    for (number, mut connection) in connections.into_iter().enumerate() {
        // Its end is passed on, and what the other side still says comes back whole.
        connection.shutdown(Shutdown::Write).expect("a socket");
        let mut back = String::new();
        connection.read_to_string(&mut back).expect("an answer");
        assert_eq!(back, format!("hello {number}[end]"));
    }
    until("none is left", SOON, || {
        let session = launcher.session(&id);
        Probe::when(session["connections"] == 0, (), || session.to_string())
    });
    // It outlives the launcher: who connects later is served.
    launcher.kill9();
    launcher.restart();
    launcher.await_connected(&id);
    let mut late = TcpStream::connect(&address).expect("it listens");
    late.write_all(b"late").expect("it is taken");
    late.shutdown(Shutdown::Write).expect("a socket");
    let mut back = String::new();
    late.read_to_string(&mut back).expect("an answer");
    assert_eq!(back, "late[end]");
    let chosen = forward(&launcher, &[&id, "echo", "127.0.0.1:0", "--output", "json"]).1;
    assert!(chosen.contains("listen") || chosen == "{", "{chosen}");
    launcher.cli(&["forward", &id, "absent"]).exits(3);
    launcher.cli(&["forward", &id, "echo", "nonsense"]).exits(2);
    launcher.cli(&["forward", &id, "absent", "--stdio"]).exits(3);
    let through = launcher.cli_with(&["forward", &id, "echo", "--stdio"], b"by standard input");
    assert_eq!(through.ok(), "by standard input[end]");
}

/// Reads until the connection is over; how.
fn over(mut connection: TcpStream) -> (String, Option<std::io::ErrorKind>) {
    connection.set_read_timeout(Some(SOON)).expect("a socket");
    let (mut seen, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        match connection.read(&mut bytes) {
            Ok(0) => return (String::from_utf8_lossy(&seen).into_owned(), None),
            Ok(length) => seen.extend_from_slice(&bytes[..length]),
            Err(error) => return (String::from_utf8_lossy(&seen).into_owned(), Some(error.kind())),
        }
    }
}

#[test]
fn what_breaks_off_does_not_look_as_if_it_had_ended() {
    let half = application::resets("half of it");
    let page_port = application::resets("HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nhalf of it");
    let toml = format!(
        "[connect.half]\nkind = \"tcp\"\nport = {half}\n[connect.page]\nkind = \"http\"\nport = {page_port}\n"
    );
    let launcher = Launcher::with(&Template::working("plain").toml(&toml));
    let id = launcher.run_session("plain", &[]);
    let mut tunnel =
        WebSocket::open(&launcher.http(), &format!("/sessions/{id}/tunnel/half")).expect("an upgrade");
    tunnel.read_until("half of it", SOON);
    tunnel.input(b"now");
    let end = tunnel.finish(SOON);
    assert_eq!(end.last()["error"]["code"], "endpoint_failed", "{end:?}");
    assert_eq!(end.closed, Some(1008), "{end:?}");
    // At a port of this host it is reset there too.
    let (_forward, address) = forward(&launcher, &[&id, "half"]);
    let mut connection = TcpStream::connect(&address).expect("it listens");
    // Read before the reset, which takes along what nobody has read yet.
    let mut half_of_it = [0; "half of it".len()];
    connection.read_exact(&mut half_of_it).expect("what comes first");
    connection.write_all(b"now").expect("it is taken");
    assert_eq!(over(connection), (String::new(), Some(std::io::ErrorKind::ConnectionReset)));
    let mut command = launcher.home().command(&["forward", &id, "half", "--stdio"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut through = Running(command.spawn().expect("wharf is there"));
    through.0.stdout.take().expect("piped").read_exact(&mut half_of_it).expect("what comes first");
    through.0.stdin.take().expect("piped").write_all(b"now").expect("it is taken");
    assert!(!through.0.wait().expect("ours").success());
    // A page without a length ends with its connection: a browser has to see that this one has not.
    let host = launcher.tcp_host();
    let (_, port) = host.rsplit_once(':').expect("HOST:PORT");
    let page = launcher
        .tcp(Some(&launcher.token("full", None)))
        .with("host", &format!("page--{id}.localhost:{port}"));
    let mut body = page.stream("GET", "/");
    assert_eq!(body.read_some(SOON), b"half of it");
    let mut beside = TcpStream::connect(("127.0.0.1", page_port)).expect("it listens");
    beside.write_all(b"now").expect("it is taken");
    body.ends_broken(SOON);
}

#[test]
fn a_tunnel_of_bytes_alone_for_viewers_of_desktops() {
    let echo = application::echo();
    let toml = format!("[connect.screen]\nkind = \"vnc\"\nport = {echo}\n");
    let launcher = Launcher::with(&Template::working("desk").toml(&toml));
    let id = launcher.run_session("desk", &[]);
    let token = launcher.token("full", None);
    let host = launcher.tcp_host();
    let (_, port) = host.rsplit_once(':').expect("HOST:PORT");
    let cookie = format!("wharf-{port}={token}");
    let page = launcher
        .tcp(None)
        .with("cookie", &cookie)
        .with("origin", &format!("http://{host}"))
        .with("sec-websocket-protocol", "binary");
    let path = format!("/sessions/{id}/tunnel/screen");
    let mut plain = WebSocket::open(&page, &path).expect("an upgrade");
    assert!(plain.data(b'R', b"FB 003.008\n"));
    assert_eq!(plain.next(SOON), Some(Received::Data(b'R', b"FB 003.008\n".to_vec())));
    let seen = launcher.http().get(&format!("/sessions/{id}/connections")).expect(200);
    assert_eq!(seen["items"][0]["endpoint"], "screen", "{seen}");
    let shown = launcher.cli(&["show", &id]);
    assert!(shown.ok().contains("tunnel screen"), "{shown}");
    assert!(plain.text("\"text\""));
    let end = plain.finish(SOON);
    assert_eq!(end.closed, Some(1008), "{end:?}");
    // From another origin it is refused.
    let foreign = launcher.tcp(None).with("cookie", &cookie).with("origin", "null");
    assert_eq!(WebSocket::open(&foreign, &path).expect_err("a refusal").0, 403);
}

#[test]
fn connect_opens_a_browser_without_showing_the_address_to_anybody() {
    let port = application::serve();
    let toml = format!("[connect.web]\nkind = \"http\"\nport = {port}\n");
    let launcher = Launcher::with(&Template::working("app").toml(&toml));
    let id = launcher.run_session("app", &[]);
    let home = launcher.home().path().to_owned();
    let browser = home.join("browser");
    std::fs::write(&browser, "#!/bin/sh\ncp -p \"$1\" \"$0.page.new\" && mv \"$0.page.new\" \"$0.page\"\n")
        .expect("a file");
    let mode: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&browser, mode).expect("a file");
    let mut command = launcher.home().command(&["connect", &id, "--open"]);
    let status = command.env("BROWSER", &browser).status().expect("wharf is there");
    assert!(status.success());
    let page =
        until("the browser has it", SOON, || match std::fs::read_to_string(home.join("browser.page")) {
            Ok(page) => Probe::Ready(page),
            Err(error) => Probe::NotYet(error.to_string()),
        });
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(home.join("browser.page")).expect("a file").permissions(),
    );
    assert_eq!(mode & 0o077, 0, "of this user only");
    let url = page.split("href=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a link");
    let (host, target) =
        url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("an address");
    let entered = launcher.tcp(None).with("host", host).try_raw("GET", &format!("/{target}"), Vec::new());
    assert_eq!(entered.expect("an answer").status, 303);
}

/// A program in the launcher's home, with its environment, and `wharf` on its path.
fn program(launcher: &Launcher, program: &str, args: &[&str]) -> Command {
    let own = launcher.home().command(&[]);
    let mut command = Command::new(program);
    command.args(args).env_clear().stdin(Stdio::null());
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let wharf = std::path::Path::new(own.get_program()).parent().expect("a directory");
    command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", wharf.display()));
    command
}

/// How ssh ends.
fn ssh(launcher: &Launcher, args: &[&str]) -> Option<i32> {
    program(launcher, "ssh", args).output().expect("it is there").status.code()
}

/// Runs a program to its end; what it printed.
fn run(launcher: &Launcher, name: &str, args: &[&str]) -> String {
    let output = program(launcher, name, args).output().expect("it is there");
    assert!(output.status.success(), "{name} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A block of code in the guide for users that holds these words.
fn documented(words: &str) -> &'static str {
    let guide = include_str!("../../docs/using.md");
    let mut blocks = guide.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    blocks.find(|(_, block)| block.contains(words)).expect("it is in the guide").1
}

/// The endpoint of the documented template; its command is given at the start.
fn connect() -> String {
    let (_, endpoint) = documented("[connect.ssh]").split_once("[connect.ssh]").expect("it is there");
    format!("[connect.ssh]{endpoint}")
}

/// As the guide says, word for word, but for what is this host's user's own: keys and known hosts.
#[test]
fn ssh_scp_and_rsync_work_through_it_as_the_guide_says() {
    let launcher = Launcher::with(&Template::working("login").toml(&connect()));
    let home = launcher.home().path().to_owned();
    let dir = home.join(".ssh");
    std::fs::create_dir(&dir).expect("a directory");
    let at = |name: &str| dir.join(name).to_string_lossy().into_owned();
    for key in ["session_key", "user"] {
        run(&launcher, "ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &at(key)]);
    }
    // Where the server wants a directory of its own before it gives up its rights.
    _ = std::fs::create_dir_all("/run/sshd");
    let server = documented("[connect.ssh]").split('"').find(|part| part.starts_with("exec ")).expect("it");
    let more = format!("-o StrictModes=no -o PermitRootLogin=yes -o AuthorizedKeysFile={}", at("user.pub"));
    let body =
        json!({"template": "login", "name": "fluid", "command": ["sh", "-c", format!("{server} {more}")]});
    let id = launcher.start_session(&body);
    launcher.await_connected(&id);
    until("the server listens", SOON, || {
        let logs = launcher.cli(&["logs", &id]);
        Probe::when(logs.stdout.contains("listening"), (), || logs.to_string())
    });
    let config = format!(
        "{}  IdentityFile {}\n  UserKnownHostsFile {}\n  BatchMode yes\n",
        documented("ProxyCommand"),
        at("user"),
        at("known")
    );
    std::fs::write(at("config"), config).expect("a file");
    let config = at("config");
    let said =
        run(&launcher, "ssh", &["-F", &config, "fluid.wharf", "echo in $((40+2)); echo $WHARF_SESSION_NAME"]);
    assert_eq!(said, "in 42\n\n", "a login of its own, without the session's variables");
    // Without that configuration.
    let (identity, known) = (at("user"), format!("UserKnownHostsFile={}", at("known")));
    let proxy = "ProxyCommand=wharf forward fluid ssh --stdio";
    let words = [
        "-F",
        "/dev/null",
        "-i",
        &identity,
        "-o",
        &known,
        "-o",
        "StrictHostKeyChecking=accept-new",
        "-o",
        proxy,
    ];
    assert_eq!(run(&launcher, "ssh", &[&words[..], &["fluid", "echo direct"]].concat()), "direct\n");
    // Whole, both ways, by scp (which is sftp now), by its older protocol, and by rsync.
    let large: Vec<u8> = (0..8 << 20).map(application::byte_at).collect();
    std::fs::create_dir_all(dir.join("tree/below")).expect("a directory");
    for name in ["there", "tree/a", "tree/below/b c"] {
        std::fs::write(dir.join(name), &large).expect("a file");
    }
    let remote = |name: &str| format!("fluid.wharf:{}", at(name));
    for older in [&[][..], &["-O"]] {
        run(&launcher, "scp", &[&["-F", &config, "-q"], older, &[&at("there"), &remote("copy")]].concat());
        run(&launcher, "scp", &[&["-F", &config, "-q"], older, &[&remote("copy"), &at("back")]].concat());
        assert!(std::fs::read(dir.join("back")).expect("a file") == large, "it came back whole");
    }
    let shell = format!("ssh -F {config}");
    let (from, to) = (format!("{}/", at("tree")), format!("{}/", at("tree.back")));
    run(&launcher, "rsync", &["-a", "-e", &shell, &from, &remote("tree.copy")]);
    run(&launcher, "rsync", &["-a", "-e", &shell, &format!("{}/", remote("tree.copy")), &to]);
    assert!(
        std::fs::read(dir.join("tree.back/below/b c")).expect("a file") == large,
        "the tree came back whole"
    );
    // A port of its own through that, as editors do; and the exit code of what ran.
    let status = ssh(&launcher, &["-F", &config, "fluid.wharf", "exit 7"]);
    assert_eq!(status, Some(7));
    assert_eq!(ssh(&launcher, &["-F", &config, "absent.wharf", "true"]), Some(255));
    until("nobody is left in", SOON, || {
        let session = launcher.session(&id);
        Probe::when(session["connections"] == 0, (), || session.to_string())
    });
}
