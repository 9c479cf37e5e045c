//! The web page in a real browser: from the form to the terminal, over a restart, by a link, and against a hostile page.

use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::templates::{END, FIND, QUEUE, STATUS};
use wharf_tests::websocket::WebSocket;
use wharf_tests::{Browser, Launcher, Look, Probe, Template, application, until};

pub(crate) const SOON: Duration = Duration::from_secs(20);
const ROWS: &str = "return document.querySelector('.xterm-rows')?.textContent.includes(arguments[0])";
const QUIET: &str = "return document.querySelector('.terminal-state')?.textContent === '' && \
     document.querySelector('.xterm-rows') !== null";

/// A scheduler whose jobs wait, with a reason and a place, until the test lets them run.
fn batch() -> Template {
    let status = STATUS.replace(
        r#"{\"state\":\"$v\"}"#,
        r#"{\"state\":\"$v\",\"reason\":\"waiting for a free machine\",\"position\":3}"#,
    );
    Template::new("batch")
        .hook("submit", QUEUE)
        .hook("find", FIND)
        .hook("status", &status)
        .hook("terminate", END)
        .hook("options", r#"echo '{"result":{"queue":["short","long"]}}'"#)
        .toml(
            "[command]\ndefault = [\"bash\", \"--norc\"]\ntty = true\n\
             [params.cores]\ntype = \"int\"\ntitle = \"Cores\"\nmin = 1\nmax = 8\ndefault = 2\n\
             [params.queue]\ntype = \"string\"\ntitle = \"Queue\"\npattern = \"[a-z]+\"\ngroup = \"Where\"\n",
        )
}

pub(crate) fn address(launcher: &Launcher) -> String {
    let login = launcher.cli(&["login", "--output", "json"]).json();
    login["url"].as_str().expect("an address").to_owned()
}

/// A browser whose owner has followed the address of `wharf login`.
pub(crate) fn signed_in(launcher: &Launcher, look: Look) -> Browser {
    let browser = Browser::start(look);
    let address = address(launcher);
    browser.go(&address);
    browser.sees("Sessions", SOON);
    let left = browser.script("return location.href", &[]);
    assert!(!left.as_str().unwrap_or_default().contains("whl_"), "the secret leaves the address: {left}");
    // What our own policy forbids is noted from now on.
    browser.script(
        "window.violations = []; document.addEventListener('securitypolicyviolation', \
         (one) => violations.push(`${one.violatedDirective} ${one.sourceFile}`))",
        &[],
    );
    browser
}

pub(crate) fn place(browser: &Browser, place: &str) {
    browser.script("location.hash = arguments[0]", &[json!(place)]);
}

/// No serious finding on the screen that is shown, and a picture of it.
pub(crate) fn looked_at(browser: &Browser, name: &str) {
    browser.picture(name);
    let barriers = browser.barriers();
    assert!(barriers.is_empty(), "{name}:\n{barriers}");
}

#[test]
fn from_the_form_to_the_terminal_over_a_reload_and_a_restart() {
    let mut launcher = Launcher::with(&batch());
    let browser = signed_in(&launcher, Look::DESK);
    browser.sees("No session is running", SOON);
    looked_at(&browser, "sessions-empty");
    browser.press("Start a session");
    browser.sees("What shall it be?", SOON);
    place(&browser, "#/start/batch");
    // Each message is at its field, before anything is asked.
    browser.fill("#field-cores", "99");
    browser.fill("#field-name", "fluid");
    let offered = "return document.querySelectorAll('#field-queue-choices option').length === 2";
    browser.until("the choices of the moment", SOON, offered, &[]);
    browser.press("Start the session");
    browser.sees("At most 8.", SOON);
    let focused = browser.script("return document.activeElement.id", &[]);
    assert_eq!(focused, "field-cores");
    looked_at(&browser, "form");
    browser.fill("#field-cores", "4");
    browser.fill("#field-queue", "short");
    browser.press("Start the session");
    browser.sees("Waiting for a free machine.", SOON);
    browser.sees("Place 3 in the queue.", SOON);
    looked_at(&browser, "pending");
    let id = browser.script("return location.hash.split('/')[2]", &[]);
    let id = id.as_str().expect("the session's id").to_owned();
    assert_eq!(launcher.session(&id)["params"], json!({"cores": 4, "queue": "short"}));
    launcher.start_queued(&id);
    browser.sees("Running", SOON);
    browser.press("Terminal");
    browser.until("the terminal is open", SOON, QUIET, &[]);
    browser.types("echo typed-$((40+2))\n");
    browser.until("its output", SOON, ROWS, &[json!("typed-42")]);
    // A colour beyond the palette is drawn by an attribute that the policy does not take as markup.
    browser.types("printf '\\033[38;2;1;2;3mtinted\\033[0m\\n'\n");
    let tinted = "return [...document.querySelectorAll('.xterm-rows span')].some((one) => \
         one.textContent.startsWith('tinted') && getComputedStyle(one).color === 'rgb(1, 2, 3)')";
    browser.until("the colour", SOON, tinted, &[]);
    assert_eq!(browser.script("return violations", &[]), json!([]));
    looked_at(&browser, "terminal");
    // It takes every key but those that lead out of it.
    browser.presses(&['\u{e009}', '\u{e00a}', '.']);
    let out = "return document.activeElement.dataset.key === 'tab-terminal'";
    browser.until("the keyboard leads out", SOON, out, &[]);
    browser.reload();
    browser.until("the screen is back", SOON, ROWS, &[json!("typed-42")]);
    launcher.kill9();
    let lost = "return document.querySelector('.terminal-state')?.textContent";
    browser.until("the page says that it is lost", SOON, lost, &[]);
    browser.sees("The launcher does not answer", SOON);
    browser.picture("lost");
    launcher.restart();
    browser.until("the terminal goes on", SOON, QUIET, &[]);
    browser.until("with its screen", SOON, ROWS, &[json!("typed-42")]);
    browser.types("echo again-$((1+1))\n");
    browser.until("and takes input", SOON, ROWS, &[json!("again-2")]);
    // The two ways out, told apart where one chooses.
    browser.press("End…");
    browser.sees("Ends nothing. While the session answers, this is refused", SOON);
    looked_at(&browser, "ending");
    browser.press("Purge");
    browser.sees("the session answers", SOON);
    browser.press("Terminate");
    browser.sees("Ended", SOON);
    launcher.await_ended(&id, SOON);
}

#[test]
fn a_form_keeps_what_is_typed_over_a_reload_a_restart_and_the_end_of_the_sign_in() {
    let mut launcher = Launcher::with(&batch());
    let browser = signed_in(&launcher, Look::DESK);
    place(&browser, "#/start/batch");
    browser.fill("#field-name", "typed");
    let kept = "return JSON.stringify(history.state || {}).includes('typed')";
    browser.until("it is kept", SOON, kept, &[]);
    browser.reload();
    let typed = "return document.querySelector('#field-name')?.value === 'typed'";
    browser.until("it is there after the reload", SOON, typed, &[]);
    launcher.kill9();
    browser.press("Start the session");
    browser.sees("What you have filled in stays.", SOON);
    looked_at(&browser, "form-lost");
    launcher.restart();
    let tokens = launcher.cli(&["token", "list", "--output", "json"]).json();
    let of_the_page = tokens.as_array().into_iter().flatten().find(|token| token["name"] == "page");
    let id = of_the_page.and_then(|token| token["id"].as_str()).expect("its sign-in is a token");
    launcher.cli(&["token", "revoke", id]).exits(0);
    browser.sees("Your sign-in is over.", SOON);
    looked_at(&browser, "signed-out");
    browser.fill("#token", &launcher.token("full", None));
    browser.press("Sign in");
    browser.until("it is there after the sign-in", SOON, typed, &[]);
    browser.press("Start the session");
    browser.sees("Waiting for a free machine.", SOON);
    assert_eq!(launcher.listed().len(), 1, "pressed twice, it was sent once");
    browser.script("history.back()", &[]);
    let empty = "return document.querySelector('#field-name')?.value === ''";
    browser.until("what was sent is not offered again", SOON, empty, &[]);
}

#[test]
fn every_screen_can_be_used_by_keyboard_on_a_phone_and_in_the_dark() {
    let launcher = Launcher::start();
    let id = launcher.start_session(
        &json!({"template": "shell", "name": "shared", "command": ["bash", "--norc"], "tty": true, "tags": {"project": "fluid"}}),
    );
    launcher.await_connected(&id);
    launcher.http().post(&format!("/sessions/{id}/shares"), &json!({"grantee": "user:bob"})).expect(201);
    launcher.cli(&["template", "test", "shell", "--live"]).exits(0);
    let browser = signed_in(&launcher, Look::PHONE);
    let screens = [
        ("#/", "shared"),
        ("#/ended", "Nothing has ended lately"),
        ("#/start", "Shell on this host"),
        ("#/start/slurm", "Partition"),
        ("#/launcher/activity", "Time in hooks"),
        ("#/launcher/backends", "Answers"),
        ("#/launcher/templates", "JupyterLab on this host"),
    ];
    let tabs = [
        ("overview", "bash --norc"),
        ("logs", "Follow"),
        ("run", "Quotes keep words together"),
        ("parameters", "New parameter"),
        ("sharing", "bob"),
        ("history", "Created"),
    ];
    let tabs = tabs.map(|(tab, text)| (format!("#/s/{id}/{tab}"), text));
    let all = screens.map(|(at, text)| (at.to_owned(), text)).into_iter().chain(tabs);
    for (at, text) in all {
        place(&browser, &at);
        browser.sees(text, SOON);
        let name = at.trim_start_matches("#/").replace(&id, "session").replace('/', "-");
        looked_at(&browser, &format!("phone-{}", if name.is_empty() { "sessions" } else { &name }));
        let wide = browser.script("return document.documentElement.scrollWidth > window.innerWidth", &[]);
        assert_eq!(wide, false, "{at} is wider than a phone");
    }
    assert_eq!(browser.script("return violations", &[]), json!([]));
    // The last test of a template on its scheduler, step by step.
    place(&browser, "#/launcher/templates");
    let open = "const one = document.querySelector('[data-key=report-shell]'); if (!one) return false;\
         one.querySelector('summary').click(); one.scrollIntoView(); return one.innerText.includes('terminate pending')";
    browser.until("its steps", SOON, open, &[]);
    looked_at(&browser, "phone-live-test");
    // Who only reads sees the same, and nothing to change it with.
    let reader = Browser::start(Look::DESK);
    reader.go(&format!("http://{}", launcher.tcp_host()));
    reader.fill("#token", &launcher.token("read", None));
    reader.press("Sign in");
    reader.sees("reads only", SOON);
    place(&reader, &format!("#/s/{id}/sharing"));
    reader.sees("Shared with", SOON);
    let shown = reader.script("return document.querySelector('main').innerText", &[]);
    let shown = shown.as_str().unwrap_or_default();
    for absent in ["Withdraw", "End…", "Terminal", "false"] {
        assert!(!shown.contains(absent), "{absent}: {shown}");
    }
    place(&reader, "#/start");
    reader.sees("Your sign-in only reads", SOON);
    looked_at(&reader, "reader");
    drop(reader);
    // Run, set and share, with the keyboard alone.
    place(&browser, &format!("#/s/{id}/run"));
    browser.until(
        "the focus is in the command",
        SOON,
        "return document.activeElement.id === 'field-argv'",
        &[],
    );
    browser.types("sh -c 'echo ran; exit 3'\n");
    browser.sees("Exit code 3", SOON);
    place(&browser, &format!("#/s/{id}/parameters"));
    browser.fill("#new-name", "note");
    browser.fill("#new-value", "look here");
    browser.types("\n");
    browser.sees("note is set", SOON);
    assert_eq!(launcher.session(&id)["params"]["note"], "look here");
    place(&browser, "#/");
    let reached = "return document.activeElement.dataset?.key === arguments[0]";
    until("the row is reached by the tab key", SOON, || {
        browser.types("\u{e004}");
        Probe::when(browser.script(reached, &[json!(id)]) == true, (), || "another element".to_owned())
    });
    browser.types("\n");
    browser.sees("Open the terminal", SOON);
}

#[test]
fn a_view_only_link_sees_cannot_type_and_is_out_within_a_second() {
    let launcher = Launcher::start();
    let body = json!({"template": "shell", "command": ["bash", "--norc"], "tty": true});
    let (id, other) = (launcher.start_session(&body), launcher.start_session(&body));
    launcher.await_connected(&id);
    let share = launcher.cli(&["share", &id, "--link", "--output", "json"]).json();
    let url = share["url"].as_str().expect("an address");
    let guest = Browser::start(Look::DESK);
    guest.go(url);
    guest.press("Watch the terminal");
    guest.until("the terminal is open", SOON, QUIET, &[]);
    guest.sees("View only", SOON);
    let left = guest.script("return location.href + document.referrer", &[]);
    assert!(!left.to_string().contains("whs_"), "{left}");
    guest.script("document.querySelector('.xterm-helper-textarea').focus()", &[]);
    guest.types("echo guest-$((1+1))\n");
    let mut owner = WebSocket::open(&launcher.http(), &format!("/sessions/{id}/attach")).expect("an upgrade");
    owner.input(b"echo owner-$((2+2))\n");
    guest.until("what the owner types", SOON, ROWS, &[json!("owner-4")]);
    assert_eq!(guest.script(ROWS, &[json!("guest-2")]), false, "a viewer types");
    looked_at(&guest, "view-only");
    place(&guest, &format!("#/s/{other}"));
    guest.sees("There is no such session", SOON);
    place(&guest, &format!("#/s/{id}/terminal"));
    guest.until("the terminal is open again", SOON, QUIET, &[]);
    launcher.cli(&["unshare", &id, share["id"].as_str().expect("an id")]).exits(0);
    guest.sees("no longer shared with you", Duration::from_secs(1));
    guest.picture("withdrawn");
    guest.go("about:blank");
    guest.go(url);
    guest.until(
        "it is asked, or refused",
        SOON,
        "return document.querySelector('h1')?.textContent.match(/Open somebody|does not open/)",
        &[],
    );
    if guest.script("return document.querySelector('h1').textContent", &[]) == "Open somebody's session?" {
        guest.press("Open it");
    }
    guest.sees("This link does not open anything", SOON);
}

/// What a hostile application serves: it tries everything that a page can, and notes how that went.
pub(crate) const HOSTILE: &str = r#"<!doctype html><title>hostile</title><iframe name="sink"></iframe>
<form id="form" method="post" enctype="text/plain" target="sink"><input name='{"template":"shell","x":"' value='"}'></form>
<script>
const api = decodeURIComponent(location.hash.slice(1));
const noted = {};
const note = (name, work) => work.then((value) => { noted[name] = `got ${value}`; }, (error) => { noted[name] = `refused ${error.name}`; });
const socket = (path) => new Promise((good, bad) => {
  const one = new WebSocket(api.replace("http", "ws") + path);
  one.onopen = () => good("a socket");
  one.onerror = () => bad(new Error("closed"));
});
const frame = () => new Promise((good, bad) => {
  const one = document.createElement("iframe");
  one.onload = () => { try { good(one.contentDocument.title || bad(new Error("empty"))); } catch (error) { bad(error); } };
  one.src = api + "/";
  document.body.append(one);
});
window.attack = async (id) => {
  await note("read", fetch(api + "/api/v1/sessions", { credentials: "include" }).then((answer) => answer.text()));
  await note("json", fetch(api + "/api/v1/sessions", { method: "POST", credentials: "include", headers: { "Content-Type": "application/json", "X-Wharf-Page": "1" }, body: '{"template":"shell"}' }).then((answer) => answer.status));
  await note("plain", fetch(api + "/api/v1/sessions", { method: "POST", mode: "no-cors", credentials: "include", body: '{"template":"shell"}' }).then((answer) => answer.status || Promise.reject(new Error("opaque"))));
  await note("socket", socket(`/api/v1/sessions/${id}/attach`));
  await note("frame", frame());
  await note("worker", navigator.serviceWorker.register(api + "/app/main.js", { scope: api + "/" }));
  await note("script", import(api + "/app/api.js"));
  await note("opener", Promise.resolve().then(() => window.opener.location.href));
  form.action = api + "/api/v1/sessions";
  form.submit();
  noted.cookie = document.cookie;
  return noted;
};
</script>"#;

/// The hostile page that is shown tries all that it can against a launcher's address.
#[track_caller]
pub(crate) fn gets_nothing(browser: &Browser, base: &str, id: &str) {
    browser.script("location.hash = arguments[0]; location.reload()", &[json!(base)]);
    let ready = "return typeof attack === 'function' && location.hash !== ''";
    browser.until("the application is there", SOON, ready, &[]);
    let noted = browser.waiting_script("attack(arguments[0]).then(arguments[1])", &[json!(id)]);
    for (name, outcome) in noted.as_object().expect("notes") {
        let outcome = outcome.as_str().unwrap_or_default();
        let harmless = outcome.starts_with("refused") || (name == "cookie" && !outcome.contains("wharf"));
        assert!(harmless, "{base} {name}: {noted}");
    }
    assert!(noted.as_object().is_some_and(|noted| noted.len() == 9), "{noted}");
}

#[test]
fn a_page_inside_a_session_cannot_act_with_its_viewers_rights() {
    let port = application::page(HOSTILE);
    let toml = format!("[connect.web]\nkind = \"http\"\nport = {port}\n");
    let launcher = Launcher::with(&Template::working("app").toml(&toml));
    let id = launcher.run_session("app", &[]);
    let browser = signed_in(&launcher, Look::DESK);
    place(&browser, &format!("#/s/{id}"));
    browser.press("Open web");
    browser.newest_window();
    browser.until("the application is there", SOON, "return document.title === 'hostile'", &[]);
    let origin = browser.script("return location.origin", &[]);
    let own = format!("http://{}", launcher.tcp_host());
    assert!(origin.as_str().is_some_and(|origin| origin.contains("web--") && origin != own), "{origin}");
    for base in [own.clone(), own.replace("127.0.0.1", "localhost")] {
        gets_nothing(&browser, &base, &id);
    }
    let sessions = launcher.http().get("/sessions?state=pending,running,ended").expect(200);
    let items = sessions["items"].as_array().map_or(&[][..], Vec::as_slice);
    assert_eq!(items.iter().map(|one| &one["id"]).collect::<Vec<&Value>>(), [&json!(id)], "{sessions}");
}
