//! A web application for sessions to serve: it tells what it was asked, and misbehaves on demand; and a plain echo.
//!
//! | path | answer |
//! |---|---|
//! | `/told` | what arrived, as JSON: method, target, headers, and how many bytes the body had, with a checksum |
//! | `/bytes/N` | N bytes, as fast as they are taken |
//! | `/ticks` | server-sent events without end |
//! | `/socket` | a WebSocket that echoes |
//! | `/hostile` | every header that reaches beyond the application |
//! | `/to?ADDRESS` | a redirect there |
//! | `/missing` | 404 with a page of its own |

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// How it is entered into a sum: cheap, and no two orders of the same bytes give the same.
pub fn checksum(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(sum, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

/// The byte at that place of a large body.
pub fn byte_at(place: usize) -> u8 {
    u8::try_from(place % 251).unwrap_or_default()
}

/// Bytes without end, cut to a length.
#[derive(Debug)]
pub struct Large {
    left: usize,
    at: usize,
}

impl Large {
    /// So many bytes.
    pub fn new(length: usize) -> Self {
        Self { left: length, at: 0 }
    }
}

impl Body for Large {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = self.left.min(64 << 10);
        let piece: Vec<u8> = (self.at..self.at + length).map(byte_at).collect();
        self.left -= length;
        self.at += length;
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }
}

/// Events without end.
struct Ticks(tokio::time::Interval);

impl Body for Ticks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_tick(context).map(|_| Some(Ok(Frame::data(Bytes::from_static(b"data: tick\n\n")))))
    }
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

fn whole(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    answer.body(Full::from(body.to_owned()).boxed()).expect("a well-formed answer")
}

fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

async fn answer(mut request: http::Request<Incoming>) -> Result<Answer, Infallible> {
    let path = request.uri().path().to_owned();
    // As one that knows where it lies.
    let path = match path.strip_prefix("/s/").map(|rest| rest.splitn(3, '/').collect::<Vec<_>>()) {
        Some(parts) if parts.len() == 3 => format!("/{}", parts[2]),
        _ => path,
    };
    let query = request.uri().query().unwrap_or_default().to_owned();
    if let Some(length) = path.strip_prefix("/bytes/").and_then(|length| length.parse().ok()) {
        let answer = Response::builder().header("content-length", length);
        return Ok(answer.body(Large::new(length).boxed()).expect("a well-formed answer"));
    }
    Ok(match path.as_str() {
        "/ticks" => Response::builder()
            .header("content-type", "text/event-stream")
            .body(Ticks(tokio::time::interval(Duration::from_millis(50))).boxed())
            .expect("a well-formed answer"),
        "/socket" => socket(&mut request),
        "/to" => whole(302, &[("location", &query)], ""),
        "/missing" => whole(404, &[("content-type", "text/html")], "<h1>of the application</h1>"),
        "/hostile" => whole(
            200,
            &[
                ("set-cookie", "theirs=1; Domain=localhost; Path=/"),
                ("set-cookie", "wharf=stolen; Path=/"),
                ("set-cookie", "wharf-app=stolen; Path=/"),
                ("service-worker-allowed", "/"),
                ("strict-transport-security", "max-age=99999"),
                ("alt-svc", "h2=\":1\""),
                ("clear-site-data", "\"*\""),
                ("nel", "{\"report_to\":\"x\",\"max_age\":9999}"),
                ("report-to", "{\"group\":\"x\"}"),
                ("cross-origin-opener-policy", "same-origin"),
                ("keep-alive", "timeout=9"),
                ("access-control-allow-origin", "*"),
            ],
            "done",
        ),
        "/told" => {
            let (head, mut body) = request.into_parts();
            let (mut length, mut sum) = (0, 0);
            while let Some(Ok(frame)) = body.frame().await {
                if let Ok(data) = frame.into_data() {
                    length += data.len();
                    sum = checksum(sum, &data);
                }
            }
            let told = json!({
                "method": head.method.as_str(), "target": head.uri.to_string(),
                "headers": shown(&head.headers), "length": length, "sum": sum,
            });
            whole(200, &[("content-type", "application/json")], &told.to_string())
        }
        _ => whole(200, &[("content-type", "text/plain")], "an application"),
    })
}

fn socket(request: &mut http::Request<Incoming>) -> Answer {
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else { return whole(400, &[], "") };
    let accept = derive_accept_key(key.as_bytes());
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut answer = whole(
        101,
        &[("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-accept", &accept)],
        "",
    );
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer
}

/// Serves one on loopback for as long as the test runs; its port.
///
/// # Panics
/// When no port can be had.
pub fn serve() -> u16 {
    let listener =
        crate::runtime().block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port on loopback");
    let port = listener.local_addr().expect("an address").port();
    crate::runtime().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(answer);
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            tokio::spawn(serving);
        }
    });
    port
}

/// Serves that page at every path, as one that wants more than it may have; its port.
///
/// # Panics
/// When no port can be had.
pub fn page(html: &'static str) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 16 << 10];
            let length = stream.read(&mut head).unwrap_or(0);
            let script = String::from_utf8_lossy(&head[..length]).starts_with("GET /worker.js");
            let (kind, body) = if script { ("text/javascript", "") } else { ("text/html", html) };
            _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nService-Worker-Allowed: /\r\n\
                 Cross-Origin-Opener-Policy: same-origin\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    port
}

/// A TCP server on loopback that says `said` to each connection, or to the first request of it where that is an answer of
/// HTTP, and resets it when anybody says `now`; its port.
///
/// # Panics
/// When no port can be had.
pub fn resets(said: &'static str) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let port = listener.local_addr().expect("an address").port();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let asked = std::sync::Arc::clone(&asked);
            std::thread::spawn(move || {
                let before = asked.load(std::sync::atomic::Ordering::Relaxed);
                _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
                let (mut heard, mut bytes) = (Vec::new(), [0; 4096]);
                let mut unsaid = Some(said);
                while asked.load(std::sync::atomic::Ordering::Relaxed) == before {
                    let is_time = !said.starts_with("HTTP") || heard.ends_with(b"\r\n\r\n");
                    if let Some(said) = unsaid.take_if(|_| is_time) {
                        _ = stream.write_all(said.as_bytes());
                    }
                    match stream.read(&mut bytes) {
                        Ok(length @ 1..) => heard.extend_from_slice(&bytes[..length]),
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        _ => return,
                    }
                    if heard.ends_with(b"now") {
                        asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
                // Closed like this, a connection is reset and not ended.
                _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
            });
        }
    });
    port
}

/// A TCP server on loopback that echoes each connection, and says `[end]` when its input has ended; its port.
///
/// # Panics
/// When no port can be had.
pub fn echo() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut bytes = [0; 65536];
                while let Ok(length) = stream.read(&mut bytes) {
                    if length == 0 {
                        _ = stream.write_all(b"[end]");
                        break;
                    }
                    if stream.write_all(&bytes[..length]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}
