//! A real Slurm whose answers get lost, whose nodes die, and a launcher that dies in the middle of sbatch. Its controller
//! goes away in [`super::outage`].

use std::time::Duration;

use serde_json::json;
use wharf_tests::{Home, Launcher, Probe, Slurm, until, wait};

const RUNS: Duration = Duration::from_secs(40);

/// A launcher whose sbatch is that wrapper.
fn with_sbatch(slurm: &Slurm, body: &str) -> (Launcher, std::path::PathBuf) {
    let home = Home::new();
    let sbatch = slurm.wrapper(&home, "sbatch", body);
    let hooks = format!("commands = {{ sbatch = \"{}\" }}", sbatch.display());
    home.install(&slurm.template_with("batch", "", &hooks));
    (Launcher::at(&home).start(), sbatch)
}

#[test]
fn a_submit_that_queued_and_then_failed_is_found_and_never_repeated() {
    let slurm = Slurm::shared();
    let body = "real \"$@\" > /dev/null\n\
                echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2\nexit 1";
    let (launcher, sbatch) = with_sbatch(&slurm, body);
    let id = launcher.start_session(&json!({"template": "batch", "command": ["sleep", "1000"]}));
    let session = launcher.await_session(&id, "running", RUNS, |session| session["link"] == "connected");
    let job = slurm.await_job(&id, &["RUNNING"]);
    assert_eq!(session["job"]["id"], job, "{session}");
    assert_eq!(Slurm::calls(&sbatch), 1);
    launcher.terminate(&id, "20s");
    assert_eq!(slurm.jobs(&id).len(), 1);
}

#[test]
fn a_submit_that_queued_and_then_hung_is_found_and_never_repeated() {
    let slurm = Slurm::shared();
    let (launcher, sbatch) = with_sbatch(&slurm, "real \"$@\" --hold > /dev/null\nexec sleep 1000");
    let id = launcher.start_session(&json!({"template": "batch", "command": ["sleep", "1000"]}));
    let job = slurm.await_job(&id, &["PENDING"]);
    let session = launcher.await_session(&id, "found", RUNS, |session| session["job"]["state"] == "held");
    assert_eq!(session["job"]["id"], job, "{session}");
    assert_eq!((Slurm::calls(&sbatch), slurm.jobs(&id).len()), (1, 1));
}

#[test]
fn noise_around_the_job_id_is_no_part_of_it() {
    let slurm = Slurm::shared();
    let body = "echo 'Welcome to the cluster, 1000 nodes'\nreal \"$@\"\necho 'Have a nice day'";
    let (launcher, _) = with_sbatch(&slurm, body);
    let id = launcher.start_session(&json!({"template": "batch", "command": ["sleep", "1000"]}));
    let session = launcher.await_session(&id, "running", RUNS, |session| session["link"] == "connected");
    assert_eq!(session["job"]["id"], slurm.await_job(&id, &["RUNNING"]), "{session}");
}

#[test]
fn a_launcher_killed_after_sbatch_queued_finds_the_one_job() {
    let slurm = Slurm::shared();
    let (mut launcher, sbatch) = with_sbatch(&slurm, "real \"$@\"; sleep 30");
    let id = launcher.start_session(&json!({"template": "batch", "command": ["sleep", "1000"]}));
    let job = slurm.await_job(&id, &["RUNNING", "PENDING"]);
    launcher.kill9();
    launcher.restart();
    let session = launcher.await_session(&id, "running", RUNS, |session| {
        session["link"] == "connected" && session["job"]["id"].is_string()
    });
    assert_eq!(session["job"]["id"], job, "{session}");
    assert_eq!((Slurm::calls(&sbatch), slurm.jobs(&id).len()), (1, 1));
    assert_eq!(launcher.exec(&id, &["true"])["exit_code"], 0);
}

#[test]
fn a_launcher_killed_before_sbatch_queued_starts_nothing_later() {
    let slurm = Slurm::shared();
    let (mut launcher, sbatch) = with_sbatch(&slurm, "sleep 6; real \"$@\"");
    let id = launcher.start_session(&json!({"template": "batch", "command": ["sleep", "1000"]}));
    until("sbatch was called", RUNS, || Probe::when(Slurm::calls(&sbatch) == 1, (), String::new));
    launcher.kill9();
    launcher.restart();
    let ended = launcher.await_ended(&id, RUNS);
    assert_eq!(ended["end"]["cause"], "submit_failed", "{ended}");
    wait::never("what the launcher had left behind queued a job", Duration::from_secs(7), || {
        let jobs = slurm.jobs(&id);
        (!jobs.is_empty()).then(|| format!("{jobs:?}"))
    });
}

#[test]
fn a_node_that_fails_ends_its_session_as_that() {
    let slurm = Slurm::alone();
    let launcher = Launcher::with(&slurm.template("batch", ""));
    let body = json!({"template": "batch", "params": {"partition": "one"}, "command": ["sleep", "1000"]});
    let id = launcher.start_session(&body);
    launcher.await_session(&id, "running", RUNS, |session| session["link"] == "connected");
    slurm.run(&["scontrol", "update", "NodeName=n1", "State=DOWN", "Reason=test"]);
    // The node is told to end what runs there; a real one would be dead.
    let ended =
        launcher.await_session(&id, "ended", Duration::from_secs(60), |session| session["state"] == "ended");
    // It may be back by itself: its daemon still answers.
    slurm.command(&["scontrol", "update", "NodeName=n1", "State=RESUME"]);
    assert_eq!(ended["end"]["cause"], "node_failed", "{ended}");
}

#[test]
fn with_leave_to_requeue_a_dead_nodes_session_goes_on_elsewhere_with_one_monitor() {
    let slurm = Slurm::alone();
    let launcher = Launcher::with(&slurm.template("again", "requeue = true"));
    let id = launcher.start_session(&json!({"template": "again", "command": ["sleep", "1000"]}));
    launcher.await_session(&id, "running", RUNS, |session| session["link"] == "connected");
    let on = |launcher: &Launcher| {
        let body = json!({"argv": ["sh", "-c", "printf %s $SLURMD_NODENAME"]});
        let answer = launcher.http().post(&format!("/sessions/{id}/exec"), &body);
        (answer.status == 200).then(|| answer.json()["stdout"].as_str().unwrap_or_default().to_owned())
    };
    let first = on(&launcher).expect("it is connected");
    let before = launcher.inside(&id);
    // Nobody ends what runs there: the old monitor lives on, and is still linked when the new one comes.
    slurm.kill_node(&first);
    slurm.run(&["scontrol", "update", &format!("NodeName={first}"), "State=DOWN", "Reason=test"]);
    until("it runs elsewhere", Duration::from_secs(90), || {
        let session = launcher.session(&id);
        if session["state"] == "ended" {
            return Probe::Never(session.to_string());
        }
        match on(&launcher) {
            Some(node) if node != first => Probe::Ready(()),
            other => Probe::NotYet(format!("on {other:?}: {session}")),
        }
    });
    until("what ran on the dead node is ended", Duration::from_secs(30), || {
        Probe::when(before.iter().all(|one| !one.is_alive()), (), || format!("{before:?}"))
    });
    slurm.repair();
    assert_eq!(launcher.inside(&id).iter().filter(|one| one.command_line().starts_with("sleep")).count(), 1);
    assert_eq!(launcher.terminate(&id, "20s")["end"]["cause"], "terminated");
}
