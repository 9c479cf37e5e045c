//! A Slurm of its own, so that nobody else has to wait: its controller is away for a minute; jobs that need more memory than
//! they asked for; jobs that more urgent ones push aside.

use std::time::Duration;

use serde_json::{Value, json};
use wharf_protocol::Time;
use wharf_tests::{Home, Launcher, Probe, Slurm, Template, until, wait};

const RUNS: Duration = Duration::from_secs(40);

/// A launcher whose configuration names the cluster, and a template of it as its instance.
fn configured(slurm: &Slurm) -> Launcher {
    let home = Home::new();
    let config = format!("[backends.slurm.main]\nconf = \"{}\"\n", slurm.conf());
    std::fs::write(home.config(), config).expect("our own file");
    let text = "api = 1\nextends = \"slurm\"\ninstance = \"main\"\n[timeouts]\npoll = \"1s\"\n";
    home.install(&Template::new("here").toml(text));
    Launcher::at(&home).start()
}

#[test]
fn a_minute_without_the_controller_changes_nothing_and_then_it_catches_up() {
    let slurm = Slurm::small();
    let mut launcher = Launcher::builder()
        .template(&slurm.template("batch", ""))
        .template(&slurm.template("held", "options = [\"--hold\"]"))
        .start();
    let start = |launcher: &Launcher, template: &str| {
        launcher.start_session(&json!({"template": template, "command": ["sleep", "1000"]}))
    };
    let (running, held, to_end) =
        (start(&launcher, "batch"), start(&launcher, "held"), start(&launcher, "held"));
    launcher.await_session(&running, "running", RUNS, |session| session["link"] == "connected");
    for id in [&held, &to_end] {
        launcher.await_session(id, "held", RUNS, |session| session["job"]["state"] == "held");
    }
    let configured = configured(&slurm);
    let here = configured.start_session(&json!({"template": "here", "command": ["sleep", "1000"]}));
    configured.await_session(&here, "running", RUNS, |session| session["link"] == "connected");
    slurm.stop_controller();
    let answer = launcher.http().post(&format!("/sessions/{to_end}/terminate?wait=1s"), &json!({}));
    assert_eq!(answer.status, 503, "{answer}");
    let answer = launcher.http().post(&format!("/sessions/{running}/extend"), &json!({"by": "30m"}));
    assert_eq!(answer.status, 503, "{answer}");
    // How old what is known is, can be seen: the time of the last answer stays as it was.
    let before = launcher.session(&held);
    let is_as_it_was = |launcher: &Launcher| {
        let [on, now] = [&running, &held].map(|id| launcher.session(id));
        let same = on["link"] == "connected" && now["state"] == "pending" && now["job"] == before["job"];
        (!same).then(|| format!("{on}\n{now}"))
    };
    wait::never("a session changed its state", Duration::from_secs(30), || is_as_it_was(&launcher));
    // A launcher that is started again in the middle of it knows no less, but when it was that it was told.
    launcher.kill9();
    launcher.restart();
    launcher.await_session(&running, "back", RUNS, |session| session["link"] == "connected");
    let late = start(&launcher, "batch");
    launcher.await_session(&late, "waits, and says for what", RUNS, |session| {
        session["state"] == "pending" && session["reason"]["code"] == "unavailable"
    });
    wait::never("a session changed its state", Duration::from_secs(30), || {
        let [on, now, waiting] = [&running, &held, &late].map(|id| launcher.session(id));
        let same = on["link"] == "connected"
            && now["state"] == "pending"
            && now["job"]["id"] == before["job"]["id"]
            && now["job"]["state"] == "held"
            && now["job"]["checked_at"].is_null()
            && waiting["state"] == "pending"
            && waiting["job"].is_null();
        (!same).then(|| format!("{on}\n{now}\n{waiting}"))
    });
    // A cluster that the configuration names is asked first: nothing is even recorded.
    let refused = configured.http().post("/sessions", &json!({"template": "here"}));
    refused.problem(503, "unavailable");
    assert!(refused.retry_after() > 0 && configured.listed().len() == 1, "{refused}");
    let backends = configured.http().get("/backends").expect(200);
    let of_it = |one: &&Value| one["name"] == "slurm/main" && one["healthy"] == false;
    assert!(backends["items"].as_array().into_iter().flatten().any(|one| of_it(&one)), "{backends}");
    slurm.repair();
    let known =
        |session: &Value| session["job"]["checked_at"].as_str().and_then(|at| at.parse::<Time>().ok());
    let checked = known(&before);
    launcher.await_session(&held, "asked about again", Duration::from_secs(90), |session| {
        known(session) > checked
    });
    launcher
        .await_session(&late, "running", Duration::from_secs(90), |session| session["link"] == "connected");
    assert_eq!(slurm.jobs(&late).len(), 1);
    assert_eq!(launcher.exec(&running, &["true"])["exit_code"], 0);
    assert_eq!(configured.terminate(&here, "20s")["end"]["cause"], "terminated");
    // The wish was kept, and is fulfilled when asked again.
    assert_eq!(launcher.terminate(&to_end, "30s")["end"]["cause"], "terminated");
    launcher.terminate(&held, "20s");
    for id in [&held, &to_end] {
        slurm.await_job(id, &["CANCELLED"]);
    }
}

/// By the kernel where this host has that cgroup, else by the word of a squeue in front of the real one.
#[test]
fn a_job_that_takes_more_memory_than_it_asked_for_has_run_out_of_memory() {
    let slurm = Slurm::small();
    let home = Home::new();
    let told = slurm.limits_memory();
    let squeue = slurm.wrapper(&home, "squeue", "real \"$@\" | sed 's/|FAILED *|/|OUT_OF_MEMORY|/'");
    let hooks = format!("commands = {{ squeue = \"{}\" }}", squeue.display());
    home.install(&slurm.template_with("batch", "", if told { "" } else { &hooks }));
    let broken = "[job]\nbefore = ['x=$(head -c 300000000 /dev/zero | tr \"\\0\" x); exit 9']\n";
    home.install(&slurm.template_with("greedy", "", if told { "" } else { &hooks }).toml(broken));
    let launcher = Launcher::at(&home).start();
    // In the job script, before there is a monitor: only Slurm can tell.
    let early = launcher.start_session(&json!({"template": "greedy", "params": {"memory": "64MiB"}}));
    let ended = launcher.await_ended(&early, RUNS);
    assert_eq!(ended["end"]["cause"], "out_of_memory", "{ended}");
    assert!(ended["end"]["message"].as_str().is_some_and(|text| text.contains("OUT_OF_MEMORY")), "{ended}");
    if !told {
        return;
    }
    // In the session: the monitor lives on and tells.
    let script = "echo begins; x=$(head -c 300000000 /dev/zero | tr '\\0' x); exit 9";
    let body = json!({"template": "batch", "params": {"memory": "128MiB"}, "command": ["sh", "-c", script]});
    let id = launcher.start_session(&body);
    let ended = launcher.await_ended(&id, RUNS);
    assert_eq!(ended["end"]["cause"], "out_of_memory", "{ended}");
    let end = &ended["end"];
    assert!(end["signal"] == 9 || end["exit_code"].as_i64().is_some_and(|code| code != 0), "{ended}");
    until("what it printed is kept", RUNS, || {
        let text = launcher.http().get(&format!("/sessions/{id}/logs")).text();
        Probe::when(text.contains("begins"), (), || text)
    });
}

#[test]
fn a_preempted_job_is_the_same_session_again_where_it_may_and_else_ends_as_that() {
    let slurm = Slurm::small();
    let launcher = Launcher::builder()
        .template(&slurm.template("again", "requeue = true\noptions = [\"--exclusive\"]"))
        .template(&slurm.template("batch", "options = [\"--exclusive\"]"))
        .start();
    let run = |template: &str| {
        let id = launcher.start_session(&json!({"template": template, "command": ["sleep", "1000"]}));
        launcher.await_session(&id, "running", RUNS, |session| session["link"] == "connected");
        id
    };
    let preempt = || {
        let urgent = ["sbatch", "--partition=urgent", "--exclusive", "--time=1", "--output=/dev/null"];
        slurm.run(&[&urgent[..], &["--chdir=/", "--wrap=sleep 3"]].concat());
    };
    let id = run("again");
    let before = launcher.session(&id);
    preempt();
    launcher.await_session(&id, "lost, and told why", RUNS, |session| {
        session["state"] == "running" && session["link"] == "lost" && session["reason"]["code"] == "requeued"
    });
    let after = launcher.await_session(&id, "in its next life", Duration::from_secs(90), |session| {
        session["link"] == "connected"
    });
    for member in ["created_at", "started_at"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    assert_eq!(launcher.exec(&id, &["sh", "-c", "echo $SLURM_RESTART_COUNT"])["stdout"], "1\n");
    assert_eq!(launcher.terminate(&id, "20s")["end"]["cause"], "terminated");
    let id = run("batch");
    preempt();
    let ended = launcher.await_ended(&id, RUNS);
    assert_eq!(ended["end"]["cause"], "preempted", "{ended}");
}
