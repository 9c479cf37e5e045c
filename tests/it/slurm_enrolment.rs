//! Nodes that have no file system in common with the launcher: the job's script holds a secret that its monitor spends.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use wharf_tests::{Home, Launcher, Probe, Slurm, processes, until};

const RUNS: Duration = Duration::from_secs(60);

/// A launcher whose jobs see nothing of its data directory, and find the monitor at a place of their own.
fn apart(slurm: &Slurm, config: &str) -> (Launcher, std::path::PathBuf) {
    let home = Home::new();
    let address = format!("{}:0", Slurm::FAR);
    let listener = std::net::TcpListener::bind(&address).expect("the veth has its address");
    let port = listener.local_addr().expect("it is bound").port();
    drop(listener);
    let address = format!("http://{}:{port}", Slurm::FAR);
    std::fs::write(home.config(), format!("[monitor]\nadvertise = [\"{address}\"]\n")).expect("our own file");
    let monitor = home.path().join("wharf-monitor");
    let template = slurm.template("apart", config).toml(&format!(
        "[job]\nenrol = \"{}\"\nbefore = ['if [ -z \"$APART\" ]; then APART=1 exec unshare --mount sh \"$0\"; fi', \
         'mount -t tmpfs none {}']\n",
        monitor.display(),
        home.data().display(),
    ));
    home.install(&template);
    let socket = format!("unix:{}", home.data().join("run/wharf.sock").display());
    let launcher = Launcher::at(&home)
        .arg("--listen")
        .arg(&socket)
        .arg("--listen")
        .arg(&address)
        .arg("--insecure-http")
        .start();
    let own = wharf_tests::program::monitor(&home.data()).expect("the launcher wrote it");
    std::fs::copy(own, &monitor).expect("our own directory takes files");
    (launcher, monitor)
}

/// The line with the secret, as Slurm keeps it with the job.
fn archived(slurm: &Slurm, job: &str) -> String {
    let script = slurm.run(&["scontrol", "write", "batch_script", job, "-"]);
    let mut lines = script.lines().skip_while(|line| !line.ends_with("<< 'ENROLMENT'")).skip(1);
    lines.next().unwrap_or_else(|| panic!("no enrolment in {script}")).to_owned()
}

/// What somebody gets who has read the script.
fn replay(monitor: &std::path::Path, line: &str) -> (Option<i32>, String) {
    let mut child = Command::new(monitor)
        .args(["run", "--enrol"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the monitor runs anywhere");
    let mut input = child.stdin.take().expect("it is piped");
    writeln!(input, "{line}").expect("it reads a line");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_secret_starts_one_monitor_and_is_worth_nothing_to_anybody_else() {
    let slurm = Slurm::far();
    let (mut launcher, monitor) = apart(&slurm, "");
    let id = launcher.start_session(&json!({
        "template": "apart", "command": ["sleep", "1000"], "env": {"CANARY": "a-canary-of-the-user"},
    }));
    launcher.await_session(&id, "running", RUNS, |session| session["link"] == "connected");
    let data = launcher.data().display().to_string();
    let seen = launcher.exec(&id, &["sh", "-c", &format!("ls -A {data}; echo $CANARY")]);
    assert_eq!(seen["stdout"], "a-canary-of-the-user\n", "the node sees the launcher's files: {seen}");

    let job = slurm.await_job(&id, &["RUNNING"]);
    let line = archived(&slurm, &job);
    let script = slurm.run(&["scontrol", "write", "batch_script", &job, "-"]);
    assert!(!script.contains("a-canary-of-the-user") && !script.contains("credential"), "{script}");
    for process in processes::all() {
        assert!(!process.command_line().contains(&line), "a secret is in an argument: {process:?}");
        assert!(!process.environment().contains(&line), "a secret is in an environment: {process:?}");
    }
    assert!(!launcher.log().contains(&line), "a secret is in the log");
    let history = launcher.http().get(&format!("/sessions/{id}/history")).text();
    let trace = history.split("\"trace_id\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let trace = launcher.http().get(&format!("/traces/{}", trace.expect("the submit has a trace"))).text();
    assert!(!trace.contains(&line), "a secret is in a trace: {trace}");

    let (code, said) = replay(&monitor, &line);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("does not take this secret"), "{said}");
    launcher.kill9();
    launcher.restart();
    let (code, said) = replay(&monitor, &line);
    assert_eq!(code, Some(78), "spent for ever, also after a crash of the launcher: {said}");
    launcher.await_session(&id, "undisturbed", RUNS, |session| session["link"] == "connected");
    assert_eq!(launcher.inside(&id).iter().filter(|one| one.command_line().starts_with("sleep")).count(), 1);
    assert_eq!(launcher.terminate(&id, "20s")["end"]["cause"], "terminated");
    let (code, said) = replay(&monitor, &line);
    assert_eq!(code, Some(78), "{said}");
}

#[test]
fn a_pending_ones_secret_dies_with_it_and_lives_through_a_purge() {
    let slurm = Slurm::far();
    let (launcher, monitor) = apart(&slurm, "options = [\"--hold\"]");
    let start = || {
        let id = launcher.start_session(&json!({"template": "apart", "command": ["sleep", "1000"]}));
        launcher.await_session(&id, "submitted", RUNS, |session| session["job"]["id"].is_string());
        let job = slurm.await_job(&id, &["PENDING"]);
        (id, job)
    };
    let (ended, job) = start();
    let line = archived(&slurm, &job);
    assert_eq!(launcher.terminate(&ended, "20s")["end"]["cause"], "terminated");
    let (code, said) = replay(&monitor, &line);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("the session is over"), "{said}");

    let (purged, job) = start();
    assert_eq!(launcher.http().post(&format!("/sessions/{purged}/purge"), &json!({})).status, 204);
    slurm.run(&["scontrol", "release", &job]);
    launcher.await_reappeared(&purged, RUNS);
    assert_eq!(launcher.terminate(&purged, "20s")["end"]["cause"], "terminated");
    until("nothing of them runs", RUNS, || {
        let left = [launcher.inside(&ended), launcher.inside(&purged)].concat();
        Probe::when(left.is_empty(), (), || format!("{left:?}"))
    });
}
