//! A compute node in a network namespace of its own, which shares the file system and nothing else with the launcher; and
//! another cluster, reached by its name.

use std::time::Duration;

use serde_json::json;
use wharf_tests::{Home, Launcher, Probe, Slurm, until};

const RUNS: Duration = Duration::from_secs(60);

/// A free port of the address that the node reaches.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Slurm::FAR, 0)).expect("the veth has its address");
    listener.local_addr().expect("it is bound").port()
}

fn configure(home: &Home, port: u16) -> String {
    let address = format!("http://{}:{port}", Slurm::FAR);
    std::fs::write(home.config(), format!("[monitor]\nadvertise = [\"{address}\"]\n")).expect("our own file");
    address
}

#[test]
fn sessions_register_at_the_advertised_address_and_follow_the_launcher_to_another() {
    let slurm = Slurm::far();
    let home = Home::new();
    // Sockets cross network namespaces with the file system: the job does not see the launcher's.
    let hide = home.data().join("run/monitor");
    let before = format!(
        "[job]\nbefore = ['if [ -z \"$APART\" ]; then APART=1 exec unshare --mount sh \"$0\"; fi', \
         'mount -t tmpfs none {}']\n",
        hide.display()
    );
    home.install(&slurm.template("batch", "").toml(&before));
    let (first, second) = (free_port(), free_port());
    let mut launcher = listen(&home, &configure(&home, first)).start();
    let id = launcher.start_session(&json!({"template": "batch", "command": ["sleep", "1000"]}));
    let session = launcher.await_session(&id, "running", RUNS, |session| session["link"] == "connected");
    assert_eq!(peer(&launcher, &id), (Slurm::FAR.to_owned(), first));

    // The launcher moves; what its monitors read before each dial moves with it.
    launcher.kill9();
    let launcher = listen(&home, &configure(&home, second)).start();
    let back = launcher.await_session(&id, "back", RUNS, |session| session["link"] == "connected");
    assert_eq!(back["started_at"], session["started_at"]);
    assert_eq!(peer(&launcher, &id), (Slurm::FAR.to_owned(), second));
    assert_eq!(launcher.terminate(&id, "20s")["end"]["cause"], "terminated");
    until("its job is over", RUNS, || {
        let jobs = slurm.jobs(&id);
        Probe::when(jobs.iter().all(|(_, state)| state != "RUNNING"), (), || format!("{jobs:?}"))
    });
}

/// A launcher that listens there, and on its own socket.
fn listen(home: &std::sync::Arc<Home>, address: &str) -> wharf_tests::launcher::Builder {
    let socket = format!("unix:{}", home.data().join("run/wharf.sock").display());
    Launcher::at(home).arg("--listen").arg(&socket).arg("--listen").arg(address).arg("--insecure-http")
}

/// Where the session's monitor has its link, as the node's own kernel says.
fn peer(launcher: &Launcher, id: &str) -> (String, u16) {
    let table = launcher.exec(id, &["cat", "/proc/net/tcp"]);
    let table = table["stdout"].as_str().unwrap_or_default();
    let peer = table.lines().find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (address, port) = columns.get(2)?.split_once(':')?;
        // Established, and to somebody else than Slurm's own ports.
        let address = u32::from_str_radix(address, 16).ok()?.to_le_bytes();
        let port = u16::from_str_radix(port, 16).ok()?;
        (columns.get(3) == Some(&"01") && !(26850..26870).contains(&port)).then_some((address, port))
    });
    let (address, port) = peer.unwrap_or_else(|| panic!("no connection: {table}"));
    (std::net::Ipv4Addr::from(address).to_string(), port)
}

#[test]
fn jobs_of_another_cluster_are_kept_with_its_name_through_their_whole_life() {
    let slurm = Slurm::shared();
    let second = slurm.second();
    let mut launcher = Launcher::builder()
        .template(&slurm.template("there", "cluster = \"wharfsecond\""))
        .template(&slurm.template("held", "cluster = \"wharfsecond\"\noptions = [\"--hold\"]"))
        .template(&slurm.template("here", "options = [\"--hold\"]"))
        .start();
    let start = |launcher: &Launcher, template: &str| {
        launcher.start_session(&json!({"template": template, "command": ["sleep", "1000"]}))
    };
    // The same numbers may be jobs of both clusters.
    let (here, held, running) =
        (start(&launcher, "here"), start(&launcher, "held"), start(&launcher, "there"));
    let session = launcher.await_session(&held, "held", RUNS, |session| session["job"]["state"] == "held");
    let job = second.await_job(&held, &["PENDING"]);
    assert_eq!(session["job"]["id"], format!("{job};wharfsecond"), "{session}");
    let session = launcher.await_session(&running, "running", RUNS, |session| {
        session["link"] == "connected" && session["job"]["node"] == "n1"
    });
    let other = second.await_job(&running, &["RUNNING"]);
    assert_eq!(session["job"]["id"], format!("{other};wharfsecond"), "{session}");
    assert!(slurm.jobs(&held).is_empty() && slurm.jobs(&running).is_empty());
    // Its own monitor says the same name, and a restarted launcher finds the jobs where they are.
    launcher.kill9();
    launcher.restart();
    launcher.await_session(&running, "back", RUNS, |session| session["link"] == "connected");
    launcher.await_session(&held, "asked about", RUNS, |session| session["job"]["checked_at"].is_string());
    second.run(&["scontrol", "release", &job]);
    launcher.await_session(&held, "running", RUNS, |session| session["link"] == "connected");
    assert_eq!(launcher.session(&held)["job"]["id"], format!("{job};wharfsecond"));
    assert_eq!(launcher.terminate(&held, "20s")["end"]["cause"], "terminated");
    // Cancelled there by hand; one that waits here is ended here.
    second.run(&["scancel", &other]);
    assert_eq!(launcher.await_ended(&running, RUNS)["end"]["cause"], "vanished");
    assert_eq!(launcher.terminate(&here, "20s")["end"]["cause"], "terminated");
    slurm.await_job(&here, &["CANCELLED"]);
    // One that waits there is ended there.
    let gone = start(&launcher, "held");
    launcher.await_session(&gone, "held", RUNS, |session| session["job"]["state"] == "held");
    assert_eq!(launcher.terminate(&gone, "20s")["end"]["cause"], "terminated");
    second.await_job(&gone, &["CANCELLED"]);
}
