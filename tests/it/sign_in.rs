//! The page's sign-in: what sets the cookie, what the cookie is good for, and what other pages can do with it.

use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::events::Events;
use wharf_tests::websocket::WebSocket;
use wharf_tests::{Http, Launcher, Template};

/// The cookie that an answer sets, as a browser sends it back.
fn cookie(answer: &wharf_tests::http::Answer) -> String {
    let set = answer.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {answer}"));
    for word in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(set.contains(word), "{word}: {set}");
    }
    set.split(';').next().expect("a first part").to_owned()
}

/// The secret of an address that `wharf login` gave.
fn secret(launcher: &Launcher) -> String {
    let login = launcher.cli(&["login", "--output", "json"]).json();
    let url = login["url"].as_str().unwrap_or_else(|| panic!("no address: {login}"));
    let (base, secret) = url.split_once("/#/login/").unwrap_or_else(|| panic!("no fragment: {url}"));
    assert_eq!(base, format!("http://{}", launcher.tcp_host()));
    assert!(login["expires_at"].is_string(), "{login}");
    secret.to_owned()
}

/// A browser that is signed in.
fn signed_in(launcher: &Launcher) -> Http {
    let answer = launcher.tcp(None).post("/login", &json!({"secret": secret(launcher)}));
    assert_eq!(answer.expect(200)["scope"], "full");
    launcher.tcp(None).with("cookie", &cookie(&answer))
}

fn of_page(http: &Http, launcher: &Launcher) -> Http {
    http.clone().with("origin", &format!("http://{}", launcher.tcp_host())).with("x-wharf-page", "1")
}

#[test]
fn an_address_signs_in_once_and_signing_out_ends_it() {
    let launcher = Launcher::start();
    let anybody = launcher.tcp(None);
    let secret = secret(&launcher);
    let answer = anybody.post("/login", &json!({"secret": secret}));
    let user = answer.expect(200);
    anybody.post("/login", &json!({"secret": secret})).problem(404, "not_found");
    anybody.post("/login", &json!({"secret": "whl_guessed"})).problem(404, "not_found");
    anybody.post("/login", &json!({})).problem(401, "unauthenticated");
    anybody.get("/login").problem(401, "unauthenticated");
    let browser = anybody.with("cookie", &cookie(&answer));
    assert_eq!(browser.get("/login").expect(200), user);
    browser.get("/sessions").expect(200);
    let page = of_page(&browser, &launcher);
    let mut events = Events::open(&browser, None);
    let out = page.delete("/login");
    assert_eq!(out.status, 204, "{out}");
    let forgotten = out.header("set-cookie").expect("the cookie is forgotten");
    assert!(forgotten.contains("Max-Age=0"), "{forgotten}");
    browser.get("/sessions").problem(401, "unauthenticated");
    assert!(events.ends(Duration::from_secs(2)), "what it had open is cut");
    // Who asks on the Unix socket is somebody without a token.
    assert_eq!(launcher.http().get("/login").expect(200)["scope"], "full");
    assert!(!launcher.log().contains(&secret), "no secret in the log");
    let printed = launcher.cli(&["login"]);
    assert!(printed.ok().trim().contains("/#/login/whl_"), "{printed}");
}

#[test]
fn a_token_signs_in_and_stays_good_elsewhere() {
    let launcher = Launcher::start();
    let anybody = launcher.tcp(None);
    let token = launcher.token("read", None);
    let answer = anybody.post("/login", &json!({"token": token}));
    assert_eq!(answer.expect(200)["scope"], "read");
    let browser = anybody.clone().with("cookie", &cookie(&answer));
    browser.get("/sessions").expect(200);
    assert_eq!(of_page(&browser, &launcher).delete("/login").status, 204);
    launcher.tcp(Some(&token)).get("/sessions").expect(200);
    anybody.post("/login", &json!({"token": token, "secret": "x"})).problem(422, "invalid");
    for _ in 0..10 {
        anybody.post("/login", &json!({"token": "wht_guessed"})).problem(401, "unauthenticated");
    }
    let slowed = anybody.post("/login", &json!({"token": token}));
    slowed.problem(429, "rate_limited");
    assert!(slowed.retry_after() <= 61, "{slowed}");
}

#[test]
fn the_cookie_counts_for_the_launchers_own_page_only() {
    let launcher = Launcher::with(&Template::working("plain"));
    let browser = signed_in(&launcher);
    let own = format!("http://{}", launcher.tcp_host());
    let start = json!({"template": "plain"});
    // What a page elsewhere can make a browser send.
    browser.post("/sessions", &start).problem(401, "unauthenticated");
    browser.clone().with("origin", &own).post("/sessions", &start).problem(401, "unauthenticated");
    browser.clone().with("x-wharf-page", "1").post("/sessions", &start).problem(401, "unauthenticated");
    let port = launcher.tcp_host().rsplit_once(':').map(|(_, port)| port.to_owned()).expect("a port");
    let lookalikes = [
        "null".to_owned(),
        "https://evil.example".to_owned(),
        format!("{own}.evil.example"),
        format!("{own}0"),
        format!("https://127.0.0.1:{port}"),
        format!("http://x.localhost:{port}"),
        "http://127.0.0.1".to_owned(),
        "http://127.0.0.1:1".to_owned(),
        String::new(),
    ];
    let id = launcher.start_session(&json!({"template": "shell", "command": ["bash"], "tty": true}));
    launcher.await_connected(&id);
    let attach = format!("/sessions/{id}/attach");
    for origin in &lookalikes {
        let elsewhere = browser.clone().with("origin", origin).with("x-wharf-page", "1");
        elsewhere.post("/sessions", &start).problem(403, "forbidden");
        let refused = WebSocket::open(&elsewhere, &attach).expect_err(origin);
        assert_eq!(refused.0, 403, "{origin}: {refused:?}");
    }
    for site in ["same-site", "cross-site"] {
        let elsewhere = browser.clone().with("sec-fetch-site", site);
        elsewhere.get("/sessions").problem(401, "unauthenticated");
    }
    let elsewhere = browser.clone().with("host", "evil.example");
    elsewhere.get("/sessions").problem(403, "forbidden");
    let refused = WebSocket::open(&browser, &attach).expect_err("no origin");
    assert_eq!(refused.0, 401, "{refused:?}");
    let mut terminal = WebSocket::open(&browser.clone().with("origin", &own), &attach).expect("its own page");
    terminal.input(b"echo typed-$((40+2))\n");
    terminal.read_until("typed-42", Duration::from_secs(10));
    // Its own page, under each of the listener's names.
    for name in ["127.0.0.1", "localhost"] {
        let page = browser.clone().with("origin", &format!("http://{name}:{port}")).with("x-wharf-page", "1");
        page.post("/sessions", &start).expect(201);
    }
    let own_fetch = browser.with("sec-fetch-site", "same-origin");
    own_fetch.get("/sessions").expect(200);
}

#[test]
fn without_credentials_every_described_route_answers_401() {
    let launcher = Launcher::start();
    let described = launcher.http().get("/openapi.json").expect(200);
    let anybody = launcher.tcp(None);
    let mut asked = 0;
    for (path, methods) in described["paths"].as_object().expect("paths") {
        let path = path.replace("{id}", "k3v9x2m7q4t8w1z6b5n0").replace("{share}", "k3v9x2m7q4t8w1z6b5n0");
        let path = path.replace("{name}", "shell").replace("{endpoint}", "web");
        for method in methods.as_object().expect("methods").keys() {
            // Each of these two takes a one-time secret.
            if method == "post" && path.ends_with("/redeem") {
                continue;
            }
            let answer = anybody.try_raw(&method.to_uppercase(), &path, Vec::new()).expect("an answer");
            assert_eq!(answer.status, 401, "{method} {path}: {answer}");
            asked += 1;
        }
    }
    assert!(asked > 25, "{asked}");
    for path in ["/metrics", "/api/v1/openapi.json", "/api/v1/none", "/api/", "/monitor/v1/link"] {
        let answer = anybody.try_raw("GET", path, Vec::new()).expect("an answer");
        assert_eq!(answer.status, 401, "{path}: {answer}");
    }
    let guest = launcher.tcp(Some(&launcher.token("guest", Some("bob"))));
    assert_eq!(guest.try_raw("GET", "/metrics", Vec::new()).expect("an answer").status, 403);
}
#[test]
fn the_pages_files_are_served_to_all_with_a_strict_policy() {
    let launcher = Launcher::start();
    let anybody = launcher.tcp(None);
    let page = anybody.try_raw("GET", "/", Vec::new()).expect("an answer");
    assert_eq!(page.status, 200, "{page}");
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{page}");
    let policy = page.header("content-security-policy").expect("a policy");
    for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(page.header(name).as_deref(), Some(value), "{page}");
    }
    let html = page.text();
    assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains(" onclick"), "{html}");
    let mut named = 0;
    for word in html.split('"').filter(|word| word.starts_with('/') && word.len() > 1) {
        let file = anybody.try_raw("GET", word, Vec::new()).expect("an answer");
        assert_eq!(file.status, 200, "{word}: {file}");
        named += 1;
    }
    assert!(named >= 3, "{html}");
    let tag = page.header("etag").expect("a tag");
    let again = anybody.clone().with("if-none-match", &tag).try_raw("GET", "/", Vec::new());
    assert_eq!(again.expect("an answer").status, 304);
    for path in ["/none", "/app/", "/app/../Cargo.toml", "/%2e%2e/Cargo.toml", "/vendor/none.js"] {
        let answer = anybody.try_raw("GET", path, Vec::new()).expect("an answer");
        assert_eq!(answer.status, 404, "{path}: {answer}");
    }
    let posted = anybody.try_raw("POST", "/", Vec::new()).expect("an answer");
    assert_eq!(posted.status, 405, "{posted}");
    let told: Value = anybody.try_raw("GET", "/healthz", Vec::new()).expect("an answer").json();
    assert_eq!(told["status"], "ok");
}
