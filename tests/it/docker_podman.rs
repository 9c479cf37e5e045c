//! The docker backend on Podman's socket.

use std::panic;
use std::time::Duration;

use serde_json::json;
use wharf_tests::launcher::Home;
use wharf_tests::{Engine as _, Launcher, Podman, Probe, Template, cli, until};

use super::docker_everywhere::EVERYWHERE;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn podman_passes_the_conformance_run_and_its_events_are_heard() {
    let podman = Podman::start();
    let home = Home::new();
    let args = ["template", "test", "docker", "--live", "-p", "image=busybox", "-p", "network=none"];
    let mut command = home.command(&args);
    command.env("DOCKER_HOST", podman.host());
    cli::run(command, b"", Duration::from_secs(180)).exits(0);
    until("nothing is left", SOON, || {
        let left = podman.containers();
        Probe::when(left.is_empty(), (), || format!("{left:?}"))
    });
    // Asked about once a minute: what is noticed before was heard.
    let toml =
        "api = 1\nextends = \"docker\"\n[timeouts]\npoll = \"60s\"\nsettle = \"100ms\"\nregister = \"10m\"\n";
    let lua = "
local hooks = {}
function hooks.submit(req)
  docker.create { id = req.session.id, monitor = req.monitor, image = req.session.params.image }
  return { job_id = req.session.id }
end
return hooks";
    let template = Template::new("waits").toml(toml).file("hooks.lua", lua);
    let launcher = Launcher::builder().env("DOCKER_HOST", &podman.host()).template(&template).start();
    let body = json!({
        "template": "waits", "command": ["sleep", "9"], "params": {"image": "busybox", "network": "none"},
    });
    let ids = [launcher.start_session(&body), launcher.start_session(&body)];
    for id in &ids {
        launcher.await_session(id, "was asked about", SOON, |session| session["job"]["state"] == "starting");
    }
    // The first may be missed by the question with which listening begins; after that nothing but events tells.
    for id in &ids {
        podman.run(&["rm", id]).exits(0);
        assert_eq!(launcher.await_ended(id, SOON)["end"]["cause"], "vanished");
    }
}

/// On one Podman, one after the other: what one leaves behind the next one finds.
#[test]
fn what_holds_on_docker_holds_on_podman() {
    let podman = Podman::start();
    let mut failed = Vec::new();
    for (name, holds) in EVERYWHERE {
        if panic::catch_unwind(panic::AssertUnwindSafe(|| holds(&podman))).is_err() {
            failed.push(*name);
        }
        let all = podman.run(&["ps", "-aq"]).stdout;
        let ids: Vec<&str> = all.split_whitespace().collect();
        if !ids.is_empty() {
            _ = podman.run(&[&["rm", "-f"], ids.as_slice()].concat());
        }
    }
    assert!(failed.is_empty(), "not on Podman: {failed:?}");
}
