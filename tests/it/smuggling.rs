//! What somebody who writes bytes by hand gets through to an application, or past the launcher.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::json;
use wharf_tests::{Launcher, Template};

const SOON: Duration = Duration::from_secs(10);

/// An application that answers each connection once it has read a request, and tells all that came on it.
fn listener() -> (u16, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (tell, heard) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let tell = tell.clone();
            std::thread::spawn(move || {
                _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
                let (mut all, mut bytes) = (Vec::new(), [0; 4096]);
                while let Ok(length @ 1..) = stream.read(&mut bytes) {
                    all.extend_from_slice(&bytes[..length]);
                }
                _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
                _ = tell.send(all);
            });
        }
    });
    (port, heard)
}

struct Scene {
    launcher: Launcher,
    id: String,
    host: String,
    token: String,
    heard: Receiver<Vec<u8>>,
}

fn scene() -> Scene {
    let (port, heard) = listener();
    let toml = format!("[connect.web]\nkind = \"http\"\nport = {port}\n");
    let launcher = Launcher::with(&Template::working("app").toml(&toml));
    let id = launcher.run_session("app", &[]);
    let at = launcher.tcp_host();
    let (_, port) = at.rsplit_once(':').expect("HOST:PORT");
    let host = format!("web--{id}.localhost:{port}");
    let token = launcher.token("full", None);
    Scene { launcher, id, host, token, heard }
}

impl Scene {
    /// What is answered to these bytes.
    fn says(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.launcher.tcp_host()).expect("it listens");
        // Longer than the application takes to see that nothing more comes.
        stream.set_read_timeout(Some(Duration::from_millis(1200))).expect("a socket");
        _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// What the application hears of a request with these lines and that body; nothing when it is refused.
    fn hears(&self, line: &str, lines: &[&str], body: &str) -> (String, Option<String>) {
        let head = format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n{}\r\n\r\n",
            self.host,
            self.token,
            lines.join("\r\n")
        );
        let answer = self.says(&[head.as_bytes(), body.as_bytes()].concat());
        let heard = if answer.starts_with("HTTP/1.1 200") { SOON } else { Duration::from_millis(800) };
        let heard = self.heard.recv_timeout(heard).ok();
        (answer, heard.map(|heard| String::from_utf8_lossy(&heard).into_owned()))
    }
}

/// A second request that hides in what is said about the first one's length.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn one_request_stays_one_whatever_it_says_of_its_length() {
    let scene = scene();
    let length = format!("Content-Length: {}", HIDDEN.len() + 5);
    for lines in [
        &["Content-Length: 5", "Transfer-Encoding: chunked"][..],
        &["Transfer-Encoding: chunked", length.as_str()],
        &["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        &["Transfer-Encoding: identity, chunked"],
        &["Transfer-Encoding : chunked"],
        &["Transfer-Encoding: xchunked", "Content-Length: 5"],
        &["Content-Length: 5", length.as_str()],
        &["Content-Length: +5"],
        &["Content-Length: 5", "Connection: content-length"],
        &["Transfer-Encoding: chunked", "Connection: transfer-encoding, keep-alive"],
    ] {
        let body = format!("0\r\n\r\n{HIDDEN}");
        let (answer, heard) = scene.hears("POST /first", lines, &body);
        let Some(heard) = heard else {
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{lines:?}: {answer}");
            continue;
        };
        let (head, _) = heard.split_once("\r\n\r\n").expect("a head");
        let head = head.to_ascii_lowercase();
        let said = ["content-length:", "transfer-encoding:"].map(|name| head.matches(name).count());
        assert!(said[0] + said[1] <= 1, "{lines:?}: {heard}");
        // Where the hidden one is there at all, it is a body of the length that is said, or none of its own.
        if said[1] == 0 && heard.contains("/hidden") {
            let length = head.split("content-length:").nth(1).and_then(|rest| rest.lines().next());
            let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            let body = heard.split_once("\r\n\r\n").expect("a head").1;
            assert_eq!(length, body.len(), "{lines:?}: {heard}");
        }
        assert_eq!(heard.matches("POST /first").count(), 1, "{heard}");
    }
}

#[test]
fn nothing_of_wharfs_own_gets_through_and_nothing_is_believed() {
    let scene = scene();
    let token = &scene.token;
    let own = format!("Authorization: Bearer {token}");
    let (_, heard) = scene.hears(
        "GET /told",
        &[
            "Authorization: Basic dTpw",
            &own,
            "X-Forwarded-Host: evil.example",
            "x-forwarded-HOST: evil.example",
        ],
        "",
    );
    let heard = heard.expect("it is asked");
    assert!(!heard.contains("wht_") && !heard.contains("evil.example"), "{heard}");
    // A link's guest comes with a token too; the application does not get it.
    let share = json!({"grantee": "link", "role": "control"});
    let share = scene.launcher.http().post(&format!("/sessions/{}/shares", scene.id), &share).expect(201);
    let secret = share["url"].as_str().and_then(|url| url.split_once("/#/join/")).expect("an address").1;
    let redeemed = scene.launcher.tcp(None).post("/redeem", &json!({"secret": secret})).expect(200);
    let guest = redeemed["token"].as_str().expect("a token");
    let head =
        format!("GET /as-guest HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {guest}\r\n\r\n", scene.host);
    let answer = scene.says(head.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let heard = scene.heard.recv_timeout(SOON).expect("it is asked");
    let heard = String::from_utf8_lossy(&heard);
    assert!(heard.contains("/as-guest") && !heard.contains(guest), "{heard}");
    // Cookies of an application that are no ASCII take nothing away from the others.
    let entrance =
        scene.launcher.http().post(&format!("/sessions/{}/connect", scene.id), &json!({})).expect(200);
    let url = entrance["endpoints"][0]["url"].as_str().expect("an address");
    let target = url.split_once(&scene.host).expect("its own origin").1;
    let entered = scene.launcher.tcp(None).with("host", &scene.host).try_raw("GET", target, Vec::new());
    let set = entered.expect("an answer").header("set-cookie").expect("a pass");
    let pass = set.split(';').next().expect("a first part");
    let (answer, heard) = {
        let head = format!(
            "GET /with-pass HTTP/1.1\r\nConnection: close\r\nHost: {}\r\nCookie: é=ü; {pass}; a=b\r\n\r\n",
            scene.host
        );
        (scene.says(head.as_bytes()), scene.heard.recv_timeout(SOON))
    };
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let heard = String::from_utf8_lossy(&heard.expect("it is asked")).into_owned();
    assert!(heard.contains("é=ü; a=b") && !heard.contains("wharf-app"), "{heard}");
    // Nor do they sign the page out.
    let at = scene.launcher.tcp_host();
    let (_, port) = at.rsplit_once(':').expect("HOST:PORT");
    let head = format!(
        "GET /api/v1/login HTTP/1.1\r\nConnection: close\r\nHost: {at}\r\nCookie: é=ü; wharf-{port}={token}\r\n\r\n"
    );
    let answer = scene.says(head.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn strange_requests_are_answered_and_go_nowhere() {
    let scene = scene();
    let at = scene.launcher.tcp_host();
    let host = &scene.host;
    let many: String = (0..120).map(|at| format!("x-{at}: y\r\n")).collect();
    let long = "x".repeat(70 << 10);
    for (request, statuses) in [
        (format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n"), &[400, 401, 404, 405][..]),
        (format!("CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: {at}\r\n\r\n"), &[400, 401, 404, 405]),
        (format!("GET http://127.0.0.1:22/ HTTP/1.1\r\nHost: {host}\r\n\r\n"), &[400, 401]),
        (format!("GET http://{host}/ HTTP/1.1\r\nHost: evil.example\r\n\r\n"), &[400, 403]),
        (format!("OPTIONS * HTTP/1.1\r\nHost: {at}\r\n\r\n"), &[400, 401, 404, 405]),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), &[400, 403]),
        (format!("GET /api/v1/sessions HTTP/1.1\r\nHost: {at}\r\n{many}\r\n"), &[431]),
        (format!("GET /api/v1/sessions HTTP/1.1\r\nHost: {at}\r\nX: {long}\r\n\r\n"), &[431]),
        (format!("GET /{long} HTTP/1.1\r\nHost: {at}\r\n\r\n"), &[414, 431]),
        (format!("GET /told HTTP/1.1\r\nHost: {host}\r\nX: {long}\r\n\r\n"), &[431]),
        (format!("GET /../../api/v1/sessions HTTP/1.1\r\nHost: {at}\r\n\r\n"), &[400, 401, 404]),
        (
            format!("GET /s/{}/../../api/v1/sessions HTTP/1.1\r\nHost: {at}\r\n\r\n", scene.id),
            &[400, 401, 404],
        ),
        (format!("GET /app/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: {at}\r\n\r\n"), &[400, 404]),
        (format!("GET //evil.example/ HTTP/1.1\r\nHost: {at}\r\n\r\n"), &[400, 401, 404]),
    ] {
        let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        let answer = scene.says(request.as_bytes());
        let status: u16 = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        assert!(statuses.contains(&status), "{request:.120}: {answer:.300}");
    }
    assert!(scene.heard.try_recv().is_err(), "an application was asked something");
}

#[test]
fn times_without_sense_are_refused_or_kept_and_break_nothing() {
    let scene = scene();
    let http = scene.launcher.http();
    for life in ["0s", "1ms", "99999999d", "18446744073709551615s", "-1s", "1e99d", ""] {
        let token = http.post("/tokens", &json!({"scope": "read", "expires_in": life}));
        let share = json!({"grantee": "user:bob", "expires_in": life});
        let share = http.post(&format!("/sessions/{}/shares", scene.id), &share);
        for answer in [token, share] {
            assert!(matches!(answer.status, 201 | 400 | 422), "{life:?}: {answer}");
            if let Some(token) = answer.json()["token"].as_str() {
                let seen = scene.launcher.tcp(Some(token)).get("/sessions");
                assert!(matches!(seen.status, 200 | 401), "{life:?}: {seen}");
                let events = scene.launcher.tcp(Some(token)).get("/sessions?wait=1");
                assert!(events.status != 500, "{events}");
            }
        }
    }
    http.get(&format!("/sessions/{}", scene.id)).expect(200);
}
