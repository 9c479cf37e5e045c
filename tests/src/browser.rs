//! A real browser: Debian's Chromium, driven through its WebDriver, which is JSON over HTTP (W3C WebDriver).
//!
//! Each has a driver and a profile of its own, and takes them with it. Waits look again and again at the page, as
//! [`crate::until`] does; what is seen is kept as pictures below `target/page/`.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{Address, Http};
use crate::wait::{Probe, until};

/// No look at a page may take longer.
const SOON: Duration = Duration::from_secs(30);
/// The check for what keeps people out.
const AXE: &str = include_str!("../vendor/axe-core/axe.min.js");

/// How a browser looks at the page.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Width and height in pixels of the page's own.
    pub size: (u32, u32),
    /// The dark scheme.
    pub dark: bool,
}

impl Look {
    /// A usual window.
    pub const DESK: Self = Self { size: (1200, 850), dark: false };
    /// A phone, at night.
    pub const PHONE: Self = Self { size: (390, 844), dark: true };
}

/// One browser with one window to begin with.
pub struct Browser {
    http: Http,
    /// `/session/ID`.
    session: String,
    driver: Child,
    profile: tempfile::TempDir,
}

impl std::fmt::Debug for Browser {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Browser")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        _ = self.http.clone().within(Duration::from_secs(5)).try_raw("DELETE", &self.session, Vec::new());
        if let Some(group) = i32::try_from(self.driver.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.driver.wait();
    }
}

/// Where what is built goes.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")), PathBuf::from)
}

/// Where pictures go.
fn pictures() -> PathBuf {
    let dir = target().join("page");
    std::fs::create_dir_all(&dir).expect("target/ takes directories");
    dir
}

fn call(http: &Http, method: &str, path: &str, body: &Value) -> Result<Value, String> {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let answer = http.try_raw(method, path, body).map_err(|error| format!("{error:#}"))?;
    let value = answer.json()["value"].take();
    if answer.status == 200 {
        Ok(value)
    } else {
        Err(value["message"].as_str().unwrap_or_default().to_owned())
    }
}

/// The id of an element that a script returned.
fn element(found: &Value) -> &str {
    let id = found.as_object().and_then(|one| one.values().next()).and_then(Value::as_str);
    id.unwrap_or_else(|| panic!("no element: {found}"))
}

impl Browser {
    /// Starts one.
    ///
    /// # Panics
    /// When there is none: `./test` installs the Debian packages `chromium` and `chromium-driver`.
    #[track_caller]
    pub fn start(look: Look) -> Self {
        Self::start_with(look, &[])
    }

    /// Starts one with more of its options.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[track_caller]
    pub fn start_with(look: Look, more: &[&str]) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("Debian's chromium-driver is installed");
        let mut lines = BufReader::new(driver.stdout.take().expect("it is piped")).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let port = port.expect("the driver tells its port");
        // Read on, so that it never waits for us.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let profile = tempfile::tempdir().expect("a directory for the profile");
        let (width, height) = look.size;
        let mut arguments: Vec<String> = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
        ]
        .map(str::to_owned)
        .into();
        arguments.extend(more.iter().map(|&option| option.to_owned()));
        arguments.push(format!("--window-size={width},{height}"));
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        if look.dark {
            arguments.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        let downloads = profile.path().join("downloads");
        let mut options = json!({ "args": arguments, "prefs": { "download.default_directory": downloads } });
        if width < 500 {
            options["mobileEmulation"] = json!({ "deviceMetrics": { "width": width, "height": height, "pixelRatio": 2, "touch": true } });
        }
        let http = Http::new(Address::Tcp(format!("127.0.0.1:{port}"))).within(SOON);
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let made = call(&http, "POST", "/session", &wanted).expect("the browser starts");
        let session = format!("/session/{}", made["sessionId"].as_str().expect("a session's id"));
        Self { http, session, driver, profile }
    }

    fn try_call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        call(&self.http, method, &format!("{}{path}", self.session), body)
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_call(method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path} {body:.200}: {error}\n{}", self.text()))
    }

    fn try_script(&self, script: &str, arguments: &[Value]) -> Result<Value, String> {
        self.try_call("POST", "/execute/sync", &json!({ "script": script, "args": arguments }))
    }

    /// What the page shows, for messages.
    fn text(&self) -> String {
        let shown = self.try_script("return location.href + '\\n' + document.body.innerText", &[]);
        shown.ok().and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Opens an address.
    #[track_caller]
    pub fn go(&self, address: &str) {
        self.call("POST", "/url", &json!({ "url": address }));
    }

    /// Loads the page anew.
    #[track_caller]
    pub fn reload(&self) {
        self.call("POST", "/refresh", &json!({}));
    }

    /// Runs a script in the page; what it returns.
    #[track_caller]
    pub fn script(&self, script: &str, arguments: &[Value]) -> Value {
        self.call("POST", "/execute/sync", &json!({ "script": script, "args": arguments }))
    }

    /// Runs a script that calls its last argument when it is done; what that gets.
    #[track_caller]
    pub fn waiting_script(&self, script: &str, arguments: &[Value]) -> Value {
        self.call("POST", "/execute/async", &json!({ "script": script, "args": arguments }))
    }

    /// Waits until a script returns something that counts as true; what that is.
    #[track_caller]
    pub fn until(&self, what: &str, within: Duration, script: &str, arguments: &[Value]) -> Value {
        until(what, within, || match self.try_script(script, arguments) {
            Ok(Value::Null | Value::Bool(false)) => Probe::NotYet(self.text()),
            Ok(Value::String(text)) if text.is_empty() => Probe::NotYet(self.text()),
            Ok(value) => Probe::Ready(value),
            Err(error) => Probe::NotYet(format!("{error}\n{}", self.text())),
        })
    }

    /// Waits until the page shows that text.
    #[track_caller]
    pub fn sees(&self, text: &str, within: Duration) {
        let script = "return document.body.innerText.includes(arguments[0])";
        self.until(&format!("the page shows {text:?}"), within, script, &[json!(text)]);
    }

    /// Presses what has that role's text: a button, a link, a summary, or the label of a control.
    #[track_caller]
    pub fn press(&self, text: &str) {
        let script = "const shown = (one) => one.checkVisibility() && one.textContent.trim() === arguments[0];\
             const found = [...document.querySelectorAll('dialog[open] button, button, a, summary, label')].find(shown);\
             found?.scrollIntoView({ block: 'center' }); return found || null";
        let found = self.until(&format!("there is {text:?} to press"), SOON, script, &[json!(text)]);
        self.call("POST", &format!("/element/{}/click", element(&found)), &json!({}));
    }

    /// Fills a control, found by its selector.
    #[track_caller]
    pub fn fill(&self, selector: &str, text: &str) {
        let script = "return document.querySelector(arguments[0])";
        let found = self.until(&format!("there is {selector} to fill"), SOON, script, &[json!(selector)]);
        let element = element(&found);
        self.call("POST", &format!("/element/{element}/clear"), &json!({}));
        self.call("POST", &format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// Types on the keyboard, wherever the focus is.
    #[track_caller]
    pub fn types(&self, text: &str) {
        let keys = text.chars().flat_map(|letter| {
            let key = if letter == '\n' { '\u{e007}' } else { letter };
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key }))
        });
        let keys: Vec<Value> = keys.collect();
        self.act(&json!({ "type": "key", "id": "keyboard", "actions": keys }));
    }

    /// Presses keys together, such as shift (`\u{e008}`) and enter (`\u{e007}`).
    #[track_caller]
    pub fn presses(&self, keys: &[char]) {
        let down = keys.iter().map(|key| json!({ "type": "keyDown", "value": key }));
        let up = keys.iter().rev().map(|key| json!({ "type": "keyUp", "value": key }));
        let keys: Vec<Value> = down.chain(up).collect();
        self.act(&json!({ "type": "key", "id": "keyboard", "actions": keys }));
    }

    #[track_caller]
    fn act(&self, source: &Value) {
        self.call("POST", "/actions", &json!({ "actions": [source] }));
    }

    /// Clicks at a place of the page, with the mouse's left (0) or right (2) button.
    #[track_caller]
    pub fn click_at(&self, x: f64, y: f64, button: u8) {
        let (x, y) = (x.round(), y.round());
        let steps = json!([
            { "type": "pointerMove", "x": x, "y": y },
            { "type": "pointerDown", "button": button },
            { "type": "pointerUp", "button": button },
        ]);
        self.act(&json!({ "type": "pointer", "id": "mouse", "actions": steps }));
    }

    /// Goes to the newest window.
    ///
    /// # Panics
    /// When there is no other.
    #[track_caller]
    pub fn newest_window(&self) {
        let window = until("another window", SOON, || {
            let windows = self.call("GET", "/window/handles", &Value::Null);
            match windows.as_array().map_or(&[][..], Vec::as_slice) {
                [_, .., newest] => Probe::Ready(newest.clone()),
                _ => Probe::NotYet("no other window".to_owned()),
            }
        });
        self.call("POST", "/window", &json!({ "handle": window }));
    }

    /// Waits until a file of that name has come whole; where it is.
    #[track_caller]
    pub fn download(&self, name: &str, within: Duration) -> PathBuf {
        let dir = self.profile.path().join("downloads");
        until(&format!("{name} has come"), within, || {
            let there = std::fs::read_dir(&dir).into_iter().flatten().flatten();
            let there: Vec<PathBuf> = there.map(|entry| entry.path()).collect();
            // Until it is whole it has another name.
            let whole = there.len() == 1 && there[0].ends_with(name);
            Probe::when(whole, dir.join(name), || format!("{there:?}"))
        })
    }

    /// Goes to the window that was opened so many windows after the first.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn window(&self, at: usize) {
        let windows = self.call("GET", "/window/handles", &Value::Null);
        self.call("POST", "/window", &json!({ "handle": windows[at] }));
    }

    /// Keeps a picture of what is shown.
    #[track_caller]
    pub fn picture(&self, name: &str) {
        use base64::Engine as _;
        let taken = self.call("GET", "/screenshot", &Value::Null);
        let png = base64::engine::general_purpose::STANDARD.decode(taken.as_str().unwrap_or_default());
        let png = png.expect("a picture in base64");
        std::fs::write(pictures().join(format!("{name}.png")), png).expect("target/ takes files");
    }

    /// Serious findings of the check for what keeps people out, one a line; none: empty.
    #[track_caller]
    pub fn barriers(&self) -> String {
        self.script(AXE, &[]);
        let script = "const done = arguments[0]; axe.run().then((found) => done(found.violations\
             .filter((one) => ['serious', 'critical'].includes(one.impact))\
             .map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => node.html).join(' | ')}`).join('\\n')))";
        self.waiting_script(script, &[]).as_str().unwrap_or("no answer").to_owned()
    }
}
