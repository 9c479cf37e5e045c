//! Applications at the page's own origin, where there is no other: for the owner, after a warning; and an API that takes
//! nothing there which a browser sends by itself.

use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::websocket::{Received, WebSocket};
use wharf_tests::{Answer, FarAddress, Http, Launcher, Template, application};

const SOON: Duration = Duration::from_secs(10);
/// A large body.
const LARGE: usize = 64 << 20;

struct Scene {
    launcher: Launcher,
    id: String,
    _address: FarAddress,
}

/// A launcher that other hosts reach, without a domain, and a session with applications.
fn scene() -> Scene {
    let address = FarAddress::new();
    let port = application::serve();
    let toml = format!(
        "[connect.web]\nkind = \"http\"\nport = {port}\n[connect.other]\nkind = \"http\"\nport = {port}\n\
         [connect.below]\nkind = \"http\"\nport = {port}\nprefix = true\n"
    );
    let template = Template::working("app").toml(&toml);
    let launcher =
        Launcher::builder().template(&template).listen(&format!("http://{}:0", address.ip)).start();
    let command = ["sh", "-c", "echo at $WHARF_PREFIX_BELOW; exec sleep 1000"];
    let id = launcher.start_session(&json!({"template": "app", "command": command, "tty": true}));
    launcher.await_connected(&id);
    Scene { launcher, id, _address: address }
}

/// The cookie that an answer sets, as a browser sends it back.
fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {answer}"));
    set.split(';').next().expect("a first part").to_owned()
}

fn get(http: &Http, target: &str) -> Answer {
    http.try_raw("GET", target, Vec::new()).expect("an answer")
}

impl Scene {
    /// A tab that signs in: its cookie, and the token that it is told.
    fn sign_in(&self) -> (String, String) {
        let login = self.launcher.http().post("/login", &json!({})).expect(200);
        let url = login["url"].as_str().expect("an address");
        let (base, secret) = url.split_once("/#/login/").expect("a fragment");
        assert_eq!(base, self.launcher.origin());
        let answer = self.browser().post("/login", &json!({"secret": secret}));
        let told = answer.expect(200)["page_token"].as_str().expect("a page token").to_owned();
        (cookie(&answer), told)
    }

    /// What any page of that origin can send.
    fn browser(&self) -> Http {
        self.launcher.tcp(None).with("origin", &self.launcher.origin())
    }

    /// The page.
    fn page(&self) -> Http {
        let (cookie, token) = self.sign_in();
        self.browser().with("cookie", &cookie).with("x-wharf-page", &token)
    }

    fn path(&self, rest: &str) -> String {
        format!("/sessions/{}{rest}", self.id)
    }

    fn form(&self, rest: &str) -> String {
        format!("/s/{}/{rest}", self.id)
    }

    /// The address that `connect` gives, below the origin.
    fn entrance(&self, by: &Http, endpoint: &str) -> String {
        let connection = by.post(&self.path("/connect"), &json!({ "endpoint": endpoint })).expect(200);
        let url = connection["endpoints"][0]["url"].as_str().expect("an address").to_owned();
        url.strip_prefix(&self.launcher.origin()).expect("of this origin").to_owned()
    }

    /// The cookie of an owner who has read the warning and gone on.
    fn pass(&self, endpoint: &str) -> String {
        let question = self.entrance(&self.page(), endpoint);
        cookie(&self.confirm(&question))
    }

    /// Says yes.
    fn confirm(&self, question: &str) -> Answer {
        let warning = get(&self.browser(), question);
        assert_eq!(warning.status, 200, "{warning}");
        let text = warning.text();
        let ticket = text.split("name=\"ticket\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        let (path, _) = question.split_once('?').expect("a ticket");
        let form = format!("ticket={}", ticket.expect("a ticket in the form"));
        self.browser().try_raw("POST", path, form.into_bytes()).expect("an answer")
    }
}

#[test]
fn the_api_takes_no_cookie_without_the_tabs_own_token() {
    let scene = scene();
    let (cookie, token) = scene.sign_in();
    let (_, of_another) = scene.sign_in();
    let page = scene.browser().with("cookie", &cookie);
    let paths = ["/api/v1/sessions", "/api/v1/login", "/api/v1/events", "/metrics", "/api/v1/openapi.json"];
    let attach = scene.path("/attach");
    for shown in [None, Some("1"), Some(""), Some(of_another.as_str()), Some("wht_guessed")] {
        let same = shown.map_or(page.clone(), |shown| page.clone().with("x-wharf-page", shown));
        for path in paths {
            let refused = get(&same, path).problem(401, "unauthenticated");
            assert_eq!(refused["field"], "X-Wharf-Page", "{path} {shown:?}");
        }
        // As a browser asks without saying an origin.
        let mut plain = same.clone();
        plain.headers.retain(|(name, _)| name != "origin");
        get(&plain.with("sec-fetch-site", "same-origin"), "/api/v1/sessions").problem(401, "unauthenticated");
        same.post("/sessions", &json!({"template": "app"})).problem(401, "unauthenticated");
        same.post("/login", &json!({})).problem(401, "unauthenticated");
        same.delete("/login").problem(401, "unauthenticated");
        let offered = shown.unwrap_or("binary");
        for protocols in [offered.to_owned(), format!("wharf, page.{offered}")] {
            let socket = same.clone().with("sec-websocket-protocol", &protocols);
            let refused = WebSocket::open(&socket, &attach).expect_err("no token");
            assert_eq!(refused.0, 401, "{protocols} {refused:?}");
        }
        // Nor in the address.
        let in_query = format!("/api/v1/sessions?page={token}&x-wharf-page={token}");
        get(&same, &in_query).problem(401, "unauthenticated");
    }
    let own = page.clone().with("x-wharf-page", &token);
    for path in paths.into_iter().filter(|path| !path.ends_with("events")) {
        assert_eq!(get(&own, path).status, 200, "{path}");
    }
    assert!(own.get("/login").expect(200).get("page_token").is_none(), "told at the sign-in alone");
    let socket = page.clone().with("sec-websocket-protocol", &format!("wharf, page.{token}"));
    let mut terminal = WebSocket::open(&socket, &attach).expect("its own tab");
    terminal.read_until("at /s/", SOON);
    // Scripts are no browsers.
    let full = scene.launcher.token("full", None);
    scene.launcher.tcp(Some(&full)).get("/sessions").expect(200);
    // A token that is handed in, and a link's secret, sign a tab in the same way.
    let answer = scene.browser().post("/login", &json!({"token": full}));
    assert!(answer.expect(200)["page_token"].is_string());
    let share = scene.launcher.http().post(&scene.path("/shares"), &json!({"grantee": "link"})).expect(201);
    let secret = share["url"].as_str().and_then(|url| url.split_once("/#/join/")).expect("an address").1;
    let answer = scene.browser().post("/redeem", &json!({"secret": secret}));
    let guest = answer.expect(200);
    let guest = scene
        .browser()
        .with("cookie", &self::cookie(&answer))
        .with("x-wharf-page", guest["page_token"].as_str().expect("a page token"));
    assert_eq!(guest.get(&scene.path("")).expect(200)["id"], scene.id.as_str());
    // A sign-in that is over takes its token along.
    assert_eq!(own.delete("/login").status, 204);
    own.get("/sessions").problem(401, "unauthenticated");
}

#[test]
fn an_application_opens_to_its_owner_after_a_warning() {
    let scene = scene();
    let page = scene.page();
    let question = scene.entrance(&page, "web");
    let warning = get(&scene.browser().with("accept", "text/html"), &question);
    assert_eq!(warning.status, 200, "{warning}");
    let text = warning.text();
    assert!(
        text.contains("Warning") && text.contains(&scene.id) && !text.contains("an application"),
        "{text}"
    );
    assert!(!text.contains(question.split_once('=').expect("a ticket").1), "that one is spent");
    assert_eq!(warning.header("set-cookie"), None);
    let policy = warning.header("content-security-policy").expect("a policy");
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"), "{policy}");
    assert_eq!(warning.header("x-frame-options").as_deref(), Some("DENY"));
    assert_eq!(warning.header("cross-origin-opener-policy").as_deref(), Some("same-origin"));
    // Read a second time, guessed, of another application, or asked for elsewhere, it opens nothing.
    get(&scene.browser(), &question).problem(401, "unauthenticated");
    let again = get(&scene.browser().with("accept", "text/html"), &question);
    assert!(again.status == 401 && again.text().contains("was used already"), "{again}");
    let other = scene.entrance(&page, "web").replace("/web?", "/other?");
    get(&scene.browser(), &other).problem(401, "unauthenticated");
    for path in [format!("/open/{}/web", scene.id), format!("/open/{}/web?ticket=wha_guessed", scene.id)] {
        get(&scene.browser(), &path).problem(401, "unauthenticated");
        let posted = scene.browser().try_raw("POST", &path, b"ticket=wha_guessed".to_vec());
        posted.expect("an answer").problem(401, "unauthenticated");
    }
    let foreign = scene.launcher.tcp(None).with("origin", "null");
    let target = scene.entrance(&page, "web");
    foreign.try_raw("POST", &target, Vec::new()).expect("an answer").problem(403, "forbidden");
    let confirmed = scene.confirm(&scene.entrance(&page, "web"));
    assert_eq!(confirmed.status, 303, "{confirmed}");
    assert_eq!(confirmed.header("location"), Some(scene.form("web/")));
    let set = confirmed.header("set-cookie").expect("a pass");
    for word in [format!("Path=/s/{}/web;", scene.id), "HttpOnly".to_owned(), "SameSite=Strict".to_owned()] {
        assert!(set.contains(&word), "{word}: {set}");
    }
    // Nothing else opens it: not the page's cookie, not even with the page's token.
    let (page_cookie, token) = scene.sign_in();
    let with_page = scene.browser().with("cookie", &page_cookie).with("x-wharf-page", &token);
    for browser in [scene.browser(), with_page] {
        get(&browser, &scene.form("web/")).problem(401, "unauthenticated");
        let shown = get(&browser.with("accept", "text/html,*/*"), &scene.form("web/lab"));
        assert!(shown.status == 401 && shown.text().contains("wharf connect"), "{shown}");
    }
    // And it opens nothing else.
    let pass = cookie(&confirmed);
    let entered = scene.browser().with("cookie", &pass);
    get(&entered, &scene.form("other/")).problem(401, "unauthenticated");
    entered.get("/sessions").problem(401, "unauthenticated");
    assert_eq!(get(&entered, &scene.form("web/")).text(), "an application");
    let slash = get(&entered, &format!("{}?a=b", scene.form("web")));
    assert_eq!((slash.status, slash.header("location")), (308, Some(format!("{}/?a=b", scene.form("web")))));
    get(&entered, &scene.form("w%65b/")).problem(404, "not_found");
    get(&entered, &scene.form("web%22x/")).problem(404, "not_found");
    // One that a page of that origin has put in front is no obstacle.
    let pushed = scene.browser().with("cookie", &format!("wharf-app=junk; {pass}; wharf-app="));
    assert_eq!(get(&pushed, &scene.form("web/")).status, 200);
    // Its sign-in over, the application is closed too.
    let tokens = scene.launcher.http().get("/tokens").expect(200);
    for id in tokens["items"].as_array().expect("tokens").iter().filter_map(|token| token["id"].as_str()) {
        scene.launcher.http().delete(&format!("/tokens/{id}")).expect(204);
    }
    get(&entered, &scene.form("web/")).problem(401, "unauthenticated");
}

#[test]
fn it_is_open_to_nobody_else() {
    let scene = scene();
    let share = json!({"grantee": "user:bob", "role": "control", "exec": true});
    scene.launcher.http().post(&scene.path("/shares"), &share).expect(201);
    let bob = scene.launcher.tcp(Some(&scene.launcher.token("guest", Some("bob"))));
    let address = scene.entrance(&bob, "web");
    assert_eq!(address, scene.form("web/"), "without a ticket");
    get(&bob, &address).problem(403, "forbidden");
    let reader = scene.launcher.tcp(Some(&scene.launcher.token("read", None)));
    get(&reader, &address).problem(403, "forbidden");
    let stranger = scene.launcher.tcp(Some(&scene.launcher.token("guest", Some("eve"))));
    get(&stranger, &address).problem(404, "unknown_session");
    get(&scene.launcher.tcp(None), &address).problem(401, "unauthenticated");
    // The owner's scripts need no warning.
    let full = scene.launcher.tcp(Some(&scene.launcher.token("full", None)));
    assert_eq!(get(&full, &address).text(), "an application");
    assert_eq!(get(&scene.launcher.http(), &address).text(), "an application");
}

#[test]
fn what_passes_is_confined_to_the_path() {
    let scene = scene();
    let pass = scene.pass("web");
    let (page_cookie, _) = scene.sign_in();
    let browser = scene.browser().with("cookie", &format!("{page_cookie}; theirs=1; {pass}"));
    let told = get(&browser.clone().with("authorization", "Bearer its-own"), &scene.form("web/told?a=b"));
    let told = told.expect(200);
    let headers: Vec<(String, String)> = serde_json::from_value(told["headers"].clone()).expect("pairs");
    let of = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    assert_eq!(told["target"], "/told?a=b");
    assert_eq!(of("cookie"), Some("theirs=1"), "never Wharf's own");
    assert_eq!(of("authorization"), Some("Bearer its-own"));
    assert_eq!(of("x-forwarded-prefix"), Some(scene.form("web").as_str()));
    assert_eq!(of("host"), Some(scene.launcher.tcp_host().as_str()));
    let hostile = get(&browser, &scene.form("web/hostile"));
    let cookies: Vec<_> = hostile.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, [format!("theirs=1; Path={}/", scene.form("web")).as_str()]);
    for dropped in ["service-worker-allowed", "clear-site-data", "nel", "report-to", "alt-svc"] {
        assert_eq!(hostile.header(dropped), None, "{dropped}");
    }
    assert_eq!(hostile.header("cross-origin-opener-policy").as_deref(), Some("unsafe-none"));
    let to = get(&browser, &scene.form("web/to?/lab"));
    assert_eq!(to.header("location"), Some(format!("{}{}", scene.launcher.origin(), scene.form("web/lab"))));
    // One that knows where it lies gets its whole path, and is told so.
    let below = scene.browser().with("cookie", &scene.pass("below"));
    let told = get(&below, &scene.form("below/told?x=1")).expect(200);
    assert_eq!(told["target"], Value::from(scene.form("below/told?x=1")));
    let logs = get(&scene.launcher.http(), &format!("/api/v1{}", scene.path("/logs"))).text();
    assert!(logs.contains(&format!("at {}", scene.form("below"))), "{logs}");
    // WebSockets of this origin alone, streams and large bodies.
    let socket = |http: &Http| {
        WebSocket::open_at(http, &format!("ws://{}{}", scene.launcher.tcp_host(), scene.form("web/socket")))
    };
    let mut echo = socket(&browser).expect("an upgrade");
    assert!(echo.text("\"hello\""));
    assert_eq!(echo.next(SOON), Some(Received::Control(json!("hello"))));
    for origin in ["null", "http://evil.example", &format!("{}.evil.example", scene.launcher.origin())] {
        let elsewhere = scene.launcher.tcp(None).with("cookie", &pass).with("origin", origin);
        assert_eq!(socket(&elsewhere).expect_err("a refusal").0, 403, "{origin}");
        let read = elsewhere.try_raw("POST", &scene.form("web/told"), Vec::new());
        read.expect("an answer").problem(403, "forbidden");
    }
    for site in ["same-site", "cross-site"] {
        let elsewhere = scene.launcher.tcp(None).with("cookie", &pass).with("sec-fetch-site", site);
        get(&elsewhere, &scene.form("web/told")).problem(403, "forbidden");
    }
    let sum = (0..LARGE).fold(0, |sum, place| application::checksum(sum, &[application::byte_at(place)]));
    let large = browser.stream("GET", &scene.form(&format!("web/bytes/{LARGE}"))).rest();
    assert_eq!(large, (LARGE, sum));
    let browser = browser.with("host", &scene.launcher.tcp_host());
    let told = browser.upload(&scene.form("web/told"), LARGE).expect(200);
    assert_eq!((&told["length"], &told["sum"]), (&json!(LARGE), &json!(sum)));
}
