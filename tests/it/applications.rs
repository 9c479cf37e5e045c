//! Web applications inside sessions: each at an origin of its own, relayed whole, and confined to it.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::websocket::{Received, WebSocket};
use wharf_tests::{Answer, Http, Launcher, Probe, Template, application, until};

const SOON: Duration = Duration::from_secs(10);
/// A large body.
const LARGE: usize = 200 << 20;

struct Scene {
    launcher: Launcher,
    id: String,
    port: u16,
}

fn scene() -> Scene {
    let port = application::serve();
    // Somebody who answers, and not in HTTP.
    let noise = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let loud = noise.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in noise.incoming().flatten() {
            _ = stream.read(&mut [0; 1024]);
            _ = stream.write_all(b"RFB 003.008\nand nothing else\r\n\r\n");
        }
    });
    let toml = format!(
        "[connect.web]\nkind = \"http\"\nport = {port}\n[connect.noise]\nkind = \"http\"\nport = {loud}\n\
         [connect.nobody]\nkind = \"http\"\nport = 0\n"
    );
    let launcher = Launcher::with(&Template::working("app").toml(&toml));
    let id = launcher.run_session("app", &[]);
    Scene { launcher, id, port }
}

impl Scene {
    fn host(&self, endpoint: &str) -> String {
        let at = self.launcher.tcp_host();
        let (_, port) = at.rsplit_once(':').expect("HOST:PORT");
        format!("{endpoint}--{}.localhost:{port}", self.id)
    }

    /// The name of the page's own cookie.
    fn page_cookie(&self) -> String {
        let at = self.launcher.tcp_host();
        let (_, port) = at.rsplit_once(':').expect("HOST:PORT");
        format!("wharf-{port}")
    }

    fn path(&self, rest: &str) -> String {
        format!("/sessions/{}{rest}", self.id)
    }

    /// A client of that endpoint's own origin, with no credential.
    fn anybody(&self, endpoint: &str) -> Http {
        self.launcher.tcp(None).with("host", &self.host(endpoint))
    }

    /// The address that `connect` gives.
    fn entrance(&self, by: &Http, endpoint: &str) -> String {
        let connection = by.post(&self.path("/connect"), &json!({ "endpoint": endpoint })).expect(200);
        assert!(connection["expires_at"].is_string(), "{connection}");
        connection["endpoints"][0]["url"].as_str().expect("an address").to_owned()
    }

    /// The cookie that a browser gets by the address that `connect` gives.
    fn cookie(&self, by: &Http, endpoint: &str) -> String {
        let url = self.entrance(by, endpoint);
        let target = url.strip_prefix(&format!("http://{}", self.host(endpoint))).expect("its own origin");
        let answer = get(&self.anybody(endpoint), target);
        assert_eq!(answer.status, 303, "{answer}");
        assert_eq!(answer.header("location"), Some(format!("http://{}/", self.host(endpoint))));
        let cookie = answer.header("set-cookie").expect("a cookie");
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
        assert!(!cookie.to_lowercase().contains("domain"), "of that host only: {cookie}");
        cookie.split(';').next().unwrap_or_default().to_owned()
    }

    /// A browser that has entered.
    fn browser(&self, by: &Http) -> Http {
        self.anybody("web").with("cookie", &format!("theirs=1; {}; more=2", self.cookie(by, "web")))
    }
}

fn get(http: &Http, target: &str) -> Answer {
    http.try_raw("GET", target, Vec::new()).expect("an answer")
}

fn socket(http: &Http, host: &str, target: &str) -> Result<WebSocket, (u16, Value)> {
    WebSocket::open_at(http, &format!("ws://{host}{target}"))
}

/// What an application was told, by name; absent headers are none.
fn told(answer: &Answer) -> (Value, impl Fn(&str) -> Vec<String> + use<>) {
    let told = answer.expect(200);
    let headers: Vec<(String, String)> =
        serde_json::from_value(told["headers"].clone()).expect("pairs of headers");
    let of = move |wanted: &str| {
        headers.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.clone()).collect()
    };
    (told, of)
}

#[test]
fn a_ticket_opens_an_application_once_and_for_its_own_origin() {
    let scene = scene();
    let owner = scene.launcher.http();
    let url = scene.entrance(&owner, "web");
    let target = url.strip_prefix(&format!("http://{}", scene.host("web"))).expect("its own origin");
    assert_eq!(get(&scene.anybody("noise"), target).status, 401, "not of another application");
    assert_eq!(get(&scene.anybody("web"), target).status, 401, "and spent by that");
    for path in ["/", "/told", "/.wharf/enter?ticket=wha_guessed", "/.wharf/enter"] {
        get(&scene.anybody("web"), path).problem(401, "unauthenticated");
    }
    let browser = scene.browser(&owner);
    let (seen, header) = told(&get(&browser, "/told?a=b%20c"));
    assert_eq!((&seen["method"], &seen["target"]), (&json!("GET"), &json!("/told?a=b%20c")));
    assert_eq!(header("cookie"), ["theirs=1; more=2"], "never Wharf's own");
    assert_eq!(header("host"), [scene.host("web")]);
    assert_eq!(header("x-forwarded-host"), [scene.host("web")]);
    assert_eq!(
        (header("x-forwarded-proto"), header("x-forwarded-prefix")),
        (vec!["http".to_owned()], vec![String::new()])
    );
    // Its cookie opens nothing else.
    let pass = scene.cookie(&owner, "web");
    get(&scene.anybody("noise").with("cookie", &pass), "/").problem(401, "unauthenticated");
    scene.launcher.tcp(None).with("cookie", &pass).get("/sessions").problem(401, "unauthenticated");
    let as_token = pass.replacen("wharf-app", &scene.page_cookie(), 1);
    scene.launcher.tcp(None).with("cookie", &as_token).get("/sessions").problem(401, "unauthenticated");
    // An application's own host serves nothing of the API.
    let token = scene.launcher.token("full", None);
    let api = get(&scene.launcher.tcp(Some(&token)).with("host", &scene.host("web")), "/api/v1/sessions");
    assert_eq!((api.status, api.text().as_str()), (200, "an application"));
    // A pass outlives the launcher.
    let Scene { mut launcher, id, port } = scene;
    launcher.kill9();
    launcher.restart();
    launcher.await_connected(&id);
    let scene = Scene { launcher, id, port };
    assert_eq!(get(&scene.anybody("web").with("cookie", &pass), "/").status, 200);
}

#[test]
fn a_token_serves_scripts_and_reaches_no_application() {
    let scene = scene();
    let token = scene.launcher.token("full", None);
    let script = scene.launcher.tcp(Some(&token)).with("host", &scene.host("web"));
    let lied = [
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-for", "1.2.3.4"),
        ("forwarded", "host=evil.example"),
        ("connection", "x-mine"),
        ("x-mine", "of this connection"),
        ("x-kept", "yes"),
        ("cookie", &format!("{}={token}; a=b; wharf={token}", scene.page_cookie())),
    ];
    let liar = lied.iter().fold(script, |http, (name, value)| http.with(name, value));
    let body = vec![7; 100_000];
    let (seen, header) = told(&liar.try_raw("POST", "/told", body.clone()).expect("an answer"));
    assert_eq!((&seen["method"], &seen["length"]), (&json!("POST"), &json!(body.len())));
    assert_eq!(header("x-forwarded-host"), [scene.host("web")]);
    assert_eq!((header("x-kept"), header("cookie")), (vec!["yes".to_owned()], vec!["a=b".to_owned()]));
    for absent in ["authorization", "x-forwarded-for", "forwarded", "x-mine"] {
        assert_eq!(header(absent), [""; 0], "{absent}");
    }
    assert!(!seen.to_string().contains(&token), "{seen}");
    // The application's own authorization is its own business.
    let own = scene.browser(&scene.launcher.http()).with("authorization", "Bearer of-the-application");
    let (_, header) = told(&get(&own, "/told"));
    assert_eq!(header("authorization"), ["Bearer of-the-application"]);
    for wrong in ["wht_wrong", "wht_"] {
        let wrong = scene.anybody("web").with("authorization", &format!("Bearer {wrong}"));
        get(&wrong, "/").problem(401, "unauthenticated");
    }
}

#[test]
fn an_answer_is_confined_to_its_origin() {
    let scene = scene();
    let browser = scene.browser(&scene.launcher.http());
    let answer = get(&browser, "/hostile");
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["theirs=1; Path=/"]);
    for dropped in ["service-worker-allowed", "strict-transport-security", "alt-svc", "keep-alive"] {
        assert_eq!(answer.header(dropped), None, "{dropped}");
    }
    assert_eq!(answer.header("access-control-allow-origin").as_deref(), Some("*"), "its own business");
    let own = format!("http://{}", scene.host("web"));
    for (to, seen) in [
        (format!("http://localhost:{}/a?b", scene.port), format!("{own}/a?b")),
        (format!("http://127.0.0.1:{}/", scene.port), format!("{own}/")),
        ("/lab".to_owned(), "/lab".to_owned()),
        ("http://localhost:1/other".to_owned(), "http://localhost:1/other".to_owned()),
        ("https://example.org/".to_owned(), "https://example.org/".to_owned()),
    ] {
        assert_eq!(get(&browser, &format!("/to?{to}")).header("location"), Some(seen));
    }
    let missing = get(&browser, "/missing");
    assert_eq!((missing.status, missing.text().as_str()), (404, "<h1>of the application</h1>"));
    // What does not answer as HTTP, or not at all, is told as such.
    let token = scene.launcher.token("full", None);
    for endpoint in ["noise", "nobody"] {
        let answer = get(&scene.launcher.tcp(Some(&token)).with("host", &scene.host(endpoint)), "/");
        answer.problem(502, "endpoint_failed");
    }
    let unknown = get(&scene.launcher.tcp(Some(&token)).with("host", &scene.host("absent")), "/");
    unknown.problem(404, "unknown_endpoint");
}

#[test]
fn pages_of_other_origins_are_turned_away() {
    let scene = scene();
    let browser = scene.browser(&scene.launcher.http());
    let own = format!("http://{}", scene.host("web"));
    let look_alike = format!("http://{}.evil.example", scene.host("web"));
    let api = format!("http://{}", scene.launcher.tcp_host());
    for origin in
        ["null", "https://evil.example", &look_alike, &api, &format!("http://{}", scene.host("noise"))]
    {
        let page = browser.clone().with("origin", origin);
        get(&page, "/told").problem(403, "forbidden");
        page.try_raw("POST", "/told", b"x".to_vec()).expect("an answer").problem(403, "forbidden");
        let refused = socket(&page, &scene.host("web"), "/socket").expect_err("a refusal");
        assert_eq!(refused.0, 403, "{origin}");
    }
    assert_eq!(get(&browser.clone().with("origin", &own), "/told").status, 200);
    // What browsers say by themselves: a frame or a picture of another application, and a link that is followed.
    let from = |site: &str, mode: &str, dest: &str| {
        let page = browser.clone().with("sec-fetch-site", site).with("sec-fetch-mode", mode);
        get(&page.with("sec-fetch-dest", dest), "/told").status
    };
    assert_eq!(from("same-site", "no-cors", "image"), 403);
    assert_eq!(from("cross-site", "navigate", "iframe"), 403);
    assert_eq!(from("cross-site", "navigate", "document"), 200);
    assert_eq!(from("same-origin", "cors", "empty"), 200);
    // And a page of the application may not act on the API with what its viewer has.
    let token = scene.launcher.token("full", None);
    let cookie = format!("{}={token}", scene.page_cookie());
    let page = scene.launcher.tcp(None).with("cookie", &cookie).with("origin", &own);
    page.get("/sessions").problem(403, "forbidden");
    let forged = page.with("x-wharf-page", "1");
    forged.post(&scene.path("/terminate"), &json!({})).problem(403, "forbidden");
    let refused = WebSocket::open(&forged, &scene.path("/exec")).expect_err("a refusal");
    assert_eq!(refused.0, 403);
}

#[test]
fn sockets_and_streams_pass_count_and_are_cut() {
    let scene = scene();
    let launcher = &scene.launcher;
    let counted = |wanted: u64| {
        until("they are counted", SOON, || {
            let session = launcher.session(&scene.id);
            Probe::when(session["connections"] == wanted, (), || session.to_string())
        });
    };
    let share = json!({"grantee": "user:bob", "role": "control"});
    let share = launcher.http().post(&scene.path("/shares"), &share).expect(201);
    let bob = launcher.tcp(Some(&launcher.token("guest", Some("bob"))));
    let page = scene.browser(&bob).with("origin", &format!("http://{}", scene.host("web")));
    let mut echo = socket(&page, &scene.host("web"), "/socket").expect("an upgrade");
    for message in ["hello", "again"] {
        assert!(echo.text(&format!("\"{message}\"")));
        assert_eq!(echo.next(SOON), Some(Received::Control(json!(message))));
    }
    assert!(echo.data(9, &vec![1; 900_000]));
    assert_eq!(echo.next(SOON), Some(Received::Data(9, vec![1; 900_000])));
    counted(1);
    let mut ticks = page.stream("GET", "/ticks");
    assert!(ticks.read_some(SOON).starts_with(b"data: tick"));
    counted(2);
    let seen = launcher.http().get(&scene.path("/connections")).expect(200);
    let first = &seen["items"][0];
    assert_eq!(
        (&first["user"], &first["kind"], &first["endpoint"]),
        (&json!("bob"), &json!("application"), &json!("web"))
    );
    assert!(first["since"].is_string() && seen["items"].as_array().map(Vec::len) == Some(2), "{seen}");
    bob.get(&scene.path("/connections")).problem(403, "forbidden");
    // One user is dropped, and may come back.
    let dropped = launcher.http().post(&scene.path("/disconnect"), &json!({"user": "bob"})).expect(200);
    assert_eq!(dropped["disconnected"], 2);
    ticks.ends_broken(Duration::from_secs(1));
    assert!(matches!(echo.next(Duration::from_secs(1)), Some(Received::Gone | Received::Closed(_))));
    counted(0);
    let mut ticks = page.stream("GET", "/ticks");
    ticks.read_some(SOON);
    // Unshared, he is out within a second.
    let path = scene.path(&format!("/shares/{}", share["id"].as_str().expect("an id")));
    launcher.http().delete(&path).expect(204);
    ticks.ends_broken(Duration::from_secs(1));
    get(&page, "/told").problem(404, "unknown_session");
}

#[test]
fn who_may_only_look_uses_no_application() {
    let scene = scene();
    let launcher = &scene.launcher;
    let bob = launcher.tcp(Some(&launcher.token("guest", Some("bob"))));
    let at = bob.clone().with("host", &scene.host("web"));
    get(&at, "/").problem(404, "unknown_session");
    launcher.http().post(&scene.path("/shares"), &json!({"grantee": "user:bob", "role": "view"})).expect(201);
    get(&at, "/").problem(403, "forbidden");
    bob.post(&scene.path("/connect"), &json!({})).problem(403, "forbidden");
    let reader = launcher.tcp(Some(&launcher.token("read", None))).with("host", &scene.host("web"));
    get(&reader, "/").problem(403, "forbidden");
    // The path form is the owner's, and leads to the origin.
    let form = format!("/s/{}/web/told?x=1", scene.id);
    get(&launcher.tcp(None), &form).problem(401, "unauthenticated");
    get(&bob, &form).problem(403, "forbidden");
    let token = launcher.token("full", None);
    let answer = get(&launcher.tcp(Some(&token)), &form);
    assert_eq!(answer.status, 303, "{answer}");
    let to = answer.header("location").expect("an address");
    let target = to.strip_prefix(&format!("http://{}", scene.host("web"))).expect("the origin").to_owned();
    let entered = get(&scene.anybody("web"), &target);
    assert_eq!(entered.header("location"), Some(format!("http://{}/told?x=1", scene.host("web"))));
    // Its token revoked, a browser that came by it is out.
    let cookie = scene.cookie(&launcher.tcp(Some(&token)), "web");
    let browser = scene.anybody("web").with("cookie", &cookie);
    assert_eq!(get(&browser, "/").status, 200);
    let tokens = launcher.http().get("/tokens").expect(200);
    for id in tokens["items"].as_array().expect("tokens").iter().filter_map(|token| token["id"].as_str()) {
        launcher.http().delete(&format!("/tokens/{id}")).expect(204);
    }
    get(&browser, "/").problem(401, "unauthenticated");
}

#[test]
fn large_bodies_pass_whole_in_bounded_memory() {
    let scene = scene();
    let browser = scene.browser(&scene.launcher.http());
    let before = memory(scene.launcher.pid());
    let (length, sum) = browser.stream("GET", &format!("/bytes/{LARGE}")).rest();
    let expected =
        (0..LARGE).fold(0, |sum, place| application::checksum(sum, &[application::byte_at(place)]));
    assert_eq!((length, sum), (LARGE, expected));
    let told = browser.upload("/told", LARGE).expect(200);
    assert_eq!((&told["length"], &told["sum"]), (&json!(LARGE), &json!(expected)));
    // A client that stops reading holds nothing but its own stream up.
    let mut slow = browser.stream("GET", &format!("/bytes/{LARGE}"));
    slow.read_some(SOON);
    assert_eq!(get(&browser, "/told").status, 200);
    let grown = memory(scene.launcher.pid()).saturating_sub(before);
    assert!(grown < 64 << 20, "the launcher grew by {grown} bytes");
}

/// Most memory that a process has had, in bytes.
fn memory(pid: i32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a figure");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("a number") << 10
}
