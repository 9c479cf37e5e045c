//! Interrupted sessions, incarnations, and two jobs for one session.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use wharf_tests::{Launcher, Probe, Template, until, wait};

/// A scheduler that says of every job what stands in the journal's file `state`.
const TOLD: &str = r#"s=$(cat "$J/state" 2>/dev/null || echo queued)
r=$(cat "$J/restarts" 2>/dev/null || echo 0)
out=
for j in $(ask '"job_id":"[^"]*"'); do
  out="$out${out:+,}\"$j\":{\"state\":\"$s\",\"raw\":\"TOLD\",\"restarts\":$r}"
done
printf '{"result":{%s}}\n' "$out""#;

fn launcher() -> Launcher {
    // Another backend than shell: that one cannot requeue, and settles an interruption at once.
    let template = Template::queueing("batch")
        .hook("status", TOLD)
        .toml("[timeouts]\npoll = \"500ms\"\nsettle = \"1s\"\nterminate = \"5s\"\n");
    Launcher::with(&template)
}

fn say(launcher: &Launcher, file: &str, word: &str) {
    std::fs::write(launcher.home().journal().join(file), word).expect("our own directory");
}

#[test]
fn a_cut_link_is_lost_and_an_unclear_scheduler_ends_nothing() {
    let launcher = launcher();
    say(&launcher, "state", "unknown");
    let id = launcher.start_session(&json!({"template": "batch"}));
    launcher.start_queued(&id);
    launcher.await_connected(&id);
    for process in launcher.inside(&id) {
        process.signal(Signal::STOP);
    }
    launcher.monitor(&id).signal(Signal::KILL);
    launcher.await_session(&id, "link lost", Duration::from_secs(20), |session| session["link"] == "lost");
    wait::never("cannot tell ended it", Duration::from_secs(4), || {
        let session = launcher.session(&id);
        (session["state"] != "running").then(|| session.to_string())
    });
    say(&launcher, "state", "gone");
    let ended = launcher.await_ended(&id, Duration::from_secs(20));
    assert!(matches!(ended["end"]["cause"].as_str(), Some("vanished" | "signaled")), "{ended}");
}

#[test]
fn gone_is_not_believed_against_a_connected_monitor() {
    let launcher = launcher();
    let id = launcher.start_session(&json!({"template": "batch"}));
    launcher.start_queued(&id);
    launcher.await_connected(&id);
    say(&launcher, "state", "gone");
    wait::never("it was believed", Duration::from_secs(8), || {
        let session = launcher.session(&id);
        (session["state"] != "running" || session["link"] != "connected").then(|| session.to_string())
    });
    assert_eq!(launcher.exec(&id, &["true"])["exit_code"], 0);
}

#[test]
fn a_forgotten_job_of_a_connected_session_is_asked_about_less_and_less_often() {
    let status = format!("date +%s%N >> \"$J/asked\"\n{TOLD}");
    // Connected ones are asked about every second.
    let lines = "[timeouts]\npoll = \"100ms\"\nsettle = \"1s\"\nterminate = \"5s\"\n";
    let launcher = Launcher::with(&Template::queueing("batch").hook("status", &status).toml(lines));
    let id = launcher.start_session(&json!({"template": "batch"}));
    say(&launcher, "state", "running");
    launcher.start_queued(&id);
    launcher.await_session(&id, "connected and asked about", Duration::from_secs(20), |session| {
        session["link"] == "connected" && session["job"]["state"] == "running"
    });
    say(&launcher, "state", "gone");
    launcher.await_session(&id, "forgotten", Duration::from_secs(20), |session| {
        session["job"]["state"] == "gone"
    });
    let file = launcher.home().journal().join("asked");
    let asked = || -> Vec<u64> {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    };
    let before = asked().len();
    let later = until("asked three times more", Duration::from_secs(30), || {
        let times = asked();
        Probe::when(times.len() >= before + 3, times.clone(), || format!("{} more", times.len() - before))
    });
    let gaps: Vec<u64> = later[before - 1..].windows(2).map(|two| (two[1] - two[0]) / 1_000_000).collect();
    assert!(gaps.windows(2).all(|two| two[1] > two[0] * 3 / 2), "milliseconds: {gaps:?}");
    // As soon as the answer matters, it is asked for.
    let inside = launcher.inside(&id);
    launcher.monitor(&id).signal(Signal::KILL);
    inside.iter().for_each(|process| process.signal(Signal::KILL));
    let ended = launcher.await_ended(&id, Duration::from_secs(3));
    assert_eq!(ended["end"]["cause"], "vanished", "{ended}");
}

#[test]
fn the_next_incarnation_takes_the_session_over_after_the_first_is_gone() {
    let launcher = launcher();
    let id = launcher.start_session(&json!({"template": "batch", "name": "again"}));
    launcher.start_queued(&id);
    launcher.await_connected(&id);
    let before = launcher.session(&id);
    let first = launcher.monitor(&id);
    say(&launcher, "state", "queued");
    say(&launcher, "restarts", "1");
    // The node fails: the monitor and what runs in it are gone without a word.
    let inside = launcher.inside(&id);
    first.signal(Signal::KILL);
    inside.iter().for_each(|process| process.signal(Signal::KILL));
    until("the session is lost, or waits for its next life", Duration::from_secs(20), || {
        let session = launcher.session(&id);
        match session["state"].as_str() {
            Some("running") if session["link"] == "lost" => Probe::Ready(()),
            Some("ended") => Probe::Never(session.to_string()),
            _ => Probe::NotYet(session.to_string()),
        }
    });
    launcher.start_queued(&id);
    let after = launcher.await_connected(&id);
    for member in ["id", "name", "created_at"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    assert_eq!(launcher.inside(&id).len(), 1);
    let ended = launcher.terminate(&id, "15s");
    assert_eq!(ended["end"]["cause"], "terminated");
}

#[test]
fn of_two_jobs_the_registered_one_is_kept() {
    // The submit's answer is lost, and the scheduler has taken it twice.
    let submit = "queue_job; echo \"$id q2-$id $(monitor)\" >> \"$J/queue\"; exit 3";
    let find = r#"i=$(ask '"id":"[a-z0-9]\{20\}"' | head -n 1)
printf '{"result":{"%s":["q-%s","q2-%s"]}}\n' "$i" "$i" "$i""#;
    let launcher = Launcher::with(
        &Template::working("twice").hook("submit", submit).hook("find", find).without("status"),
    );
    let id = launcher.start_session(&json!({"template": "twice"}));
    launcher.queued(&id);
    let session = launcher.await_session(&id, "one job is kept", Duration::from_secs(20), |session| {
        session["job"]["id"].is_string()
    });
    assert_eq!(session["job"]["id"], format!("q-{id}"), "the oldest: {session}");
    launcher.await_call("terminate", &id);
    assert_eq!(launcher.session(&id)["state"], "pending");
}
