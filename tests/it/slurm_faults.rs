//! A real Slurm whose answers get lost, whose nodes die, and a launcher that dies in the middle of sbatch. Its controller
//! goes away in [`super::outage`].

use std::time::Duration;

use serde_json::json;
use wharf_tests::{Home, Launcher, Probe, Slurm, processes, until, wait};

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

/// What a squeue in front of the real one says, by the word in a file.
const MOODS: &str = r#"case $(cat "$HOME/mood" 2> /dev/null) in
  noise) echo 'Welcome to the cluster | 1000 nodes'; echo '1|RUNNING'; real "$@"; echo 'slurm_load_jobs: odd' >&2 ;;
  words) real "$@" | sed 's/|[A-Z_]*|/|FLYING|/' ;;
  flood) real "$@"; head -c 10000000 /dev/zero | tr '\0' x ;;
  half) real "$@" | head -c 20 ;;
  silence) ;;
  late) exec sleep 1000 ;;
  error) echo 'slurm_load_jobs error: Socket timed out on send/recv operation' >&2; exit 1 ;;
  forgets) case "$*" in *--jobs=*) echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1 ;; esac ;;
  *) real "$@" ;;
esac"#;

#[test]
fn a_squeue_that_lies_floods_hangs_or_forgets_ends_only_what_slurm_has_surely_forgotten() {
    let slurm = Slurm::shared();
    let home = Home::new();
    let squeue = slurm.wrapper(&home, "squeue", MOODS);
    let hooks = format!("commands = {{ squeue = \"{}\" }}", squeue.display());
    let install = |name: &str, config: &str, settle: &str, more: &str| {
        home.install(&slurm.template_with(name, config, &hooks).toml(more));
        let file = home.templates().join(name).join("template.toml");
        let text = std::fs::read_to_string(&file).expect("it was written");
        let timeouts = format!("settle = \"{settle}\"\nstatus = \"3s\"");
        std::fs::write(&file, text.replace("settle = \"4s\"", &timeouts)).expect("our own file");
    };
    install("batch", "", "4s", "");
    install("held", "options = [\"--hold\"]", "4s", "");
    install("broken", "", "60s", "[job]\nbefore = [\"exit 7\"]\n");
    let launcher = Launcher::at(&home).start();
    let mood = |word: &str| std::fs::write(home.path().join("mood"), word).expect("our own directory");
    let start =
        |template: &str| launcher.start_session(&json!({"template": template, "command": ["sleep", "1000"]}));
    let (running, held) = (start("batch"), start("held"));
    launcher.await_session(&running, "running", RUNS, |session| session["job"]["state"] == "running");
    launcher.await_session(&held, "held", RUNS, |session| session["job"]["state"] == "held");
    let job = slurm.await_job(&held, &["PENDING"]);
    for word in ["noise", "words", "flood", "half", "silence", "error", "late"] {
        mood(word);
        // The first may have begun before.
        Slurm::next_calls(&squeue, 2, Duration::from_secs(60));
        let [on, waits] = [&running, &held].map(|id| launcher.session(id));
        let same = on["link"] == "connected" && waits["state"] == "pending" && waits["job"]["id"] == job;
        assert!(same && waits["job"]["state"] == "held", "{word}: {on}\n{waits}");
    }
    // Words that nobody knows end nothing either where nobody speaks for the job.
    mood("words");
    let is_its_monitor = |one: &processes::Process| {
        let line = one.command_line();
        line.contains("wharf-monitor") && line.contains(&running)
    };
    let monitor = processes::all().into_iter().find(is_its_monitor).expect("it is connected");
    monitor.signal(rustix::process::Signal::KILL);
    launcher.await_session(&running, "lost", RUNS, |session| session["link"] == "lost");
    Slurm::next_calls(&squeue, 2, Duration::from_secs(60));
    assert_eq!(launcher.session(&running)["state"], "running");
    mood("");
    assert_eq!(launcher.await_ended(&running, RUNS)["end"]["cause"], "vanished");
    // Forgotten by the controller, a job is what accounting says, and else is gone. If it starts all the same, it is told to end.
    mood("forgets");
    let broken = start("broken");
    let ended = launcher.await_ended(&broken, RUNS);
    assert_eq!(
        (&ended["end"]["cause"], &ended["end"]["exit_code"]),
        (&json!("never_registered"), &json!(7)),
        "{ended}"
    );
    assert_eq!(launcher.await_ended(&held, RUNS)["end"]["cause"], "vanished");
    slurm.run(&["scontrol", "release", &job]);
    slurm.await_job(&held, &["COMPLETED", "CANCELLED", "FAILED"]);
    assert_eq!(launcher.session(&held)["state"], "ended");
    assert_eq!(launcher.inside(&held).len(), 0);
}
