//! Endpoints: declared, told of, and reached.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use wharf_protocol::ErrorCode;
use wharf_protocol::api::EndpointKind;
use wharf_protocol::monitor::{EndpointDeclared, MonitorSays, StreamOpen};
use wharf_protocol::stream::ClientControl;

use crate::launcher::Stream;
use crate::place::{Place, idle, program, within};

fn tunnel(endpoint: &str) -> StreamOpen {
    StreamOpen::Tunnel { endpoint: endpoint.to_owned() }
}

fn endpoint(name: &str, port: Option<u16>, socket: Option<String>) -> EndpointDeclared {
    EndpointDeclared { name: name.to_owned(), kind: EndpointKind::Tcp, port, socket, prefix: false }
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
async fn a_socket_without_a_path_is_in_a_directory_of_the_sessions_own() {
    let script =
        "test -d ${WHARF_SOCKET_MY_APP%/*} && stat -c 'mode %a' ${WHARF_SOCKET_MY_APP%/*}; exec sleep 1000";
    let place = Place::new(&["sh", "-c", script]).tty().with(|bootstrap| {
        bootstrap.endpoints = vec![
            endpoint("my-app", None, Some("app.sock".to_owned())),
            endpoint("other", None, Some("../other.sock".to_owned())),
        ];
    });
    let job = place.run();
    let link = place.link().await;
    let sockets: Vec<_> = link.hello.endpoints.iter().filter_map(|one| one.socket.clone()).collect();
    let directory = std::path::Path::new(&sockets[0]).parent().unwrap().to_owned();
    assert_eq!(sockets[0], directory.join("app.sock").display().to_string());
    assert_eq!(sockets[1], directory.join("other.sock").display().to_string());
    link.prints("mode 700\r\n").await;
    let listener = UnixListener::bind(&sockets[0]).unwrap();
    let mut stream = link.open(&tunnel("my-app")).await;
    let (mut accepted, _) = listener.accept().await.unwrap();
    accepted.write_all(b"hello").await.unwrap();
    drop(accepted);
    stream.rest().await;
    assert_eq!(stream.tunnelled, b"hello");
    drop((link, job));
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
            // tidy: sleeps because the exchange is to outlast several looks at the application's socket.
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
