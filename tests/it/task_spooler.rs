//! The templates of `docs/first-template.md` on a real scheduler, Task Spooler: on the bench, and behind a launcher.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::launcher::Home;
use wharf_tests::{Launcher, Output, Probe, cli, processes, until};

/// The two of the guide: in Lua, and in shell.
const TEMPLATES: [&str; 2] = ["tsp", "tsp-sh"];
const SOON: Duration = Duration::from_secs(30);

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// Copies a directory; nobody else may write what a launcher is to trust.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("our own files can be read and written");
    fs::set_permissions(to, fs::Permissions::from_mode(0o700))
        .expect("our own files can be read and written");
    for entry in fs::read_dir(from).expect("our own files can be read and written") {
        let entry = entry.expect("our own files can be read and written");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("our own files can be read and written").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("our own files can be read and written");
            let mode =
                entry.metadata().expect("our own files can be read and written").permissions().mode() & 0o700;
            fs::set_permissions(&target, fs::Permissions::from_mode(mode))
                .expect("our own files can be read and written");
        }
    }
}

/// A home with both templates as they are in the guide, and over each one `queue-NAME`, on a queue of its own.
struct Queue {
    home: Arc<Home>,
}

impl Queue {
    fn new() -> Self {
        let queue = Self { home: Home::new() };
        for name in TEMPLATES {
            let templates = queue.home.templates();
            copy(&docs().join("examples").join(name), &templates.join(name));
            let own = templates.join(format!("queue-{name}"));
            fs::create_dir(&own).expect("our own files can be read and written");
            fs::set_permissions(&own, fs::Permissions::from_mode(0o700))
                .expect("our own files can be read and written");
            let text = format!(
                "api = 1\nextends = \"{name}\"\n[timeouts]\npoll = \"1s\"\nsettle = \"2s\"\n\
                 [hooks]\nenv = {{ TS_SOCKET = \"{}\", TMPDIR = \"{}\" }}\n",
                queue.socket(),
                queue.home.path().join("work").display()
            );
            fs::write(own.join("template.toml"), text).expect("our own files can be read and written");
        }
        let config = format!("[templates]\ndirs = [\"{}\"]\n", queue.home.templates().display());
        fs::write(queue.home.config(), config).expect("our own files can be read and written");
        queue
    }

    fn socket(&self) -> String {
        self.home.path().join("work/tsp").to_string_lossy().into_owned()
    }

    /// `tsp` as the administrator calls it.
    fn tsp(&self, args: &[&str]) -> Output {
        let mut command = Command::new("tsp");
        command.args(args).env("TS_SOCKET", self.socket()).env("TMPDIR", self.home.path().join("work"));
        cli::run(command, b"", Duration::from_secs(10))
    }

    /// Puts something before all that comes later; its job id.
    fn block(&self) -> String {
        self.tsp(&["sleep", "1000"]).ok().to_owned()
    }

    /// The queue's line about a session's job, empty when there is none.
    fn line(&self, id: &str) -> String {
        let listed = self.tsp(&["-l"]);
        let label = format!("[{id}]");
        listed.ok().lines().find(|line| line.contains(&label)).unwrap_or_default().to_owned()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // The server outlives everybody who talks to it; what runs in it mentions the home and is ended with that.
        let _ = self.tsp(&["-K"]);
    }
}

fn passes_the_bench(name: &str) {
    let queue = Queue::new();
    let home = &queue.home;
    assert_eq!(home.cli(&["template", "check", name, "--output", "json"]).json(), json!([]));
    let cases = home.cli(&["template", "test", name, "--output", "json"]).json();
    let cases = cases.as_array().expect("a list");
    assert!(cases.len() >= 14 && cases.iter().all(|case| case["passed"] == true), "{cases:?}");
    // Hundreds of runs of scripts, each of which starts a dozen programs.
    let inject = home.command(&["template", "test", name, "--inject", "--output", "json"]);
    let report = cli::run(inject, b"", Duration::from_secs(200)).json();
    assert_eq!(report["failures"], json!([]), "{report}");
    assert!(report["data"].as_u64().is_some_and(|count| count > 100), "{report}");
    home.cli(&["template", "doctor", name]).exits(0);
}

#[test]
fn the_guides_template_in_lua_passes_check_test_and_inject() {
    passes_the_bench("tsp");
}

#[test]
fn the_guides_template_in_shell_passes_check_test_and_inject() {
    passes_the_bench("tsp-sh");
}

#[test]
fn the_guides_templates_pass_the_conformance_run_on_a_real_queue() {
    let queue = Queue::new();
    for name in TEMPLATES {
        let file = queue.home.path().join(format!("{name}.json"));
        let report = file.to_string_lossy();
        let own = format!("queue-{name}");
        let output = queue.home.cli(&["template", "test", &own, "--live", "--report", &report]);
        output.exits(0);
        let report: Value =
            serde_json::from_str(&fs::read_to_string(&file).expect("our own files can be read and written"))
                .expect("our own files can be read and written");
        let steps = report["steps"].as_array().expect("steps");
        assert!(steps.len() >= 19 && steps.iter().all(|step| step["result"] == "passed"), "{output}");
        assert!(queue.tsp(&["-l"]).ok().contains("finished"), "it was the private queue that ran them");
    }
}

#[test]
fn a_session_waits_its_turn_runs_and_is_ended_in_the_queue() {
    let queue = Queue::new();
    for name in TEMPLATES {
        let mut launcher = Launcher::at(&queue.home).start();
        let body = json!({"template": format!("queue-{name}"), "command": ["sleep", "1000"], "tty": false});
        let blocker = queue.block();
        let first = launcher.start_session(&body);
        let second = launcher.start_session(&body);
        let placed = |launcher: &Launcher, id: &str, position: u64| {
            launcher.await_session(id, "in its place", SOON, |session| {
                session["state"] == "pending" && session["job"]["position"] == position
            })
        };
        // The two submits go side by side: either may be the first in the queue.
        let (first, second) = {
            until("both are queued", SOON, || {
                let lines = (queue.line(&first), queue.line(&second));
                Probe::when(lines.0.contains("queued") && lines.1.contains("queued"), (), || {
                    format!("{lines:?}")
                })
            });
            let at = |id: &str| queue.line(id).split(' ').next().and_then(|id| id.parse::<u64>().ok());
            if at(&first) < at(&second) { (first, second) } else { (second, first) }
        };
        placed(&launcher, &first, 1);
        placed(&launcher, &second, 2);
        let said = launcher.http().get(&format!("/sessions/{second}/logs"));
        assert!(said.text().contains("position 2"), "{said}");
        // Neither the server nor what waits in it is a leftover of a hook, whatever becomes of the launcher.
        launcher.kill9();
        launcher.restart();
        assert!(queue.line(&first).contains("queued") && queue.line(&second).contains("queued"));

        // Ended while it waits: it is taken out of the queue.
        let ended = launcher.terminate(&second, "20s");
        assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
        assert_eq!(queue.line(&second), "", "it is out of the queue");

        // Its turn comes.
        queue.tsp(&["-k", &blocker]).exits(0);
        launcher.await_connected(&first);
        assert_eq!(launcher.exec(&first, &["echo", "hi"])["stdout"], "hi\n");
        let ended = launcher.terminate(&first, "20s");
        assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
        until("the job has ended", SOON, || {
            let line = queue.line(&first);
            Probe::when(line.contains("finished"), (), || line.clone())
        });

        // Forgotten while it waits, it is there again when its turn comes.
        let blocker = queue.block();
        let third = launcher.start_session(&body);
        placed(&launcher, &third, 1);
        launcher.http().post(&format!("/sessions/{third}/purge"), &json!({})).expect(204);
        launcher.http().get(&format!("/sessions/{third}")).problem(404, "unknown_session");
        assert!(queue.line(&third).contains("queued"), "purge runs no hook");
        queue.tsp(&["-k", &blocker]).exits(0);
        launcher.await_reappeared(&third, SOON);
        let ended = launcher.terminate(&third, "20s");
        assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
    }
}

/// The monitor does not answer, so the terminate hook has to kill it and its command.
#[test]
fn a_session_whose_monitor_hangs_is_killed_in_the_queue() {
    let queue = Queue::new();
    let launcher = Launcher::at(&queue.home).start();
    for name in TEMPLATES {
        let id = launcher.run_session(&format!("queue-{name}"), &["sleep", "1000"]);
        let monitor = processes::mentioning(&format!("/sessions/{id}/"))
            .into_iter()
            .find(|process| {
                let line = process.command_line();
                line.contains("wharf-monitor run --bootstrap") && !line.contains("tsp ")
            })
            .expect("its monitor runs");
        let all = processes::with_descendants(std::slice::from_ref(&monitor));
        assert!(all.len() >= 2, "its command runs");
        monitor.signal(rustix::process::Signal::STOP);
        let request = json!({"session": {"id": id, "name": "x"}, "job_id": false, "mode": "kill"});
        let file = queue.home.path().join("work/request.json");
        fs::write(&file, request.to_string()).expect("our own files can be read and written");
        let (own, file) = (format!("queue-{name}"), file.to_string_lossy().into_owned());
        queue.home.cli(&["template", "run", &own, "terminate", "--request", &file]).exits(0);
        until("monitor and command are gone", SOON, || {
            let alive = all.iter().filter(|process| process.is_alive()).count();
            Probe::when(alive == 0, (), || format!("{alive} are still there"))
        });
    }
}

/// Every block of code that the guide says is from a file stands there word for word.
#[test]
fn the_guide_shows_the_very_files_that_are_tested() {
    let guide =
        fs::read_to_string(docs().join("first-template.md")).expect("our own files can be read and written");
    let mut shown = 0;
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        let Some(path) = line.strip_prefix("<!-- from ").and_then(|rest| rest.strip_suffix(" -->")) else {
            continue;
        };
        assert!(lines.next().is_some_and(|fence| fence.starts_with("```")), "no block after {line}");
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let file = fs::read_to_string(docs().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(file.contains(&block.join("\n")), "{path} does not hold:\n{}", block.join("\n"));
        shown += 1;
    }
    assert!(shown >= 8, "only {shown} blocks");
}
