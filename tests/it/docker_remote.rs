//! Engines that do not see the launcher's directories: over TLS, with the monitor uploaded and linked by URL; and the
//! choice among several engines.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::Engine as _;
use wharf_tests::launcher::Builder;
use wharf_tests::{Dockerd, Home, Launcher, Probe, Template, dockerd, until};

const SOON: Duration = Duration::from_secs(15);

/// Two engines, `near` by its socket and `far` over TLS, and a launcher that both networks `lab` reach.
struct Site {
    launcher: Launcher,
    near: Dockerd,
    far: Dockerd,
}

fn engines(far: &Dockerd, near: &Dockerd) -> String {
    let mut toml = format!("[backends.docker.near]\nhost = \"{}\"\n", near.host());
    write!(toml, "[backends.docker.far]\nhost = \"{}\"\nnodes = [\"far-away\"]\n", far.tls_host())
        .expect("a text takes text");
    for (key, file) in [("tls_ca", "ca"), ("tls_cert", "client"), ("tls_key", "client-key")] {
        writeln!(toml, "{key} = {:?}", far.certificate(file)).expect("a text takes text");
    }
    toml
}

#[track_caller]
fn site(templates: &[Template]) -> Site {
    let (mut near, mut far) = (Dockerd::start(), Dockerd::tls());
    near.network("lab");
    let gateway = far.network("lab");
    let port = TcpListener::bind((gateway.as_str(), 0)).and_then(|socket| socket.local_addr());
    let address = format!("http://{gateway}:{}", port.expect("the network's own address is ours").port());
    let home = Home::new();
    let socket = format!("unix:{}", home.path().join("runtime/api").display());
    let config = format!("[monitor]\nadvertise = [\"{address}\"]\n{}", engines(&far, &near));
    let launcher = templates
        .iter()
        .fold(Launcher::at(&home), Builder::template)
        .config(&config)
        .arg("--listen")
        .arg(&socket)
        .arg("--listen")
        .arg(&address)
        .arg("--insecure-http")
        .start();
    Site { launcher, near, far }
}

fn farm(name: &str, select: &str) -> Template {
    let toml =
        format!("api = 1\nextends = \"docker\"\ninstance = [\"near\", \"far\"]\nselect = \"{select}\"\n");
    Template::new(name).toml(&toml)
}

fn body(template: &str, image: &str, command: &[&str]) -> Value {
    json!({"template": template, "command": command, "params": {"image": image, "network": "lab"}})
}

#[test]
fn sessions_are_spread_over_engines_and_live_on_a_remote_one_as_on_a_local_one() {
    let Site { mut launcher, near, mut far } =
        site(&[farm("farm", "round-robin"), farm("roomy", "most-memory")]);
    far.run_tls(&["version"]).exits(0);
    let start = |launcher: &Launcher| {
        let id = launcher.start_session(&body("farm", "busybox", &["sleep", "1000"]));
        launcher.await_connected(&id);
        id
    };
    let (one, two) = (start(&launcher), start(&launcher));
    assert_eq!((near.containers().len(), far.containers().len()), (1, 1));
    let (here, there) = if near.containers()[0].starts_with(&one) { (one, two) } else { (two, one) };
    for (id, node) in [(&here, "near"), (&there, "far-away")] {
        launcher.await_session(id, "tells its node", SOON, |session| session["job"]["node"] == node);
        assert_eq!(launcher.exec(id, &["echo", "here"])["stdout"], "here\n");
    }
    // Nothing of this host is in the remote one, and nothing that was uploaded can be changed by its user.
    assert_eq!(far.property(&there, "{{len .Mounts}} {{.HostConfig.CapDrop}}"), "0 [ALL]");
    // Two small ones have less to ask for than a large one, whose engine is left alone.
    let roomy = |memory: &str| {
        let mut body = body("roomy", "busybox", &["sleep", "1000"]);
        body["params"]["memory"] = json!(memory);
        let id = launcher.start_session(&body);
        launcher.await_connected(&id);
        id
    };
    let placed = ["900MiB", "64MiB", "64MiB"].map(roomy);
    let are_near = placed.each_ref().map(|id| near.containers().iter().any(|line| line.starts_with(id)));
    assert_eq!(are_near, [true, false, false]);
    for id in placed {
        assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
    }
    // An image of one program, one of another user, and one that has a place of its own where the monitor lies.
    for engine in [&near, &far] {
        dockerd::odd_image(engine, &["VOLUME /run", "HEALTHCHECK CMD false", "USER other"]);
    }
    for (image, command) in
        [("bare", ["/sleep", "1000"]), ("other", ["sleep", "1000"]), ("odd", ["sleep", "1000"])]
    {
        let mut ids = Vec::new();
        for _ in 0..2 {
            let id = launcher.start_session(&body("farm", image, &command));
            launcher.await_connected(&id);
            ids.push(id);
        }
        for id in ids {
            assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
        }
    }
    // The launcher may come and go.
    launcher.kill9();
    launcher.restart();
    for id in [&here, &there] {
        launcher.await_connected(id);
    }
    let http = launcher.http();
    http.post(&format!("/sessions/{there}/purge"), &json!({})).problem(409, "session_reachable");
    // An engine that is down is not chosen, and its session goes on to say what it knows.
    far.stop();
    until("the far engine is known to be down", SOON, || {
        let backends = launcher.http().get("/backends").text();
        Probe::when(backends.contains("cannot be reached"), (), || backends)
    });
    for _ in 0..2 {
        let id = start(&launcher);
        assert!(near.containers().iter().any(|line| line.starts_with(&id)), "{:?}", near.containers());
    }
    far.restart();
    let cause = launcher.await_ended(&there, Duration::from_secs(30))["end"]["cause"].clone();
    assert!(["signaled", "vanished"].contains(&cause.as_str().unwrap_or_default()), "{cause}");
    assert_eq!(launcher.terminate(&here, "15s")["end"]["cause"], "terminated");
}

#[test]
fn killed_between_create_and_upload_the_launcher_still_ends_with_exactly_one_container() {
    let lua = "
local hooks = {}
function hooks.submit(req)
  docker.create { id = req.session.id, monitor = req.monitor, image = req.session.params.image, network = 'lab' }
  host.sleep(4)
  docker.start { id = req.session.id }
  return { job_id = req.session.id }
end
return hooks";
    let toml = "api = 1\nextends = \"docker\"\ninstance = \"far\"\n";
    let Site { mut launcher, far, .. } = site(&[Template::new("slow").toml(toml).file("hooks.lua", lua)]);
    let id = launcher.start_session(&body("slow", "busybox", &["sleep", "1000"]));
    until("the container is made", SOON, || {
        let there = far.containers();
        Probe::when(there == [format!("{id} busybox created")], (), || format!("{there:?}"))
    });
    launcher.kill9();
    launcher.restart();
    launcher.await_connected(&id);
    assert_eq!(far.containers(), [format!("{id} busybox running")]);
    assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
}

#[test]
fn a_remote_engine_without_a_way_back_or_trust_says_what_is_missing() {
    let (near, far, other) = (Dockerd::start(), Dockerd::tls(), Dockerd::tls());
    let far_only = |name: &str, engine: &str| {
        Template::new(name).toml(&format!("api = 1\nextends = \"docker\"\ninstance = \"{engine}\"\n"))
    };
    // Certificates of an authority that the engine does not know.
    let stranger = engines(&far, &near).replace(&*far.tls_host(), &other.tls_host());
    let stranger = stranger.replace("docker.far", "docker.stranger").replace("docker.near", "docker.unused");
    let launcher = Launcher::builder()
        .config(&format!("{}{stranger}", engines(&far, &near)))
        .template(&far_only("remote", "far"))
        .template(&far_only("foreign", "stranger"))
        .start();
    let id = launcher.start_session(&body("remote", "busybox", &["sleep", "9"]));
    let end = launcher.await_ended(&id, SOON)["end"].clone();
    assert_eq!(end["cause"], "submit_failed", "{end}");
    assert!(launcher.http().get(&format!("/sessions/{id}/history")).text().contains("advertise"), "{end}");
    assert_eq!(far.containers(), [""; 0]);
    until("starts are refused", SOON, || {
        let answer = launcher.http().post("/sessions", &body("foreign", "busybox", &["sleep", "9"]));
        Probe::when(answer.status == 503, (), || format!("{answer}"))
    });
    let backends = launcher.http().get("/backends").text();
    assert!(backends.to_lowercase().contains("certificate"), "{backends}");
}
