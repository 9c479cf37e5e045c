//! Sessions as jobs of a real Slurm: the whole life, pending and running, and what its administrators do to jobs.

use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::events::Following;
use wharf_tests::{Launcher, Probe, Slurm, Terminal, until, wait};

/// Long enough for a job to be scheduled and its monitor to register on a starved machine.
const RUNS: Duration = Duration::from_secs(40);

#[test]
fn a_session_is_a_job_of_that_name_and_comment() {
    let slurm = Slurm::shared();
    let launcher = Launcher::with(&slurm.template("batch", ""));
    let id = launcher.start_session(&json!({
        "template": "batch", "params": {"partition": "debug", "cpus": 2, "memory": "64MiB", "time": "30m", "gpus": 1},
        "command": ["sh", "-c", "echo hello from $SLURM_JOB_PARTITION; exec sleep 1000"],
        "env": {"GREETING": "$(id); `id`"},
    }));
    let session = launcher.await_session(&id, "running", RUNS, |session| {
        session["state"] == "running" && session["link"] == "connected"
    });
    let job = slurm.await_job(&id, &["RUNNING"]);
    assert_eq!(session["job"]["id"], job, "{session}");
    assert_eq!((&session["backend"], &session["scheduler"]), (&json!("slurm"), &json!("slurm")));
    let shown = slurm.run(&["scontrol", "--oneliner", "show", "job", &job]);
    for wanted in [
        &format!("JobName={id}"),
        &format!("Comment={id}"),
        "Requeue=0",
        "TimeLimit=00:30:00",
        "MinMemoryNode=64M",
        "CPUs/Task=2",
        "TresPerJob=gres:gpu:1",
        "Partition=debug",
    ] {
        assert!(shown.contains(wanted), "{wanted} is not in {shown}");
    }
    let seen = launcher.exec(&id, &["sh", "-c", "echo $GREETING; env"]);
    let environment = seen["stdout"].as_str().unwrap_or_default();
    assert!(environment.starts_with("$(id); `id`\n"), "{environment}");
    assert!(environment.contains(&format!("WHARF_SESSION_ID={id}\n")), "{environment}");
    assert!(environment.contains(&format!("SLURM_JOB_ID={job}\n")), "{environment}");
    assert!(!environment.contains("WHARF_INSTANCE="), "the mark of a hook is in the session: {environment}");
    let logs = launcher.http().get(&format!("/sessions/{id}/logs"));
    assert!(logs.text().contains("hello from debug"), "{logs}");
    // Asked at once when a job begins, not at the beat of connected sessions.
    launcher.await_session(&id, "its limit is known", Duration::from_secs(10), |session| {
        session["job"]["ends_at"].is_string()
    });
    let ended = launcher.terminate(&id, "20s");
    assert_eq!((&ended["state"], &ended["end"]["cause"]), (&json!("ended"), &json!("terminated")), "{ended}");
    slurm.await_job(&id, &["COMPLETED", "CANCELLED", "FAILED"]);
}

#[test]
fn a_command_that_ends_says_how() {
    let slurm = Slurm::shared();
    // What stands in the launcher's own environment changes nothing of what the commands do.
    let launcher = Launcher::builder()
        .template(&slurm.template("batch", ""))
        .env("SBATCH_PARTITION", "nowhere")
        .env("SQUEUE_FORMAT2", "JobID")
        .env("SLURM_TIME_FORMAT", "%s")
        .env("SCANCEL_STATE", "SUSPENDED")
        .start();
    let id = launcher.start_session(&json!({"template": "batch", "command": ["sh", "-c", "exit 3"]}));
    let ended = launcher.await_ended(&id, RUNS);
    assert_eq!(
        (&ended["end"]["cause"], &ended["end"]["exit_code"]),
        (&json!("exited"), &json!(3)),
        "{ended}"
    );
}

#[test]
fn a_held_job_is_pending_with_slurms_reason_in_words() {
    let slurm = Slurm::shared();
    let launcher = Launcher::with(&slurm.template("held", "options = [\"--hold\"]"));
    let id = launcher.start_session(&json!({"template": "held", "command": ["sleep", "1000"]}));
    let session = launcher.await_session(&id, "held", RUNS, |session| session["job"]["state"] == "held");
    assert_eq!(session["state"], "pending");
    assert_eq!(session["job"]["raw"], "PENDING", "{session}");
    assert_eq!(session["reason"]["code"], "held", "{session}");
    assert_eq!(session["reason"]["message"], "held by its user (JobHeldUser)", "{session}");
    assert!(session["job"]["checked_at"].is_string(), "{session}");
    assert_eq!(launcher.http().post(&format!("/sessions/{id}/exec"), &json!({"argv": ["true"]})).status, 409);
    assert_eq!(launcher.http().get(&format!("/sessions/{id}/logs")).text(), "");
    let job = slurm.await_job(&id, &["PENDING"]);
    let ended = launcher.terminate(&id, "20s");
    assert_eq!((&ended["state"], &ended["end"]["cause"]), (&json!("ended"), &json!("terminated")), "{ended}");
    assert_eq!(slurm.jobs(&id), [(job, "CANCELLED".to_owned())]);
}

#[test]
fn a_job_that_waits_for_resources_says_so_and_starts_in_its_time() {
    let slurm = Slurm::alone();
    let launcher = Launcher::with(&slurm.template("batch", "options = [\"--exclusive\"]\npositions = true"));
    let body = json!({"template": "batch", "params": {"partition": "one", "time": "10m"}, "command": ["sleep", "1000"]});
    let first = launcher.start_session(&body);
    launcher.await_session(&first, "running", RUNS, |session| session["link"] == "connected");
    let second = launcher.start_session(&body);
    let session = launcher.await_session(&second, "queued with an estimate", RUNS, |session| {
        session["job"]["state"] == "queued" && session["job"]["starts_at"].is_string()
    });
    assert_eq!(session["reason"]["code"], "queued", "{session}");
    let message = session["reason"]["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("waiting for "), "{session}");
    assert_eq!(session["job"]["position"], 1, "{session}");
    let third = launcher.start_session(&body);
    launcher.await_session(&third, "second in line", RUNS, |session| session["job"]["position"] == 2);
    // Held by hand it has no place, and gets one again.
    let job = slurm.await_job(&third, &["PENDING"]);
    slurm.run(&["scontrol", "hold", &job]);
    let session = launcher.await_session(&third, "held", RUNS, |session| session["job"]["state"] == "held");
    assert_eq!(session["reason"]["message"], "held by an administrator (JobHeldAdmin)", "{session}");
    assert!(session["job"]["position"].is_null(), "{session}");
    slurm.run(&["scontrol", "release", &job]);
    launcher.await_session(&third, "second again", RUNS, |session| session["job"]["position"] == 2);
    launcher.terminate(&first, "20s");
    let session = launcher.await_session(&second, "running", RUNS, |session| session["link"] == "connected");
    launcher.await_session(&third, "first in line", RUNS, |session| session["job"]["position"] == 1);
    assert!(session["job"]["position"].is_null() || session["job"]["state"] != "running", "{session}");
}

#[test]
fn many_pending_ones_are_ended_together() {
    let slurm = Slurm::shared();
    let home = wharf_tests::Home::new();
    let scancel = slurm.wrapper(&home, "scancel", "real \"$@\"");
    let hooks = format!("commands = {{ scancel = \"{}\" }}", scancel.display());
    home.install(&slurm.template_with("held", "options = [\"--hold\"]", &hooks));
    let launcher = Launcher::at(&home).start();
    let body = json!({"template": "held", "command": ["sleep", "1000"]});
    let ids: Vec<String> = (0..12).map(|_| launcher.start_session(&body)).collect();
    for id in &ids {
        slurm.await_job(id, &["PENDING"]);
        launcher.await_session(id, "submitted", RUNS, |session| session["job"]["id"].is_string());
    }
    let mut args = vec!["terminate"];
    args.extend(ids.iter().map(String::as_str));
    launcher.cli(&args).ok();
    for id in &ids {
        assert_eq!(launcher.session(id)["end"]["cause"], "terminated");
        slurm.await_job(id, &["CANCELLED"]);
    }
    assert!(Slurm::calls(&scancel) < ids.len(), "{} calls of scancel", Slurm::calls(&scancel));
}

#[test]
fn a_purged_pending_session_comes_back_when_its_job_starts() {
    let slurm = Slurm::shared();
    let launcher = Launcher::with(&slurm.template("held", "options = [\"--hold\"]"));
    let id =
        launcher.start_session(&json!({"template": "held", "name": "late", "command": ["sleep", "1000"]}));
    let job = slurm.await_job(&id, &["PENDING"]);
    launcher.await_session(&id, "submitted", RUNS, |session| session["job"]["id"].is_string());
    assert_eq!(launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})).status, 204);
    assert_eq!(launcher.http().get(&format!("/sessions/{id}")).status, 404);
    slurm.run(&["scontrol", "release", &job]);
    let back = launcher.await_reappeared(&id, RUNS);
    assert_eq!((&back["name"], &back["job"]["id"]), (&json!("late"), &json!(job)), "{back}");
    assert_eq!(launcher.terminate(&id, "20s")["end"]["cause"], "terminated");
    slurm.await_job(&id, &["COMPLETED", "CANCELLED", "FAILED"]);
}

#[test]
fn a_job_cancelled_by_hand_is_gone_and_not_by_wharf() {
    let slurm = Slurm::shared();
    let launcher = Launcher::builder()
        .template(&slurm.template("batch", ""))
        .template(&slurm.template("held", "options = [\"--hold\"]"))
        .start();
    let running = launcher.start_session(&json!({"template": "batch", "command": ["sleep", "1000"]}));
    let pending = launcher.start_session(&json!({"template": "held", "command": ["sleep", "1000"]}));
    launcher.await_session(&running, "running", RUNS, |session| session["link"] == "connected");
    launcher.await_session(&pending, "held", RUNS, |session| session["job"]["state"] == "held");
    for id in [&running, &pending] {
        let job = slurm.await_job(id, &["RUNNING", "PENDING"]);
        slurm.run(&["scancel", &job]);
    }
    for id in [&running, &pending] {
        let ended = launcher.await_ended(id, RUNS);
        assert_eq!(ended["end"]["cause"], "vanished", "{ended}");
        let message = ended["end"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("CANCELLED"), "{ended}");
    }
}

#[test]
fn a_requeued_job_is_the_same_session_in_its_next_life() {
    let slurm = Slurm::shared();
    let launcher = Launcher::with(&slurm.template("again", "requeue = true"));
    let id = launcher.start_session(&json!({"template": "again", "command": ["sleep", "1000"]}));
    let before = launcher.await_session(&id, "running", RUNS, |session| session["link"] == "connected");
    let job = slurm.await_job(&id, &["RUNNING"]);
    slurm.run(&["scontrol", "requeue", &job]);
    launcher.await_session(&id, "lost, and told why", RUNS, |session| {
        session["state"] == "running" && session["link"] == "lost" && session["reason"]["code"] == "requeued"
    });
    let after = launcher.await_session(&id, "in its next life", Duration::from_secs(90), |session| {
        session["link"] == "connected"
    });
    for member in ["id", "name", "created_at", "started_at"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    assert_eq!(after["job"]["id"], job);
    let seen = launcher.exec(&id, &["sh", "-c", "echo $SLURM_RESTART_COUNT"]);
    assert_eq!(seen["stdout"], "1\n", "{seen}");
    assert_eq!(launcher.inside(&id).iter().filter(|one| one.command_line().starts_with("sleep")).count(), 1);
    assert_eq!(launcher.terminate(&id, "20s")["end"]["cause"], "terminated");
}

#[test]
fn without_leave_to_requeue_slurm_does_not() {
    let slurm = Slurm::shared();
    let launcher = Launcher::with(&slurm.template("batch", ""));
    let id = launcher.start_session(&json!({"template": "batch", "command": ["sleep", "1000"]}));
    launcher.await_session(&id, "running", RUNS, |session| session["link"] == "connected");
    let job = slurm.await_job(&id, &["RUNNING"]);
    let (good, said) = slurm.command(&["scontrol", "requeue", &job]);
    assert!(!good, "{said}");
    wait::never("it was requeued", Duration::from_secs(3), || {
        let session = launcher.session(&id);
        (session["link"] != "connected").then(|| session.to_string())
    });
}

#[test]
fn a_time_limit_ends_it_as_timeout() {
    let slurm = Slurm::shared();
    let launcher = Launcher::with(&slurm.template("batch", ""));
    let body = json!({"template": "batch", "params": {"time": "1m"}, "command": ["sleep", "1000"]});
    let id = launcher.start_session(&body);
    launcher.await_session(&id, "running", RUNS, |session| session["link"] == "connected");
    // Whoever is in it is told what becomes of it.
    let terminal = Terminal::open(launcher.home(), &["attach", &id]);
    let ended = launcher.await_ended(&id, Duration::from_secs(150));
    assert_eq!(ended["end"]["cause"], "timeout", "{ended}");
    let (_, seen) = terminal.ends(RUNS);
    assert!(seen.contains("has ended: its job ran out of time (TIMEOUT)"), "{seen}");
    assert!(ended["end"]["message"].as_str().is_some_and(|message| message.contains("TIMEOUT")), "{ended}");
}

#[test]
fn more_time_is_given_and_shown() {
    let slurm = Slurm::shared();
    let launcher = Launcher::builder()
        .template(&slurm.template("batch", ""))
        .template(&slurm.template("endless", "options = [\"--time=UNLIMITED\"]"))
        .template(&slurm.template("held", "options = [\"--hold\"]"))
        .start();
    let body = json!({"template": "batch", "params": {"time": "1h"}, "command": ["sleep", "1000"]});
    let id = launcher.start_session(&body);
    launcher.await_session(&id, "running", RUNS, |session| session["link"] == "connected");
    let job = slurm.await_job(&id, &["RUNNING"]);
    let answer = launcher.http().post(&format!("/sessions/{id}/extend"), &json!({"by": "30m"})).expect(200);
    assert!(answer["ends_at"].is_string(), "{answer}");
    let shown = slurm.run(&["scontrol", "--oneliner", "show", "job", &job]);
    assert!(shown.contains("TimeLimit=01:30:00"), "{shown}");
    assert!(launcher.cli(&["extend", &id, "--by", "30m"]).ok().starts_with("ends at "));
    let shown = slurm.run(&["scontrol", "--oneliner", "show", "job", &job]);
    assert!(shown.contains("TimeLimit=02:00:00"), "{shown}");
    // The warning that its time is short goes as it gets more.
    let short = launcher
        .start_session(&json!({"template": "batch", "params": {"time": "9m"}, "command": ["sleep", "1000"]}));
    launcher.await_session(&short, "warned", RUNS, |session| session["reason"]["code"] == "time_limit");
    launcher.cli(&["extend", &short, "--by", "30m"]).ok();
    assert_eq!(launcher.session(&short)["reason"], json!(null));
    // Where there is nothing to add to, nothing is changed: Slurm itself would end the endless one.
    for (template, why) in [("endless", "has no time limit"), ("held", "has not started")] {
        let id = launcher.start_session(&json!({"template": template, "command": ["sleep", "1000"]}));
        launcher.await_session(&id, "in its place", RUNS, |session| {
            session["link"] == "connected" || session["job"]["state"] == "held"
        });
        let job = slurm.await_job(&id, &["RUNNING", "PENDING"]);
        let refused = launcher.cli(&["extend", &id, "--by", "30m"]);
        assert!(refused.status == 6 && refused.stderr.contains(why), "{refused:?}");
        let shown = slurm.run(&["scontrol", "--oneliner", "show", "job", &job]);
        assert!(shown.contains("TimeLimit=UNLIMITED"), "{shown}");
    }
}

#[test]
fn a_suspended_job_is_told_as_that_and_goes_on() {
    let slurm = Slurm::shared();
    let launcher = Launcher::with(&slurm.template("batch", ""));
    let id = launcher.start_session(&json!({"template": "batch", "command": ["sleep", "1000"]}));
    launcher.await_session(&id, "running", RUNS, |session| session["link"] == "connected");
    let job = slurm.await_job(&id, &["RUNNING"]);
    slurm.run(&["scontrol", "suspend", &job]);
    let session = launcher.await_session(&id, "suspended", RUNS, |session| {
        session["job"]["state"] == "suspended" && session["reason"]["code"] == "suspended"
    });
    assert_eq!(
        (&session["state"], &session["job"]["raw"]),
        (&json!("running"), &json!("SUSPENDED")),
        "{session}"
    );
    slurm.run(&["scontrol", "resume", &job]);
    launcher.await_session(&id, "going on", Duration::from_secs(90), |session| {
        session["link"] == "connected" && session["job"]["state"] == "running" && session["reason"].is_null()
    });
    assert_eq!(launcher.exec(&id, &["true"])["exit_code"], 0);
    assert_eq!(launcher.terminate(&id, "20s")["end"]["cause"], "terminated");
}

#[test]
fn choices_come_from_the_live_system() {
    let slurm = Slurm::shared();
    let launcher = Launcher::with(&slurm.template("batch", ""));
    let choices = launcher.http().post("/templates/batch/options", &json!({"params": {}})).expect(200);
    assert_eq!(choices["partition"], json!(["debug", "one"]), "{choices}");
    assert_eq!(choices["gpus"], json!([1, 2]), "{choices}");
    let accounts = choices["account"].as_array().cloned().unwrap_or_default();
    assert!(accounts.contains(&json!("physics")) && accounts.contains(&json!("chemistry")), "{choices}");
}

#[test]
fn a_refused_job_ends_with_slurms_words_and_leaves_nothing() {
    let slurm = Slurm::shared();
    let launcher = Launcher::with(&slurm.template("batch", ""));
    let id = launcher.start_session(&json!({"template": "batch", "params": {"partition": "nowhere"}}));
    let ended = launcher.await_ended(&id, RUNS);
    assert_eq!(ended["end"]["cause"], "submit_failed", "{ended}");
    assert!(
        ended["end"]["message"].as_str().is_some_and(|said| said.contains("nvalid partition")),
        "{ended}"
    );
    assert_eq!(slurm.jobs(&id), []);
    let bad = json!({"template": "batch", "params": {"partition": "--wrap=id"}});
    assert_eq!(launcher.http().post("/sessions", &bad).status, 422);
}

#[test]
fn a_job_that_dies_before_its_monitor_registers_is_told_with_its_log_which_was_followed() {
    let slurm = Slurm::shared();
    let lines = "[job]\nbefore = [\"for i in 1 2 3; do echo loading $i; sleep 1; done; echo no such module >&2; exit 7\"]";
    let launcher = Launcher::with(&slurm.template("broken", "").toml(lines));
    let id = launcher.start_session(&json!({"template": "broken", "command": ["sleep", "1000"]}));
    let mut following = Following::open(&launcher.http(), &format!("/sessions/{id}/logs?follow=true"));
    assert!(following.ends(RUNS), "{}", following.seen());
    let ended = launcher.await_ended(&id, RUNS);
    assert_eq!(ended["end"]["cause"], "never_registered", "{ended}");
    assert_eq!(ended["end"]["exit_code"], 7, "{ended}");
    let expected = "loading 1\nloading 2\nloading 3\nno such module\n";
    assert_eq!(following.seen(), expected);
    for stream in ["", "?stream=hook"] {
        assert_eq!(launcher.http().get(&format!("/sessions/{id}/logs{stream}")).text(), expected);
    }
}

#[test]
fn a_jobs_output_is_followed_from_the_queue_into_the_commands() {
    let slurm = Slurm::shared();
    let template = slurm.template("held", "options = [\"--hold\"]");
    let launcher = Launcher::with(
        &template.toml("[job]\nbefore = [\"for i in 1 2 3; do echo loading $i; sleep 1; done\"]"),
    );
    let command = ["sh", "-c", "for i in 1 2 3; do echo running $i; sleep 0.2; done"];
    let id = launcher.start_session(&json!({"template": "held", "command": command, "tty": false}));
    let job = slurm.await_job(&id, &["PENDING"]);
    launcher.await_session(&id, "held", RUNS, |session| session["job"]["state"] == "held");
    let mut following = Following::open(&launcher.http(), &format!("/sessions/{id}/logs?follow=true"));
    slurm.run(&["scontrol", "release", &job]);
    assert!(following.ends(Duration::from_secs(60)), "{}", following.seen());
    let lines: Vec<String> = ["loading", "running"]
        .iter()
        .flat_map(|word| (1..=3).map(move |i| format!("{word} {i}\n")))
        .collect();
    assert_eq!(following.seen(), lines.concat());
}

#[test]
fn one_squeue_an_interval_serves_all_templates_of_the_cluster() {
    let slurm = Slurm::shared();
    let home = wharf_tests::Home::new();
    let squeue = slurm.wrapper(&home, "squeue", "real \"$@\"");
    let hooks = format!("commands = {{ squeue = \"{}\" }}", squeue.display());
    for name in ["held-a", "held-b", "held-c"] {
        let template = slurm.template_with(name, "options = [\"--hold\"]", &hooks);
        home.install(&template);
        let file = home.templates().join(name).join("template.toml");
        let text = std::fs::read_to_string(&file).expect("it was written");
        std::fs::write(&file, text.replace("poll = \"1s\"", "poll = \"4s\"")).expect("our own file");
    }
    let launcher = Launcher::at(&home).start();
    assert_eq!(Slurm::calls(&squeue), 0, "nobody is there to be asked about");
    let templates = ["held-a", "held-b", "held-c"];
    // Eight at a time: what this is about is what comes after.
    let ids: Vec<String> = std::thread::scope(|scope| {
        let lane = |lane: usize| {
            let launcher = &launcher;
            scope.spawn(move || {
                let start = |at: usize| {
                    let body = json!({"template": templates[at % 3], "command": ["sleep", "1000"]});
                    launcher.start_session(&body)
                };
                (lane..500).step_by(8).map(start).collect::<Vec<_>>()
            })
        };
        let lanes: Vec<_> = (0..8).map(lane).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("it starts its sessions")).collect()
    });
    until("all are held", Duration::from_secs(200), || {
        let held = |page: &Value| {
            let items = page["items"].as_array().into_iter().flatten();
            items.filter(|one| one["job"]["state"] == "held").count()
        };
        let page = launcher.http().get("/sessions?limit=500").expect(200);
        Probe::when(held(&page) == 500, (), || format!("{} of 500", held(&page)))
    });
    let calls = Slurm::next_calls(&squeue, 7, Duration::from_secs(60));
    // The first may have been under way.
    wait::one_each("squeue for 500 sessions", Duration::from_secs(4), &calls[1..]);
    let mut args = vec!["terminate"];
    args.extend(ids.iter().map(String::as_str));
    launcher.cli(&args).ok();
}

#[test]
fn connected_sessions_are_asked_about_seldom_and_none_not_at_all() {
    let slurm = Slurm::shared();
    let home = wharf_tests::Home::new();
    let squeue = slurm.wrapper(&home, "squeue", "real \"$@\"");
    let hooks = format!("commands = {{ squeue = \"{}\" }}", squeue.display());
    for name in ["batch-a", "batch-b"] {
        home.install(&slurm.template_with(name, "", &hooks));
    }
    let launcher = Launcher::at(&home).start();
    let ids = ["batch-a", "batch-b"]
        .map(|template| launcher.start_session(&json!({"template": template, "command": ["sleep", "1000"]})));
    for id in &ids {
        launcher.await_session(id, "connected and asked about", RUNS, |session| {
            session["link"] == "connected" && session["job"]["state"] == "running"
        });
    }
    // `poll` is a second: one in ten of them. The first may still be one of the start.
    let calls = Slurm::next_calls(&squeue, 4, Duration::from_secs(60));
    wait::one_each("squeue for connected sessions", Duration::from_secs(10), &calls[1..]);
    for id in &ids {
        launcher.terminate(id, "20s");
    }
    let before = Slurm::calls(&squeue);
    wait::never("nobody is there to be asked about", Duration::from_secs(4), || {
        let calls = Slurm::calls(&squeue) - before;
        (calls > 0).then(|| format!("{calls} calls"))
    });
}

#[test]
fn the_conformance_run_passes() {
    let slurm = Slurm::shared();
    let home = wharf_tests::Home::new();
    home.install(&slurm.template("batch", ""));
    let dir = home.templates().join("batch");
    let output = home.cli(&["template", "test", &dir.to_string_lossy(), "--live"]);
    assert!(output.ok().contains("ok    no orphans"), "{output:?}");
}
