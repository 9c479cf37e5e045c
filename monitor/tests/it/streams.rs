//! What users do in a session over its link: look, type, run, tunnel, read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use wharf_protocol::ErrorCode;
use wharf_protocol::api::{EndpointKind, LogStream, Role};
use wharf_protocol::monitor::{EndpointDeclared, MonitorSays, StreamOpen};
use wharf_protocol::stream::{ClientControl, ExecStart, Exit, Size};

use crate::launcher::{Link, Stream, start};
use crate::place::{Place, lives, pid_in, program, until, within};

fn attach(role: Role, size: Option<Size>) -> StreamOpen {
    StreamOpen::Attach { role, size }
}

fn tunnel(endpoint: &str) -> StreamOpen {
    StreamOpen::Tunnel { endpoint: endpoint.to_owned() }
}

fn logs(tail: Option<u64>, follow: bool) -> StreamOpen {
    StreamOpen::Logs { stream: LogStream::All, tail, follow }
}

fn endpoint(name: &str, port: Option<u16>, socket: Option<String>) -> EndpointDeclared {
    EndpointDeclared { name: name.to_owned(), kind: EndpointKind::Tcp, port, socket }
}

/// A session that only waits.
async fn idle() -> (Place, crate::place::Job, Link) {
    let place = Place::new(&["sleep", "1000"]);
    let job = place.run();
    let link = place.link().await;
    (place, job, link)
}

#[tokio::test]
async fn an_exec_has_both_outputs_and_its_own_code() {
    let (_place, _job, link) = idle().await;
    let mut exec = link.exec(&["sh", "-c", "echo out; echo err >&2; exit 23"]).await;
    assert_eq!(exec.code().await, Some(23));
    assert_eq!((&exec.stdout[..], &exec.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    let mut exec = link.exec(&["sh", "-c", "kill -USR1 $$"]).await;
    exec.rest().await;
    assert_eq!(exec.exit, Some(Exit { code: None, signal: Some(10) }));
}

#[tokio::test]
async fn an_exec_that_cannot_be_executed_says_so() {
    let (_place, _job, link) = idle().await;
    for (program, code, words) in
        [("/nowhere/at/all", 127, "No such file or directory"), ("/etc/passwd", 126, "Permission denied")]
    {
        let mut exec = link.exec(&[program]).await;
        assert_eq!(exec.code().await, Some(code));
        let told = String::from_utf8(exec.stderr).unwrap();
        assert!(told.contains(program) && told.contains(words), "{told}");
    }
    let gone = ExecStart { cwd: Some("/nowhere/at/all".to_owned()), ..start(&["true"]) };
    let mut exec = link.open(&StreamOpen::Exec(gone)).await;
    assert_eq!(exec.code().await, Some(126));
    assert!(exec.text().contains("/nowhere/at/all"), "{}", exec.text());
}

#[tokio::test]
async fn an_exec_reads_what_is_sent_and_sees_its_end() {
    let (_place, _job, link) = idle().await;
    let mut exec = link.exec(&["sha256sum"]).await;
    for _ in 0..40 {
        exec.send(&[b'x'; 50_000]).await;
    }
    exec.control(&ClientControl::Eof(true)).await;
    assert_eq!(exec.code().await, Some(0));
    // sha256 of two million times "x".
    let mut twin = link.exec(&["sh", "-c", "head -c 2000000 /dev/zero | tr '\\0' x | sha256sum"]).await;
    assert_eq!(twin.code().await, Some(0));
    assert_eq!(exec.text(), twin.text());
}

#[tokio::test]
async fn an_exec_has_the_sessions_environment_and_directory_and_its_own_group() {
    let place = Place::new(&["sleep", "1000"])
        .with(|bootstrap| drop(bootstrap.env.insert("OF_THE_SESSION".to_owned(), "yes".to_owned())));
    let _job = place.run();
    let link = place.link().await;
    let what = ExecStart {
        env: BTreeMap::from([("OF_THE_EXEC".to_owned(), "too".to_owned())]),
        ..start(&["sh", "-c", "echo $OF_THE_SESSION $OF_THE_EXEC $PWD; ps -o pgid= -p $$; echo $$"])
    };
    let mut exec = link.open(&StreamOpen::Exec(what)).await;
    assert_eq!(exec.code().await, Some(0));
    let text = exec.text();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert_eq!(lines[0], format!("yes too {}", place.dir.path().display()));
    assert_eq!(lines[1], lines[2]);
}

#[tokio::test]
async fn a_child_in_the_background_does_not_delay_an_exec() {
    let (place, _job, link) = idle().await;
    let began = Instant::now();
    let mut exec = link.exec(&["sh", "-c", "sleep 1000 & echo $! >pid; echo done; exit 6"]).await;
    assert_eq!(exec.code().await, Some(6));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(exec.text(), "done\n");
    assert!(lives(pid_in(&place.path("pid")).await), "it goes on");
}

#[tokio::test]
async fn an_exec_is_sent_signals() {
    let (_place, _job, link) = idle().await;
    let mut exec = link
        .exec(&["sh", "-c", "trap 'echo caught; exit 8' INT; echo ready; while :; do sleep 0.1; done"])
        .await;
    exec.until("ready").await;
    exec.control(&ClientControl::Signal("INT".to_owned())).await;
    assert_eq!(exec.code().await, Some(8));
    assert_eq!(exec.text(), "ready\ncaught\n");
}

#[tokio::test]
async fn an_exec_on_a_terminal_has_one_of_the_right_size() {
    let (_place, _job, link) = idle().await;
    let what = ExecStart {
        tty: true,
        rows: Some(33),
        cols: Some(99),
        ..start(&["sh", "-c", "stty size; echo err >&2; read line; stty size; echo got $line"])
    };
    let mut exec = link.open(&StreamOpen::Exec(what)).await;
    exec.until("33 99\r\nerr\r\n").await;
    exec.control(&ClientControl::Resize(Size { rows: 40, cols: 100 })).await;
    exec.send(b"hello\n").await;
    assert_eq!(exec.code().await, Some(0));
    assert!(exec.text().ends_with("40 100\r\ngot hello\r\n"), "{:?}", exec.text());
    assert!(exec.stderr.is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_exec() {
    let (place, _job, link) = idle().await;
    let script = "trap 'echo told >told; exit' HUP; sleep 1000 & echo $! >pid; while :; do sleep 0.1; done";
    let exec = link.exec(&["sh", "-c", script]).await;
    let pid = pid_in(&place.path("pid")).await;
    drop(exec);
    until("the group is gone", || (!lives(pid)).then_some(())).await;
    assert_eq!(std::fs::read_to_string(place.path("told")).unwrap(), "told\n");
}

#[tokio::test]
async fn a_lost_link_ends_execs_and_leaves_the_command() {
    let (place, _job, link) = idle().await;
    let command = i32::try_from(link.hello.pid.unwrap()).unwrap();
    let _exec = link.exec(&["sh", "-c", "echo $$ >pid; trap '' HUP TERM; while :; do sleep 0.1; done"]).await;
    let pid = pid_in(&place.path("pid")).await;
    link.cut();
    let _link = place.link().await;
    until("the exec is killed", || (!lives(pid)).then_some(())).await;
    assert!(lives(command));
}

#[tokio::test]
async fn who_does_not_read_stalls_only_itself() {
    let (_place, _job, mut link) = idle().await;
    let _stalled = link.exec(&["yes"]).await;
    let mut other = link.exec(&["head", "-c", "50000000", "/dev/zero"]).await;
    assert_eq!(other.code().await, Some(0));
    assert_eq!(other.stdout.len(), 50_000_000);
    link.ping().await;
}

#[tokio::test]
async fn a_terminal_shows_its_screen_and_then_what_comes() {
    let place = Place::new(&[
        "sh",
        "-c",
        "printf 'old\\033[2J\\033[Hscreen'; stty -echo; while read line; do echo \"<$line>\"; done; exit 3",
    ])
    .tty();
    let mut job = place.run();
    let mut link = place.link().await;
    link.prints("screen").await;
    let size = Size { rows: 30, cols: 90 };
    let mut viewer = link.open(&attach(Role::View, Some(Size { rows: 5, cols: 5 }))).await;
    viewer.until("screen").await;
    assert!(!viewer.text().contains("old"), "the screen, not a log: {:?}", viewer.text());
    let mut controller = link.open(&attach(Role::Control, Some(size))).await;
    controller.until("screen").await;
    // What a viewer types is ignored.
    viewer.send(b"of a viewer\n").await;
    viewer.control(&ClientControl::Resize(Size { rows: 6, cols: 6 })).await;
    controller.send(b"typed\n").await;
    controller.until("<typed>").await;
    viewer.until("<typed>").await;
    let pid = link.hello.pid.unwrap();
    let mut exec = link.exec(&["sh", "-c", &format!("stty size </proc/{pid}/fd/0")]).await;
    assert_eq!(exec.code().await, Some(0), "{}", exec.text());
    assert_eq!(exec.text(), "30 90\n");
    // Leaving changes nothing; the end is told to everybody.
    drop(controller);
    let mut controller = link.open(&attach(Role::Control, None)).await;
    controller.until("<typed>").await;
    controller.send(&[4]).await;
    for mut stream in [viewer, controller] {
        assert_eq!(stream.code().await, Some(3));
        assert!(!stream.text().contains("of a viewer"));
    }
    // Also to who comes after it.
    link.exited().await;
    let mut late = link.open(&attach(Role::View, None)).await;
    assert_eq!(late.code().await, Some(3));
    link.keep().await;
    assert_eq!(job.code().await, 3);
}

#[tokio::test]
async fn the_command_leads_its_terminal() {
    let script = "ps -o pid=,sid=,tpgid= -p $$; cat";
    let place = Place::new(&["sh", "-c", script]).tty();
    let mut job = place.run();
    let mut link = place.link().await;
    let pid = link.hello.pid.unwrap().to_string();
    link.prints("\n").await;
    let printed = link.logs(LogStream::All).await;
    assert_eq!(printed.split_whitespace().collect::<Vec<_>>(), [&pid, &pid, &pid]);
    // Control-C is a signal to whoever is in the foreground.
    let mut controller = link.open(&attach(Role::Control, None)).await;
    controller.send(&[3]).await;
    assert_eq!(link.kept().await.signal, Some(2));
    assert_eq!(job.code().await, 130);
}

#[tokio::test]
async fn without_a_terminal_there_is_nothing_to_attach_to() {
    let (_place, _job, link) = idle().await;
    assert_eq!(link.refusal(&attach(Role::Control, None)).await, ErrorCode::NoTerminal);
}

#[tokio::test]
async fn a_viewer_that_is_too_far_behind_is_dropped_and_told() {
    let place = Place::new(&["yes", "a line that is written again and again"]).tty();
    let _job = place.run();
    let link = place.link().await;
    let mut slow = link.open(&attach(Role::View, None)).await;
    let mut quick = link.open(&attach(Role::View, None)).await;
    while quick.stdout.len() < 20_000_000 {
        assert!(quick.more().await);
        if quick.stdout.len() > 1_000_000 {
            quick.stdout.drain(..1_000_000 - 1);
            if slow_is_dropped(&link).await {
                break;
            }
        }
    }
    slow.rest().await;
    assert_eq!(slow.error.unwrap().code, ErrorCode::RateLimited);
}

/// Whether the command goes on although somebody does not read: it prints more than all windows hold.
async fn slow_is_dropped(link: &Link) -> bool {
    let mut tail = link.open(&logs(None, false)).await;
    tail.rest().await;
    let text = tail.text();
    let dropped = text.split_once("[… ").and_then(|(_, rest)| rest.split(' ').next()?.parse::<u64>().ok());
    dropped.is_some_and(|dropped| dropped > 40_000_000)
}

#[tokio::test]
async fn logs_are_cut_at_lines_and_followed_to_the_end() {
    let script = "for i in 1 2 3; do echo line $i; done; while [ ! -e go ]; do sleep 0.05; done; echo last";
    let place = Place::new(&["sh", "-c", script]);
    let _job = place.run();
    let mut link = place.link().await;
    link.prints("line 3").await;
    let mut tail = link.open(&logs(Some(2), false)).await;
    tail.rest().await;
    assert_eq!(tail.text(), "line 2\nline 3\n");
    let mut follower = link.open(&logs(Some(1), true)).await;
    follower.until("line 3\n").await;
    std::fs::write(place.path("go"), "").unwrap();
    follower.rest().await;
    assert_eq!(follower.text(), "line 3\nlast\n");
    link.exited().await;
    assert_eq!(link.logs(LogStream::All).await, "line 1\nline 2\nline 3\nlast\n");
}

#[tokio::test]
async fn of_much_output_the_beginning_and_the_end_are_kept() {
    let place = Place::new(&["sh", "-c", "echo begin; seq 1 1000000; echo end >&2"]);
    let _job = place.run();
    let mut link = place.link().await;
    link.exited().await;
    let all = link.logs(LogStream::Stdout).await;
    assert!(all.starts_with("begin\n1\n2\n") && all.ends_with("\n999999\n1000000\n"), "{}", all.len());
    let (head, tail) = all.split_once("\n[… ").unwrap();
    let (dropped, tail) = tail.split_once(" bytes dropped …]\n").unwrap();
    let printed: usize = 6 + (1..=1_000_000_u32).map(|number| number.to_string().len() + 1).sum::<usize>();
    assert_eq!(head.len(), 64 * 1024);
    assert_eq!(head.len() + dropped.parse::<usize>().unwrap() + tail.len(), printed);
}

#[tokio::test]
async fn connect_tells_what_there_is() {
    let place =
        Place::new(&["sh", "-c", "echo port $WHARF_PORT_MY_APP; exec sleep 1000"]).tty().with(|bootstrap| {
            bootstrap.endpoints =
                vec![endpoint("my-app", Some(0), None), endpoint("db", None, Some("/x".to_owned()))];
        });
    let _job = place.run();
    let link = place.link().await;
    let (value, mut stream) = link.try_open(&StreamOpen::Connect).await.unwrap();
    let endpoints: Vec<EndpointDeclared> = serde_json::from_value(value).unwrap();
    let names: Vec<&str> = endpoints.iter().map(|endpoint| &*endpoint.name).collect();
    assert_eq!(names, ["terminal", "my-app", "db"]);
    assert_eq!(endpoints[0].kind, EndpointKind::Tty);
    let port = endpoints[1].port.unwrap();
    assert!(port > 0);
    assert!(!stream.more().await);
    link.prints(&format!("port {port}\r\n")).await;
    assert_eq!(link.hello.endpoints, endpoints[1..]);
}

#[tokio::test]
async fn an_endpoint_is_declared_from_inside() {
    let (place, _job, mut link) = idle().await;
    let monitor = env!("CARGO_BIN_EXE_wharf-monitor");
    let add = |name: &'static str, kind, to: &'static str| [monitor, "endpoint", "add", name, kind, to];
    assert_eq!(link.exec(&add("late", "http", "8080")).await.code().await, Some(0));
    let declared = EndpointDeclared { kind: EndpointKind::Http, ..endpoint("late", Some(8080), None) };
    assert_eq!(link.hear().await, MonitorSays::Endpoints { endpoints: vec![declared] });
    assert_eq!(link.exec(&add("late", "tcp", "/run/x")).await.code().await, Some(0));
    let declared = endpoint("late", None, Some("/run/x".to_owned()));
    assert_eq!(link.hear().await, MonitorSays::Endpoints { endpoints: vec![declared] });
    for (name, kind, to) in [
        ("Late", "tcp", "1"),
        ("late", "udp", "1"),
        ("late", "tcp", "0"),
        ("late", "tcp", "x"),
        // The session's own terminal goes by that name.
        ("terminal", "tcp", "1"),
    ] {
        let mut exec = link.exec(&add(name, kind, to)).await;
        assert_eq!(exec.code().await, Some(78), "{name} {kind} {to}");
        assert!(exec.text().starts_with("wharf-monitor: "), "{}", exec.text());
    }
    // Not from outside.
    let output = program().args(["endpoint", "add", "late", "tcp", "1"]).output().unwrap();
    assert!(!output.status.success());
    drop(place);
}

async fn tunnelled(stream: &mut Stream, text: &[u8]) {
    while !stream.tunnelled.ends_with(text) {
        assert!(stream.more().await, "{:?}", String::from_utf8_lossy(&stream.tunnelled));
    }
}

#[tokio::test]
async fn a_tunnel_half_closes_both_ways() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = Place::new(&["sleep", "1000"]);
    let socket = place.path("app.sock");
    let unix = UnixListener::bind(&socket).unwrap();
    let place = place.with(|bootstrap| {
        bootstrap.endpoints = vec![
            endpoint("tcp", Some(tcp.local_addr().unwrap().port()), None),
            endpoint("unix", None, Some(socket.to_str().unwrap().to_owned())),
        ];
    });
    let _job = place.run();
    let link = place.link().await;
    for name in ["tcp", "unix"] {
        let mut stream = link.open(&tunnel(name)).await;
        let (mut from, mut to): (
            Box<dyn tokio::io::AsyncRead + Unpin>,
            Box<dyn tokio::io::AsyncWrite + Unpin>,
        ) = if name == "tcp" {
            let (from, to) = tcp.accept().await.unwrap().0.into_split();
            (Box::new(from), Box::new(to))
        } else {
            let (from, to) = unix.accept().await.unwrap().0.into_split();
            (Box::new(from), Box::new(to))
        };
        // The application says its last first; the client still has much to say.
        to.write_all(b"hello").await.unwrap();
        to.shutdown().await.unwrap();
        while !stream.eof {
            assert!(stream.more().await);
        }
        assert_eq!(stream.tunnelled, b"hello");
        let mut read = vec![0; 100_000];
        for _ in 0..10 {
            stream.send(&read.clone()).await;
            within("data", from.read_exact(&mut read)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        stream.control(&ClientControl::Eof(true)).await;
        assert_eq!(within("the end", from.read(&mut read)).await.unwrap(), 0);
        stream.rest().await;
    }
    // The other way round.
    let mut stream = link.open(&tunnel("tcp")).await;
    let (mut app, _) = tcp.accept().await.unwrap();
    stream.send(b"question").await;
    stream.control(&ClientControl::Eof(true)).await;
    let mut question = Vec::new();
    within("a question", app.read_to_end(&mut question)).await.unwrap();
    app.write_all(&question).await.unwrap();
    tunnelled(&mut stream, b"question").await;
    drop(app);
    stream.rest().await;
    assert!(stream.eof);
}

#[tokio::test]
async fn a_tunnel_is_over_when_either_end_is_gone() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = Place::new(&["sleep", "1000"]);
    let socket = place.path("app.sock");
    let unix = UnixListener::bind(&socket).unwrap();
    let place = place.with(|bootstrap| {
        bootstrap.endpoints = vec![
            endpoint("tcp", Some(tcp.local_addr().unwrap().port()), None),
            endpoint("unix", None, Some(socket.to_str().unwrap().to_owned())),
        ];
    });
    let _job = place.run();
    let link = place.link().await;
    let began = Instant::now();
    let mut stream = link.open(&tunnel("tcp")).await;
    drop(tcp.accept().await.unwrap());
    stream.rest().await;
    let mut stream = link.open(&tunnel("unix")).await;
    drop(unix.accept().await.unwrap());
    stream.rest().await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let stream = link.open(&tunnel("tcp")).await;
    let (mut app, _) = tcp.accept().await.unwrap();
    drop(stream);
    assert!(matches!(within("the end", app.read(&mut [0; 9])).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_refused() {
    let place = Place::new(&["sleep", "1000"]).with(|bootstrap| {
        bootstrap.endpoints = vec![endpoint("db", None, Some("/nowhere/at/all".to_owned()))];
    });
    let _job = place.run();
    let link = place.link().await;
    assert_eq!(link.refusal(&tunnel("db")).await, ErrorCode::EndpointFailed);
    assert_eq!(link.refusal(&tunnel("other")).await, ErrorCode::UnknownEndpoint);
}

#[tokio::test]
async fn a_stopped_command_does_not_stop_its_monitor() {
    let (_place, _job, mut link) = idle().await;
    let pid = Pid::from_raw(i32::try_from(link.hello.pid.unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    link.ping().await;
    assert_eq!(link.exec(&["true"]).await.code().await, Some(0));
    // A stopped process sees SIGTERM only when it goes on.
    link.end(Duration::from_secs(5)).await;
    let report = link.exited().await;
    assert_eq!(report.signal, Some(15));
}
