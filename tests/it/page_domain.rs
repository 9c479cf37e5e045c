//! A site's own domain, with TLS: by the launcher's own listener, or by a proxy in front that passes `Host` on.

use std::time::Duration;

use serde_json::json;
use wharf_tests::websocket::WebSocket;
use wharf_tests::{Answer, Browser, Home, Http, Launcher, Look, Template, application};

use crate::page::{HOSTILE, gets_nothing, place};

const SOON: Duration = Duration::from_secs(20);

struct Scene {
    launcher: Launcher,
    id: String,
}

/// A launcher that has a domain; `listen` beside its own socket.
fn scene(listen: &[&str], port: u16) -> Scene {
    let home = Home::new();
    let tls = home.certificate("DNS:wharf.test,DNS:*.wharf.test");
    let toml = ["web", "other"].map(|name| format!("[connect.{name}]\nkind = \"http\"\nport = {port}\n"));
    let mut builder = Launcher::at(&home)
        .config(&format!("{tls}[web]\ndomain = \"wharf.test\"\n"))
        .template(&Template::working("app").toml(&toml.concat()));
    let socket = format!("unix:{}", home.data().join("run/wharf.sock").display());
    for address in [socket.as_str()].iter().chain(listen) {
        builder = builder.arg("--listen").arg(address);
    }
    let launcher = builder.start();
    let body = json!({"template": "app", "name": "fluid", "command": ["bash", "--norc"], "tty": true});
    let id = launcher.start_session(&body);
    launcher.await_connected(&id);
    Scene { launcher, id }
}

fn get(http: &Http, target: &str) -> Answer {
    http.try_raw("GET", target, Vec::new()).expect("an answer")
}

fn cookie(answer: &Answer, name: &str) -> String {
    let set = answer.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {answer}"));
    assert!(set.starts_with(&format!("{name}=")), "{set}");
    for word in ["; Secure", "; HttpOnly", "; Path=/;"] {
        assert!(set.contains(word), "{word}: {set}");
    }
    assert!(!set.to_lowercase().contains("domain"), "of that host alone: {set}");
    set.split(';').next().expect("a first part").to_owned()
}

impl Scene {
    /// As a proxy passes it on: TLS has ended there.
    fn by_proxy(&self, host: &str) -> Http {
        self.launcher.tcp(None).with("host", host)
    }

    fn login(&self, base: &str) -> String {
        let login = self.launcher.cli(&["login", "--output", "json"]).json();
        let url = login["url"].as_str().expect("an address").to_owned();
        url.strip_prefix(&format!("{base}/#/login/")).unwrap_or_else(|| panic!("{url}")).to_owned()
    }
}

#[test]
fn behind_a_proxy_everything_is_of_the_domain_and_https() {
    let port = application::serve();
    let scene = scene(&["http://127.0.0.1:0"], port);
    let (launcher, id) = (&scene.launcher, &scene.id);
    let own = "https://wharf.test";
    let page = scene.by_proxy("wharf.test").with("origin", own).with("x-wharf-page", "1");
    let answer = page.post("/login", &json!({"secret": scene.login(own)}));
    assert!(answer.expect(200).get("page_token").is_none(), "applications have origins of their own");
    let signed_in = page.with("cookie", &cookie(&answer, "__Host-wharf"));
    signed_in.get("/sessions").expect(200);
    // An application below the domain can set one of another name for all of it, and that counts for nothing.
    let tossed = scene.launcher.token("guest", Some("eve"));
    let mut page = signed_in.clone();
    for (name, value) in &mut page.headers {
        if name == "cookie" {
            *value = format!("wharf={tossed}; {value}");
        }
    }
    assert_eq!(page.get("/login").expect(200)["scope"], "full");
    let share = signed_in.post(&format!("/sessions/{id}/shares"), &json!({"grantee": "link"})).expect(201);
    assert!(
        share["url"].as_str().is_some_and(|url| url.starts_with("https://wharf.test/#/join/")),
        "{share}"
    );
    // Origins that only look like it.
    let attach = format!("/sessions/{id}/attach");
    for origin in [
        "http://wharf.test",
        "https://wharf.test:444",
        "https://wharf.test.evil.example",
        "https://evil-wharf.test",
        "https://x.wharf.test",
        &format!("https://web--{id}.wharf.test"),
        "null",
        "",
    ] {
        let mut page = signed_in.clone();
        page.headers.retain(|(name, _)| name != "origin");
        let page = page.with("origin", origin);
        page.post("/sessions", &json!({"template": "app"})).problem(403, "forbidden");
        assert_eq!(WebSocket::open(&page, &attach).expect_err(origin).0, 403, "{origin}");
    }
    // Hosts that are none of its own, with the cookie and without.
    for host in ["wharf.test.evil.example", "x.wharf.test", "evil-wharf.test", "wharf.test:444", ""] {
        let mut page = signed_in.clone();
        page.headers.retain(|(name, _)| name != "host");
        get(&page.with("host", host), "/api/v1/sessions").problem(403, "forbidden");
        get(&scene.by_proxy(host), "/").problem(403, "forbidden");
    }
    // The application's origin, entered by the address that connect gives there.
    let connection =
        signed_in.post(&format!("/sessions/{id}/connect"), &json!({"endpoint": "web"})).expect(200);
    let url = connection["endpoints"][0]["url"].as_str().expect("an address");
    let host = format!("web--{id}.wharf.test");
    let target = url.strip_prefix(&format!("https://{host}")).unwrap_or_else(|| panic!("{url}"));
    let entered = get(&scene.by_proxy(&host), target);
    assert_eq!((entered.status, entered.header("location")), (303, Some(format!("https://{host}/"))));
    let set = entered.header("set-cookie").expect("a cookie");
    assert!(set.contains("SameSite=Lax"), "{set}");
    let browser = scene.by_proxy(&host).with("cookie", &cookie(&entered, "__Host-wharf-app"));
    let told = get(&browser, "/told").expect(200);
    let headers = told["headers"].to_string();
    assert!(
        headers.contains("[\"x-forwarded-proto\",\"https\"]") && !headers.contains("__Host-wharf"),
        "{headers}"
    );
    assert!(headers.contains(&format!("[\"x-forwarded-host\",\"{host}\"]")), "{headers}");
    let socket = |origin: &str| {
        let page = browser.clone().with("origin", origin);
        WebSocket::open_at(&page, &format!("ws://{host}/socket")).map(drop).map_err(|refused| refused.0)
    };
    assert_eq!(socket(&format!("https://{host}")), Ok(()));
    for origin in [&format!("http://{host}"), own, &format!("https://other--{id}.wharf.test"), "null"] {
        assert_eq!(socket(origin), Err(403), "{origin}");
    }
    // Not one of another endpoint, of no session, or below another domain.
    for host in [format!("other--{id}.wharf.test"), format!("{host}.evil.example"), format!("x.{host}")] {
        let refused =
            get(&scene.by_proxy(&host).with("cookie", &cookie(&entered, "__Host-wharf-app")), "/told");
        assert!(matches!(refused.status, 401 | 403), "{host}: {refused}");
    }
    // The path form leads there, also from an address of the launcher's own.
    let form = get(&signed_in, &format!("/s/{id}/web/lab?x=1"));
    let to = form.header("location").expect("an address");
    assert!(form.status == 303 && to.starts_with(&format!("https://{host}/.wharf/enter?ticket=")), "{form}");
    // By its own address on this host it stays what it was.
    let local =
        launcher.http().post(&format!("/sessions/{id}/connect"), &json!({"endpoint": "web"})).expect(200);
    let local = local["endpoints"][0]["url"].as_str().expect("an address").to_owned();
    assert!(local.starts_with(&format!("http://web--{id}.localhost:")), "{local}");
}

#[test]
fn a_browser_uses_the_domain_with_the_launchers_own_tls() {
    let port = application::page(HOSTILE);
    let scene = scene(&["https://127.0.0.1:0"], port);
    let (_, tls) =
        scene.launcher.origin().rsplit_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).expect("a port");
    let own = format!("https://wharf.test:{tls}");
    let secret = scene.login(&own);
    let rules = "--host-resolver-rules=MAP wharf.test 127.0.0.1, MAP *.wharf.test 127.0.0.1";
    let browser = Browser::start_with(Look::DESK, &[rules, "--ignore-certificate-errors"]);
    browser.go(&format!("{own}/#/login/{secret}"));
    browser.sees("fluid", SOON);
    place(&browser, &format!("#/s/{}", scene.id));
    browser.press("Open the terminal");
    browser.until(
        "the terminal is open",
        SOON,
        "return document.querySelector('.terminal-state')?.textContent === '' && document.querySelector('.xterm-rows') !== null",
        &[],
    );
    browser.types("echo typed-$((40+2))\n");
    let rows = "return document.querySelector('.xterm-rows')?.textContent.includes('typed-42')";
    browser.until("its output", SOON, rows, &[]);
    browser.reload();
    browser.until("the screen is back", SOON, rows, &[]);
    browser.press("Open web");
    browser.newest_window();
    browser.until("the application is there", SOON, "return document.title === 'hostile'", &[]);
    let origin = browser.script("return location.origin", &[]);
    assert_eq!(origin, format!("https://web--{}.wharf.test:{tls}", scene.id));
    // The page's cookie is one of that host alone, though the two are of one site.
    gets_nothing(&browser, &own, &scene.id);
    gets_nothing(&browser, &format!("https://other--{}.wharf.test:{tls}", scene.id), &scene.id);
}
