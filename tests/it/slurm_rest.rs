//! Jobs that are submitted by a real slurmrestd: the same jobs as sbatch's, none twice, and sbatch where it cannot serve.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::proxy::{Lie, Proxy};
use wharf_tests::{Home, Launcher, Slurm};

const RUNS: Duration = Duration::from_secs(40);

/// A launcher that submits by the interface at that address, and the sbatch that it would call instead.
fn launcher(slurm: &Slurm, rest: &str, config: &str) -> (Launcher, PathBuf) {
    let home = Home::new();
    let wrapper = slurm.wrapper(&home, "sbatch", "real \"$@\"");
    let programs = home.path().join("programs");
    std::fs::create_dir(&programs).expect("our own directory takes directories");
    std::os::unix::fs::symlink(&wrapper, programs.join("sbatch")).expect("and links");
    home.install(&Slurm::instance_template("batch", config));
    (Launcher::at(&home).config(&slurm.instance(rest, &programs)).start(), wrapper)
}

fn http(slurm: &Slurm) -> String {
    format!("http://{}", slurm.rest().0)
}

fn words(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_job_is_the_one_that_sbatch_would_submit() {
    let slurm = Slurm::shared();
    let (by_rest, sbatch) = launcher(&slurm, &http(&slurm), "");
    let (by_command, _) = launcher(&slurm, "", "");
    let params = json!({"partition": "debug", "account": "physics", "cpus": 2, "memory": "64MiB", "time": "30m", "nodes": 1, "gpus": 1});
    let command = ["sh", "-c", "umask; env | grep -v ^WHARF | sort; pwd; exec sleep 1000"];
    let seen = |launcher: &Launcher| {
        let body = json!({"template": "batch", "params": params, "command": command});
        let id = launcher.start_session(&body);
        launcher.await_session(&id, "running", RUNS, |session| session["link"] == "connected");
        let job = slurm.await_job(&id, &["RUNNING"]);
        let shown = slurm.run(&["scontrol", "--oneliner", "show", "job", &job]);
        let log = launcher.http().get(&format!("/sessions/{id}/logs")).text();
        let home = launcher.home().path().display().to_string();
        let own = |text: &str| text.replace(&home, "HOME").replace(&id, "ID");
        // What is another one each time, or says by whom it was submitted.
        let changes = |word: &&String| {
            let varies = [
                "JobId=",
                "SLURM_JOBID=",
                "SLURM_JOB_ID=",
                "Priority=",
                "RunTime=",
                "SubmitTime=",
                "EligibleTime=",
                "AccrueTime=",
                "StartTime=",
                "EndTime=",
                "LastSchedEval=",
                "AllocNode",
                "NodeList=",
                "BatchHost=",
                "SLURM_TASK_PID=",
                "SLURM_JOB_NODELIST=",
                "SLURM_NODELIST=",
                "SLURMD_NODENAME=",
                "HOSTNAME=",
                "SLURM_TOPOLOGY_ADDR=",
                "Scheduler=",
                "SLURM_GTIDS=",
            ];
            varies.iter().any(|name| word.starts_with(name))
        };
        let kept = |text: &str| {
            words(&own(text)).iter().filter(|word| !changes(word)).cloned().collect::<BTreeSet<_>>()
        };
        launcher.terminate(&id, "20s");
        (kept(&shown), kept(&log))
    };
    let ((job, log), (expected_job, expected_log)) = (seen(&by_rest), seen(&by_command));
    assert!(log.contains("0077") && log.iter().any(|word| word.starts_with("PATH=")), "{log:?}");
    assert!(
        ["TimeLimit=00:30:00", "Requeue=0", "TresPerJob=gres:gpu:1"]
            .iter()
            .all(|word| expected_job.contains(*word)),
        "{expected_job:?}"
    );
    let differences = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
        one.symmetric_difference(other).cloned().collect::<Vec<_>>()
    };
    assert_eq!(differences(&job, &expected_job), Vec::<String>::new(), "the job");
    assert_eq!(differences(&log, &expected_log), Vec::<String>::new(), "its surroundings");
    assert_eq!(Slurm::calls(&sbatch), 0, "{}", by_rest.log());
}

#[test]
fn its_socket_serves_too_with_a_token_where_it_wants_one() {
    let slurm = Slurm::shared();
    let socket = format!("unix:{}", slurm.rest().1.display());
    let (launcher, sbatch) = launcher(&slurm, &socket, "requeue = true");
    let id = launcher.start_session(&json!({"template": "batch", "command": ["sleep", "1000"]}));
    launcher.await_session(&id, "running", RUNS, |session| session["link"] == "connected");
    let job = slurm.await_job(&id, &["RUNNING"]);
    let shown = slurm.run(&["scontrol", "--oneliner", "show", "job", &job]);
    assert!(shown.contains("Requeue=1"), "{shown}");
    assert_eq!(Slurm::calls(&sbatch), 0, "{}", launcher.log());
    launcher.terminate(&id, "20s");
}

#[test]
fn what_it_cannot_be_told_and_what_it_is_away_for_is_sbatchs() {
    let slurm = Slurm::shared();
    let (nice, sbatch) = launcher(&slurm, &http(&slurm), "options = [\"--nice=7\"]");
    let id = nice.start_session(&json!({"template": "batch", "command": ["sleep", "1000"]}));
    let job = slurm.await_job(&id, &["RUNNING", "PENDING"]);
    let shown = slurm.run(&["scontrol", "--oneliner", "show", "job", &job]);
    assert!(shown.contains("Nice=7"), "{shown}");
    assert_eq!(Slurm::calls(&sbatch), 1);
    nice.terminate(&id, "20s");

    let (away, sbatch) = launcher(&slurm, "http://127.0.0.1:9", "");
    for count in 1..=2 {
        let id = away.start_session(&json!({"template": "batch", "command": ["sleep", "1000"]}));
        slurm.await_job(&id, &["RUNNING", "PENDING"]);
        assert_eq!(Slurm::calls(&sbatch), count);
        away.terminate(&id, "20s");
    }
    let backends = away.http().get("/backends").expect(200);
    let near =
        backends["items"].as_array().into_iter().flatten().find(|backend| backend["name"] == "slurm/near");
    let near = near.unwrap_or_else(|| panic!("{backends}"));
    let lacks = "jobs are submitted by sbatch, not by slurmrestd at http://127.0.0.1:9: ";
    assert_eq!(near["healthy"], true, "{near}");
    assert!(near["last_error"].as_str().is_some_and(|words| words.starts_with(lacks)), "{near}");
    let doctor = away.cli(&["doctor"]).stdout;
    assert!(doctor.contains(&format!("slurm/near: {lacks}")), "{doctor}");
    let log = away.log();
    assert_eq!(log.matches("sbatch serves instead of Slurm's REST interface").count(), 1, "told once: {log}");
}

#[test]
fn a_refusal_is_the_users_to_read() {
    let slurm = Slurm::shared();
    let (launcher, sbatch) = launcher(&slurm, &http(&slurm), "");
    let id = launcher.start_session(&json!({"template": "batch", "params": {"partition": "nowhere"}}));
    let ended = launcher.await_ended(&id, RUNS);
    assert_eq!(ended["end"]["cause"], "submit_failed", "{ended}");
    let message = ended["end"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("Invalid partition name specified"), "{ended}");
    assert_eq!(Slurm::calls(&sbatch), 0, "nobody asks twice");
}

/// The session's end when nothing of the answer to its submit arrived but so much.
fn with_a_lie(lie: Lie) -> (Slurm, Launcher, PathBuf, Proxy) {
    let slurm = Slurm::shared();
    let proxy = Proxy::tcp(&slurm.rest().0);
    proxy.lie("job/submit", lie);
    let (launcher, sbatch) = launcher(&slurm, &format!("http://{}", proxy.address()), "");
    (slurm, launcher, sbatch, proxy)
}

#[test]
fn a_job_whose_answer_was_lost_is_found_and_never_repeated() {
    for cut in [0, 12, 200] {
        let (slurm, launcher, sbatch, proxy) = with_a_lie(Lie::Cut(cut));
        let id = launcher.start_session(&json!({"template": "batch", "command": ["sleep", "1000"]}));
        let session = launcher.await_session(&id, "running", RUNS, |session| session["link"] == "connected");
        let job = slurm.await_job(&id, &["RUNNING"]);
        assert_eq!(session["job"]["id"], job, "{session}");
        assert_eq!((Slurm::calls(&sbatch), slurm.jobs(&id).len()), (0, 1), "after {cut} bytes");
        let posts = proxy.take_requests().iter().filter(|line| line.contains("job/submit")).count();
        assert_eq!(posts, 1, "after {cut} bytes");
        launcher.terminate(&id, "20s");
    }
}

#[test]
fn one_that_never_answers_ends_as_unknown_and_the_next_start_is_sbatchs() {
    let (slurm, launcher, sbatch, _proxy) = with_a_lie(Lie::Silence);
    let body = json!({"template": "batch", "command": ["sleep", "1000"]});
    let id = launcher.start_session(&body);
    let ended = launcher.await_ended(&id, RUNS);
    assert_eq!(ended["end"]["cause"], "submit_failed", "{ended}");
    assert!(slurm.jobs(&id).is_empty());
    let next = launcher.start_session(&body);
    slurm.await_job(&next, &["RUNNING", "PENDING"]);
    assert_eq!(Slurm::calls(&sbatch), 1, "{}", launcher.log());
    launcher.terminate(&next, "20s");
}

#[test]
fn a_launcher_killed_in_the_middle_finds_the_one_job() {
    let (slurm, mut launcher, sbatch, proxy) = with_a_lie(Lie::Cut(0));
    proxy.be_honest();
    let first = launcher.start_session(&json!({"template": "batch", "command": ["true"]}));
    launcher.await_ended(&first, RUNS);
    // From now on answers come so slowly that the launcher dies over them.
    proxy.throttle(1);
    let id = launcher.start_session(&json!({"template": "batch", "command": ["sleep", "1000"]}));
    let job = slurm.await_job(&id, &["RUNNING", "PENDING"]);
    launcher.kill9();
    launcher.restart();
    let connected = |session: &Value| session["link"] == "connected" && session["job"]["id"].is_string();
    let session = launcher.await_session(&id, "running", RUNS, connected);
    assert_eq!(session["job"]["id"], job, "{session}");
    assert_eq!((Slurm::calls(&sbatch), slurm.jobs(&id).len()), (0, 1));
    launcher.terminate(&id, "20s");
}
