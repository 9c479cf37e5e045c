//! The docker backend on Podman's socket.

use std::time::Duration;

use serde_json::json;
use wharf_tests::launcher::Home;
use wharf_tests::{Launcher, Podman, Probe, Template, cli, until};

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
    let id = launcher.start_session(&json!({
        "template": "waits", "command": ["sleep", "9"], "params": {"image": "busybox", "network": "none"},
    }));
    launcher.await_session(&id, "was asked about", SOON, |session| session["job"]["state"] == "starting");
    podman.run(&["rm", &id]).exits(0);
    assert_eq!(launcher.await_ended(&id, SOON)["end"]["cause"], "vanished");
}
