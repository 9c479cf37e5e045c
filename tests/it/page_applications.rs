//! Desktops and notebooks in a real browser, from the form of the page to a window that is clicked and a cell that runs:
//! on this host, in containers, as jobs of a real Slurm.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use wharf_tests::images::Images;
use wharf_tests::{Browser, Launcher, Look, Probe, Proxy, Registry, Slurm, Template, until};

use crate::page::{SOON, looked_at, place, signed_in};

/// Until a job runs, and what is in it answers.
const RUNS: Duration = Duration::from_secs(60);
/// Of the download.
const LARGE: u64 = 200 << 20;

/// Presses the form's button; the new session's id.
#[track_caller]
fn press_start(browser: &Browser) -> String {
    browser.press("Start the session");
    let id = "const [at, id] = location.hash.slice(2).split('/'); return at === 's' && id";
    let id = browser.until("the new session is shown", SOON, id, &[]);
    id.as_str().unwrap_or_default().to_owned()
}

/// Opens the desktop, clicks into its first window and types there, and opens the menu of its background.
#[track_caller]
fn use_desktop(launcher: &Launcher, browser: &Browser, id: &str, name: &str) {
    browser.press("Open the desktop");
    let window = "const canvas = document.querySelector('.desktop-place canvas'); if (!canvas || canvas.width < 2) return false;\
         const data = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);\
         const white = data.filter((one) => one === 0xffffffff).length; return white > 20000 && white";
    let before = browser.until("a window is on the desktop", RUNS, window, &[]);
    browser.picture(name);
    // A click into the window gives it the keyboard; its shell may still be starting.
    let middle = "const canvas = document.querySelector('.desktop-place canvas'), box = canvas.getBoundingClientRect();\
         const data = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);\
         let [x, y, count] = [0, 0, 0];\
         data.forEach((one, at) => { if (one === 0xffffffff) { x += at % canvas.width; y += Math.floor(at / canvas.width); count += 1; } });\
         return [box.x + x / count * box.width / canvas.width, box.y + y / count * box.height / canvas.height]";
    let at = browser.script(middle, &[]);
    let (x, y) = (at[0].as_f64().expect("a place"), at[1].as_f64().expect("a place"));
    let seen = format!("/tmp/seen-{id}");
    until("the window takes what is typed", SOON, || {
        browser.click_at(x, y, 0);
        browser.types(&format!("touch {seen}\n"));
        let done = launcher.exec(id, &["rm", &seen]);
        Probe::when(done["exit_code"] == 0, (), || done.to_string())
    });
    // A click on the background opens the window manager's menu.
    let at = browser.script("const box = document.querySelector('.desktop-place canvas').getBoundingClientRect(); return [box.x + box.width - 30, box.y + box.height - 30]", &[]);
    let (x, y) = (at[0].as_f64().expect("a place"), at[1].as_f64().expect("a place"));
    browser.click_at(x, y, 2);
    let menu = "const canvas = document.querySelector('.desktop-place canvas');\
         const data = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);\
         return data.filter((one) => one === 0xffffffff).length !== arguments[0]";
    browser.until("the background's menu", SOON, menu, &[before]);
    looked_at(browser, &format!("{name}-menu"));
    browser.presses(&['\u{e009}', '\u{e00a}', '.']);
    let out = "return document.activeElement.dataset.key === 'tab-desktop'";
    browser.until("the keyboard leads out", SOON, out, &[]);
    assert_eq!(browser.script("return violations", &[]), json!([]));
}

/// Waits until a session's JupyterLab does.
#[track_caller]
pub(crate) fn listens(launcher: &Launcher, id: &str) {
    let socket = "test -S \"${WHARF_SOCKET_JUPYTER:-/run/wharf/jupyter.sock}\"";
    until("JupyterLab listens", RUNS, || {
        let there = launcher.exec(id, &["sh", "-c", socket]);
        Probe::when(there["exit_code"] == 0, (), || there.to_string())
    });
}

/// Opens a notebook in the JupyterLab that is shown, and runs a cell.
#[track_caller]
pub(crate) fn runs_a_cell(browser: &Browser) {
    let card = "const card = document.querySelector('.jp-LauncherCard[data-category=Notebook]'); card?.click(); return card !== null";
    browser.until("JupyterLab offers a notebook", RUNS, card, &[]);
    let ready = "const cell = document.querySelector('.jp-Notebook .jp-CodeCell .cm-content'); cell?.focus(); \
         return cell !== null && document.querySelector('.jp-Notebook-ExecutionIndicator[data-status=idle]') !== null";
    browser.until("its kernel answers over a WebSocket", RUNS, ready, &[]);
    // It moves the focus about while it opens: typed where the focus is, until it is in the cell.
    let cell = "const cell = document.querySelector('.jp-Notebook .jp-CodeCell .cm-content'); cell.focus(); return cell.innerText.trim()";
    let output = "return [...document.querySelectorAll('.jp-OutputArea-output')].some((one) => one.innerText.trim() === '42')";
    until("the cell's output", SOON, || {
        if browser.script(output, &[]) == true {
            return Probe::Ready(());
        }
        let typed = browser.script(cell, &[]);
        if typed == "" {
            browser.types("6*7");
        } else if typed == "6*7" {
            browser.presses(&['\u{e008}', '\u{e007}']);
        }
        Probe::NotYet(typed.to_string())
    });
}

/// Opens JupyterLab in its tab, and runs a cell of a new notebook there.
#[track_caller]
fn use_notebook(launcher: &Launcher, browser: &Browser, id: &str, name: &str) {
    listens(launcher, id);
    browser.press("Open jupyter");
    browser.newest_window();
    runs_a_cell(browser);
    browser.picture(name);
    let shown = browser.script("return document.cookie", &[]);
    assert!(!shown.to_string().contains("wharf"), "{shown}");
}

/// JupyterLab in an environment of its own below `target/`, made once; its directory of programs.
pub(crate) fn jupyterlab() -> PathBuf {
    let dir = wharf_tests::browser::target().join("jupyter");
    let ready = dir.join("ready");
    if !ready.exists() {
        _ = std::fs::remove_dir_all(&dir);
        let pip = dir.join("bin/pip");
        let make: [(&std::ffi::OsStr, &[&str]); 2] = [
            ("/usr/bin/python3".as_ref(), &["-m", "venv", &dir.to_string_lossy()]),
            (pip.as_ref(), &["install", "--quiet", "--no-cache-dir", "jupyterlab==4.*"]),
        ];
        for (program, arguments) in make {
            let done = Command::new(program).args(arguments).status().expect("python3-venv is installed");
            assert!(done.success(), "{program:?} {arguments:?}: {done}");
        }
        std::fs::write(&ready, "").expect("target/ takes files");
    }
    dir.join("bin").canonicalize().expect("it was made")
}

#[test]
fn a_desktop_on_this_host_takes_clicks_and_keys() {
    let launcher = Launcher::start();
    let id = launcher.run_session("desktop", &[]);
    let browser = signed_in(&launcher, Look::DESK);
    place(&browser, &format!("#/s/{id}"));
    use_desktop(&launcher, &browser, &id, "desktop");
    let outcome = launcher.http().post(&format!("/sessions/{id}/terminate?wait=15s"), &json!({})).expect(200);
    assert_eq!(outcome["state"], "ended", "{outcome}");
}

#[test]
fn jupyterlab_on_this_host_runs_a_cell_and_gives_a_large_file_whole() {
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", jupyterlab().display());
    let launcher = Launcher::builder().env("PATH", &path).start();
    let large = launcher.home().path().join("large.bin");
    let random = std::fs::File::open("/dev/urandom").expect("the system has randomness");
    let mut file = std::fs::File::create(&large).expect("our own directory takes files");
    std::io::copy(&mut random.take(LARGE), &mut file).expect("our own directory takes it");
    let id = launcher.run_session("jupyter", &[]);
    let browser = signed_in(&launcher, Look::DESK);
    place(&browser, &format!("#/s/{id}"));
    use_notebook(&launcher, &browser, &id, "jupyterlab");
    browser.script("location.href = '/files/large.bin?download=1'", &[]);
    let came = browser.download("large.bin", Duration::from_secs(90));
    let same = Command::new("cmp").arg(&large).arg(&came).status().expect("cmp is part of every Debian");
    assert!(same.success(), "{} came other than it was", came.display());
}

#[test]
fn an_image_is_brought_and_a_desktop_and_a_notebook_in_containers_are_used() {
    let images = Images::of("docker-desktop", "wharf-desktop");
    images.also("docker-jupyter", "wharf-jupyter");
    let registry = Registry::start();
    let bytes = 24 << 20;
    let slow = Proxy::tcp(&registry.host());
    let image = images.published(&registry, bytes).replace(&registry.host(), slow.address());
    slow.throttle(bytes / 20);
    let launcher = Launcher::builder().env("DOCKER_HOST", &images.engine.host()).start();
    let browser = signed_in(&launcher, Look::DESK);
    // Its image has to be brought first: the page tells how far that is.
    place(&browser, "#/start/docker");
    browser.fill("#field-image", &image);
    browser.fill("#field-network", "none");
    let id = press_start(&browser);
    let far =
        "return document.querySelector('.session-head')?.innerText.match(/[1-9][0-9]* of [0-9]+ MB/)?.[0]";
    browser.until("how far the image is", SOON, far, &[]);
    looked_at(&browser, "docker-pending");
    slow.throttle(0);
    browser.sees("Running", RUNS);
    launcher.terminate(&id, "15s");
    images.engine.run(&["rmi", "--force", &image]).exits(0);
    for (template, kind) in [("docker-desktop", "desktop"), ("docker-jupyter", "notebook")] {
        place(&browser, &format!("#/start/{template}"));
        browser.fill("#field-network", "none");
        let id = press_start(&browser);
        browser.sees("Running", RUNS);
        match kind {
            "desktop" => use_desktop(&launcher, &browser, &id, template),
            _ => use_notebook(&launcher, &browser, &id, template),
        }
        assert_eq!(launcher.terminate(&id, "30s")["end"]["cause"], "terminated");
    }
}

#[test]
fn a_desktop_and_a_notebook_are_used_on_a_cluster_one_after_the_other() {
    let slurm = Slurm::alone();
    let home = wharf_tests::Home::new();
    // Root's server refuses to be one unless told, in a place of its own: the shipped command is used as it is.
    let config = home.path().join("jupyter");
    std::fs::create_dir(&config).expect("our own directory takes directories");
    std::fs::write(config.join("jupyter_server_config.json"), r#"{"ServerApp": {"allow_root": true}}"#)
        .expect("our own directory takes files");
    let shipped = |name: &str, more: &str| {
        Template::new(name).toml(&format!(
            "api = 1\nextends = \"slurm-{name}\"\n{more}\n[config]\noptions = [\"--exclusive\"]\n\
             [timeouts]\npoll = \"1s\"\n[hooks]\nenv = {{ SLURM_CONF = \"{}\" }}\n",
            slurm.conf()
        ))
    };
    let before = format!(
        "[job]\ncwd = \"{}\"\nbefore = [\"export PATH={}:$PATH JUPYTER_CONFIG_DIR={}\"]",
        home.path().display(),
        jupyterlab().display(),
        config.display()
    );
    let launcher = Launcher::at(&home)
        .template(&shipped("desktop", "[job]\nenv = { DESKTOP_COMMAND = \"openbox --startup xterm\" }"))
        .template(&shipped("jupyter", &before))
        .start();
    let browser = signed_in(&launcher, Look::DESK);
    let start = |template: &str| {
        place(&browser, &format!("#/start/{template}"));
        browser.fill("#field-partition", "one");
        browser.fill("#field-time", "10m");
        press_start(&browser)
    };
    let desktop = start("desktop");
    browser.sees("Running", RUNS);
    use_desktop(&launcher, &browser, &desktop, "slurm-desktop");
    // The node is taken: the next one waits, and is told why and for how long.
    let notebook = start("jupyter");
    browser.sees("Waiting for ", RUNS);
    browser.sees("Expected to start ", RUNS);
    looked_at(&browser, "slurm-pending");
    place(&browser, &format!("#/s/{desktop}"));
    browser.press("End…");
    browser.press("Terminate");
    browser.sees("has ended", RUNS);
    place(&browser, &format!("#/s/{notebook}"));
    browser.sees("Running", RUNS);
    browser.sees("Time left", RUNS);
    use_notebook(&launcher, &browser, &notebook, "slurm-jupyter");
    assert_eq!(launcher.terminate(&notebook, "30s")["end"]["cause"], "terminated");
}
