//! Who is turned away, and how it is said.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::http::{raw, send};
use crate::launcher::Running;

const NOBODY: &str = "k3v9x2m7q4t8w1z6b5n0";

#[tokio::test]
async fn without_a_token_only_open_routes_answer() {
    let wharf = Running::begin().await;
    for path in ["/healthz", "/readyz", "/"] {
        assert_eq!(send(wharf.at, &format!("GET {path}"), &[], "").await.status, 200, "{path}");
    }
    for path in ["/api/v1/sessions", "/api/v1/nothing", "/api/v1/openapi.json", "/metrics", "/api/v1/events"]
    {
        let answer = send(wharf.at, &format!("GET {path}"), &[], "").await;
        answer.refused(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    send(wharf.at, "GET /nothing", &[], "").await.refused(404, "not_found");
    let wrong = [("Authorization", "Bearer wrong")];
    send(wharf.at, "GET /api/v1/sessions", &wrong, "").await.refused(401, "unauthenticated");
    let path = format!("GET /api/v1/sessions?token={}", wharf.full);
    send(wharf.at, &path, &[], "").await.refused(401, "unauthenticated");
    send(wharf.at, "GET /monitor/v1/link", &[], "").await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn unknown_addresses_and_methods() {
    let wharf = Running::begin().await;
    wharf.ask("GET /api/v1/nothing", None).await.refused(404, "not_found");
    let answer = wharf.ask("PUT /api/v1/sessions", None).await;
    answer.refused(405, "method_not_allowed");
    let allow = answer.header("allow").expect("Allow");
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    let answer = send(wharf.at, "POST /monitor/v1/link", &[], "").await;
    answer.refused(405, "method_not_allowed");
    assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")));
    for id in ["nope", NOBODY, "%ff", "K3V9X2M7Q4T8W1Z6B5N0"] {
        let path = format!("/api/v1/sessions/{id}");
        wharf.ask(&format!("GET {path}"), None).await.refused(404, "unknown_session");
        for action in ["terminate", "purge", "connect", "disconnect"] {
            let line = format!("POST {path}/{action}");
            wharf.ask(&line, Some(json!({}))).await.refused(404, "unknown_session");
        }
        let line = format!("POST {path}/exec");
        wharf.ask(&line, Some(json!({"argv": ["true"]}))).await.refused(404, "unknown_session");
        wharf.ask(&format!("GET {path}/logs"), None).await.refused(404, "unknown_session");
    }
    wharf.ask("DELETE /api/v1/tokens/%ff", None).await.refused(404, "unknown_token");
    wharf.ask("GET /api/v1/templates/nope", None).await.refused(404, "unknown_template");
    wharf.ask("GET /api/v1/traces/nope", None).await.refused(404, "unknown_trace");
}

#[tokio::test]
async fn bodies_and_queries_that_are_wrong() {
    let wharf = Running::begin().await;
    let bearer = format!("Bearer {}", wharf.full);
    let post = async |kind: &str, body: &str| {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", kind)];
        send(wharf.at, "POST /api/v1/sessions", &headers, body).await
    };
    let json = "application/json";
    let problem = post(json, "{\"template\":").await.refused(400, "malformed");
    assert!(problem["detail"].as_str().unwrap().contains("line 1"), "{problem}");
    post(json, "[]").await.refused(400, "malformed");
    post(json, "{\"template\":\"fake\"} x").await.refused(400, "malformed");
    post("text/plain", "{\"template\":\"fake\"}").await.refused(415, "unsupported_media_type");
    let problem = post(json, "{\"template\":\"fake\",\"colour\":1}").await.refused(422, "invalid");
    assert_eq!(problem["field"], "colour");
    let problem = post(json, "{\"template\":7}").await.refused(422, "invalid");
    assert_eq!(problem["field"], "template");
    let twice = post(json, "{\"template\":\"fake\",\"template\":\"fake\"}").await.refused(422, "invalid");
    assert_eq!(twice["field"], "template");
    post(json, "{\"template\":\"nope\"}").await.refused(422, "unknown_template");
    // The answer comes although the client has not read it while it was writing.
    let large = format!("{{\"template\":\"{}\"}}", "x".repeat(3 << 20));
    post(json, &large).await.refused(413, "too_large");
    for (query, field) in [
        ("colour=1", "colour"),
        ("limit=x", "limit"),
        ("limit=501", "limit"),
        ("state=gone", "state"),
        ("tag=x", "tag"),
    ] {
        let answer = wharf.ask(&format!("GET /api/v1/sessions?{query}"), None).await;
        assert_eq!(answer.refused(422, "invalid")["field"], field);
    }
    wharf.ask("GET /api/v1/sessions?cursor=x", None).await.refused(400, "bad_cursor");
    assert_eq!(wharf.ask("GET /api/v1/sessions", None).await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn hosts_and_origins() {
    let wharf = Running::begin().await;
    let bearer = format!("Bearer {}", wharf.full);
    let get = async |headers: &[(&str, &str)]| send(wharf.at, "GET /api/v1/sessions", headers, "").await;
    let port = wharf.at.port();
    get(&[("Host", "elsewhere")]).await.refused(403, "forbidden");
    get(&[("Host", "wharf.example")]).await.refused(401, "unauthenticated");
    get(&[("Host", &format!("LOCALHOST:{port}"))]).await.refused(401, "unauthenticated");
    get(&[("Host", "elsewhere"), ("Authorization", &bearer)]).await.expect(200);
    let own = format!("http://localhost:{port}");
    get(&[("Origin", &own), ("Authorization", &bearer)]).await.expect(200);
    get(&[("Origin", "https://wharf.example"), ("Authorization", &bearer)]).await.expect(200);
    for origin in ["http://elsewhere", "null", "http://caf\u{e9}"] {
        get(&[("Origin", origin), ("Authorization", &bearer)]).await.refused(403, "forbidden");
    }
    get(&[("Host", "elsewhere"), ("Origin", &own), ("Authorization", &bearer)])
        .await
        .refused(403, "forbidden");
}

#[tokio::test]
async fn a_cookie_acts_only_from_the_page() {
    let wharf = Running::begin().await;
    let answer = wharf.ask("POST /api/v1/login", None).await.expect(200);
    let url = answer["url"].as_str().unwrap();
    assert!(url.starts_with(&format!("http://{}/#/login/", wharf.at)), "{url}");
    let secret = json!({"secret": url.rsplit('/').next().unwrap()}).to_string();
    let signed = send(wharf.at, "POST /api/v1/login", &[], &secret).await;
    signed.expect(200);
    let set = signed.header("set-cookie").expect("a cookie").to_owned();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
    send(wharf.at, "POST /api/v1/login", &[], &secret).await.refused(404, "not_found");
    let cookie = set.split(';').next().unwrap();
    send(wharf.at, "GET /api/v1/sessions", &[("Cookie", cookie)], "").await.expect(200);
    let origin = format!("http://{}", wharf.at);
    let body = json!({"template": "nope"}).to_string();
    let post = async |more: &[(&str, &str)]| {
        let headers = [&[("Cookie", cookie)], more].concat();
        send(wharf.at, "POST /api/v1/sessions", &headers, &body).await
    };
    post(&[]).await.refused(401, "unauthenticated");
    post(&[("X-Wharf-Page", "1")]).await.refused(401, "unauthenticated");
    post(&[("Origin", &origin)]).await.refused(401, "unauthenticated");
    post(&[("Origin", &origin), ("Upgrade", "websocket")]).await.refused(401, "unauthenticated");
    post(&[("Origin", &origin), ("X-Wharf-Page", "1")]).await.refused(422, "unknown_template");
}

#[tokio::test]
async fn scopes() {
    let wharf = Running::begin().await;
    let id = wharf.start().await;
    let read = wharf.token(json!({"scope": "read"})).await;
    for path in ["", "/params", "/history", "/shares"] {
        wharf.with(&read, &format!("GET /api/v1/sessions/{id}{path}"), None).await.expect(200);
    }
    let connect = format!("POST /api/v1/sessions/{id}/connect");
    wharf.with(&read, &connect, Some(json!({}))).await.refused(403, "forbidden");
    let terminate = format!("POST /api/v1/sessions/{id}/terminate");
    wharf.with(&read, &terminate, Some(json!({}))).await.refused(403, "forbidden");
    let guest = wharf.token(json!({"scope": "guest", "user": "bob"})).await;
    wharf.with(&guest, &format!("GET /api/v1/sessions/{id}"), None).await.refused(404, "unknown_session");
    wharf.with(&guest, &connect, Some(json!({}))).await.refused(404, "unknown_session");
    wharf.ask(&connect, Some(json!({}))).await.refused(409, "session_pending");
}

#[tokio::test]
async fn secrets_cannot_be_guessed_for_long() {
    let wharf = Running::begin().await;
    let body = json!({"secret": "wrong"}).to_string();
    for _ in 0..10 {
        send(wharf.at, "POST /api/v1/redeem", &[], &body).await.refused(404, "not_found");
    }
    let answer = send(wharf.at, "POST /api/v1/redeem", &[], &body).await;
    answer.refused(429, "rate_limited");
    assert!(answer.header("retry-after").is_some());
}

#[tokio::test]
async fn heads_have_limits() {
    let wharf = Running::begin().await;
    let many: String = (0..120).map(|n| format!("X-{n}: 1\r\n")).collect();
    let text = format!("GET /healthz HTTP/1.1\r\nConnection: close\r\nHost: {}\r\n{many}\r\n", wharf.at);
    assert_eq!(raw(wharf.at, text.as_bytes()).await.status, 431);
    let mut stream = tokio::net::TcpStream::connect(wharf.at).await.unwrap();
    let text = format!(
        "GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nX-Long: {}\r\n\r\n",
        wharf.at,
        "x".repeat(80 << 10)
    );
    // The server may hang up before all of it is written.
    let _ = stream.write_all(text.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn pages_are_stable() {
    let wharf = Running::begin().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.insert(0, wharf.start().await);
    }
    let page = wharf.ask("GET /api/v1/sessions?limit=2", None).await.expect(200);
    wharf.start().await;
    let cursor = page["next_cursor"].as_str().expect("a next page");
    let rest = wharf.ask(&format!("GET /api/v1/sessions?limit=2&cursor={cursor}"), None).await.expect(200);
    let all: Vec<_> = [&page, &rest].into_iter().flat_map(|page| page["items"].as_array().unwrap()).collect();
    assert_eq!(all.iter().map(|session| session["id"].as_str().unwrap()).collect::<Vec<_>>(), ids);
    assert!(rest["next_cursor"].is_null());
}
