//! The page where applications share its origin, in a real browser and at an address that is not loopback: what a hostile
//! application of that origin can try, and a notebook that works there.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::{Browser, FarAddress, Home, Launcher, Look, Template, application};

use crate::page::{address, place};
use crate::page_applications::{jupyterlab, listens, runs_a_cell};

const SOON: Duration = Duration::from_secs(20);

/// It is of the page's own origin, and tries what that allows.
const HOSTILE: &str = r#"<!doctype html><title>hostile</title>
<script>
const noted = {};
const note = async (name, work) => {
  try { noted[name] = `got ${await work()}`; } catch (error) { noted[name] = `refused ${error.name} ${error.message}`; }
};
const answered = async (...request) => {
  const answer = await fetch(...request);
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.text();
};
const json = (method, body, token) => ({ method, credentials: "include", body: body && JSON.stringify(body),
  headers: { "Content-Type": "application/json", "X-Wharf-Page": token || "1" } });
const socket = (path, protocols) => new Promise((good, bad) => {
  const one = new WebSocket(`${location.origin.replace("http", "ws")}${path}`, protocols);
  one.onopen = () => good("a socket");
  one.onerror = () => bad(new Error("closed"));
});
const pause = (time) => new Promise((done) => setTimeout(done, time));
const framed = async (path) => {
  const one = document.createElement("iframe");
  one.src = path;
  document.body.append(one);
  await pause(700);
  const title = one.contentDocument?.title;
  one.remove();
  if (!title) throw new Error("nothing in it");
  return title;
};
// What somebody finds who has hold of a window of the page.
const found = (one) => one.history.state?.page || Object.values(one.sessionStorage).join() || Object.values(one.localStorage).join();
window.attack = async (id) => {
  const api = "/api/v1";
  await note("read", () => answered(`${api}/sessions`));
  await note("read as the page", () => answered(`${api}/sessions`, json("GET")));
  await note("who", () => answered(`${api}/login`, json("GET")));
  await note("events", () => answered(`${api}/events`));
  await note("figures", () => answered("/metrics"));
  await note("source", () => new Promise((good, bad) => { const one = new EventSource(`${api}/events`); one.onopen = good; one.onerror = () => bad(new Error("closed")); }));
  await note("start", () => answered(`${api}/sessions`, json("POST", { template: "shell" })));
  await note("exec", () => answered(`${api}/sessions/${id}/exec`, json("POST", { argv: ["true"] })));
  await note("connect", () => answered(`${api}/sessions/${id}/connect`, json("POST", {})));
  await note("sign-in address", () => answered(`${api}/login`, json("POST", {})));
  await note("sign out", () => answered(`${api}/login`, json("DELETE")));
  await note("pass", () => answered(`/open/${id}/other?ticket=wha_x`));
  await note("other", () => answered(`/s/${id}/other/`));
  await note("attach", () => socket(`${api}/sessions/${id}/attach`));
  await note("attach as the page", () => socket(`${api}/sessions/${id}/attach`, ["wharf", "page.1"]));
  await note("module", () => import("/app/api.js").then((api) => api.get("/sessions")));
  await note("frame", () => framed("/"));
  await note("opener", () => window.opener.location.href);
  await note("worker", () => navigator.serviceWorker.register("worker.js", { scope: "/" }));
  await note("worker above", () => navigator.serviceWorker.register("worker.js", { scope: `/s/${id}/` }));
  await note("storage", async () => {
    const kept = [found(window), ...await indexedDB.databases(), ...(window.caches ? await caches.keys() : [])].filter(Boolean);
    if (!kept.length) throw new Error("nothing in it");
    return JSON.stringify(kept);
  });
  await note("entries", () => {
    const kept = window.navigation?.entries().map((one) => one.getState()).filter(Boolean);
    if (!kept?.length) throw new Error("nothing in it");
    return JSON.stringify(kept);
  });
  // A window of the page: without TLS it can be looked into, and there is nothing in it.
  await note("window", async () => {
    const one = window.open("/", "_blank");
    await pause(1500);
    const token = found(one);
    const said = await one.fetch(`${api}/sessions`, json("GET", null, token)).then((answer) => answer.status);
    one.close();
    if (said !== 200) throw new Error(`status ${said}`);
    return said;
  });
  noted.cookie = document.cookie;
  return noted;
};
// From a window that it opened: the tab goes back to the page, which was there before.
window.back = async () => {
  const seen = [];
  const tab = window.opener;
  tab.history.back();
  for (let look = 0; look < 400; look += 1) {
    try {
      const token = found(tab) || (await tab.fetch("/api/v1/sessions", json("GET", null, found(tab))).then((answer) => answer.status)) === 200;
      if (token) seen.push(String(token));
    } catch (error) { if (!seen.includes(error.name)) seen.push(error.name); }
    await pause(5);
  }
  return seen;
};
</script>"#;

struct Scene {
    launcher: Launcher,
    id: String,
    _address: FarAddress,
}

/// With TLS by a certificate that nobody has signed, or without any.
fn scene(scheme: &str) -> Scene {
    let address = FarAddress::new();
    let home = Home::new();
    if scheme == "https" {
        let toml = home.certificate(&format!("IP:{}", address.ip));
        fs::write(home.config(), toml).expect("our own directory takes files");
    }
    let port = application::page(HOSTILE);
    let toml = ["web", "other"].map(|name| format!("[connect.{name}]\nkind = \"http\"\nport = {port}\n"));
    let launcher = Launcher::at(&home)
        .template(&Template::working("app").toml(&toml.concat()))
        .listen(&format!("{scheme}://{}:0", address.ip))
        .start();
    let command = ["bash", "--norc"];
    let id =
        launcher.start_session(&json!({"template": "app", "name": "fluid", "command": command, "tty": true}));
    launcher.await_connected(&id);
    Scene { launcher, id, _address: address }
}

impl Scene {
    fn signed_in(&self) -> Browser {
        let browser = Browser::start_with(Look::DESK, &["--ignore-certificate-errors"]);
        browser.go(&address(&self.launcher));
        browser.sees("fluid", SOON);
        browser
    }

    /// Presses the button in the page, and goes on after the warning.
    fn open(&self, browser: &Browser, name: &str) {
        place(browser, &format!("#/s/{}", self.id));
        browser.press(&format!("Open {name}"));
        browser.newest_window();
        browser.sees("Warning: there is no domain", SOON);
        browser.press(&format!("Open {name}"));
        browser.until("the application is there", SOON, "return document.title === 'hostile'", &[]);
    }
}

fn harmless(name: &str, outcome: &str) -> bool {
    outcome.starts_with("refused") || (name == "cookie" && !outcome.contains("wharf"))
}

/// A hostile application does all that it can; the page and its session notice nothing.
fn stands(scheme: &str) {
    let scene = scene(scheme);
    let browser = scene.signed_in();
    scene.open(&browser, "web");
    let at = browser.script("return location.href", &[]);
    assert_eq!(at, format!("{}/s/{}/web/", scene.launcher.origin(), scene.id));
    let secure = browser.script("return isSecureContext", &[]);
    assert_eq!(secure, scheme == "https");
    let noted = browser.waiting_script("attack(arguments[0]).then(arguments[1])", &[json!(scene.id)]);
    let outcomes = noted.as_object().expect("notes");
    assert_eq!(outcomes.len(), 24, "{noted:#}");
    for (name, outcome) in outcomes {
        assert!(harmless(name, outcome.as_str().unwrap_or_default()), "{name}: {noted:#}");
    }
    // The page's own tab goes on: its API, its events and its terminal.
    browser.window(0);
    browser.press("Terminal");
    let open = "return document.querySelector('.terminal-state')?.textContent === '' && document.querySelector('.xterm-rows') !== null";
    browser.until("the terminal is open", SOON, open, &[]);
    browser.types("echo typed-$((40+2))\n");
    let rows = "return document.querySelector('.xterm-rows')?.textContent.includes('typed-42')";
    browser.until("its output", SOON, rows, &[]);
    place(&browser, "#/");
    scene.launcher.start_session(&json!({"template": "app", "name": "another"}));
    browser.sees("another", SOON);
    // Its tab is led to the application, which opens a window of its own and has the tab go back.
    browser.script("location.href = arguments[0]", &[json!(format!("/s/{}/web/", scene.id))]);
    browser.until("the application is there", SOON, "return document.title === 'hostile'", &[]);
    let kept = browser.script("return found(window) || null", &[]);
    assert_eq!(kept, Value::Null, "what the page left in its tab");
    browser.script("window.open(location.href, '_blank')", &[]);
    browser.newest_window();
    browser.until("its window is there", SOON, "return typeof back === 'function' && opener !== null", &[]);
    let seen = browser.waiting_script("back().then(arguments[0])", &[]);
    let seen: Vec<&str> = seen.as_array().expect("what it saw").iter().filter_map(Value::as_str).collect();
    // Refused, or of no use: whatever else it saw would be a token, or an answer.
    assert!(seen.iter().all(|one| one.ends_with("Error")), "{seen:?}");
    browser.window(0);
    if scheme == "https" {
        // Only the page itself finds its token again in its own history.
        browser.sees("another", SOON);
        browser.reload();
        browser.sees("another", SOON);
    } else {
        browser.sees("This tab is not signed in", SOON);
        browser.picture("shared-not-in-this-tab");
    }
    let sessions = scene.launcher.http().get("/sessions?state=pending,running,ended").expect(200);
    assert_eq!(sessions["items"].as_array().map(Vec::len), Some(2), "{sessions}");
}

#[test]
fn a_hostile_application_of_its_own_origin_gets_nothing() {
    stands("https");
}

#[test]
fn a_hostile_application_of_its_own_origin_gets_nothing_without_tls_either() {
    stands("http");
}

#[test]
fn the_warning_can_be_read_by_all() {
    let scene = scene("http");
    let browser = scene.signed_in();
    place(&browser, &format!("#/s/{}", scene.id));
    browser.press("Open web");
    browser.newest_window();
    browser.sees("Warning: there is no domain", SOON);
    browser.picture("shared-warning");
    let barriers = browser.barriers();
    assert!(barriers.is_empty(), "{barriers}");
    browser.reload();
    browser.sees("was used already", SOON);
    browser.picture("shared-closed");
}

#[test]
fn jupyterlab_works_below_a_path() {
    let address = FarAddress::new();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", jupyterlab().display());
    let launcher = Launcher::builder().env("PATH", &path).listen(&format!("http://{}:0", address.ip)).start();
    let id = launcher.run_session("jupyter", &[]);
    listens(&launcher, &id);
    let browser = Browser::start(Look::DESK);
    browser.go(&self::address(&launcher));
    browser.sees("Sessions", SOON);
    place(&browser, &format!("#/s/{id}"));
    browser.press("Open jupyter");
    browser.newest_window();
    browser.press("Open jupyter");
    runs_a_cell(&browser);
    let at = browser.script("return location.href", &[]);
    let below = format!("{}/s/{id}/jupyter/", launcher.origin());
    assert!(at.as_str().is_some_and(|at| at.starts_with(&below)), "{at}");
    browser.picture("shared-jupyterlab");
}
