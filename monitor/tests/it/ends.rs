//! How a command ends: by itself, by order, by a signal that nobody ordered; and what is left of it.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use wharf_protocol::monitor::{OnOrphan, StreamOpen};
use wharf_protocol::session::StoppedBy;
use wharf_protocol::time::Dur;
use wharf_protocol::{ErrorCode, api::LogStream};

use crate::launcher::{Link, start};
use crate::place::{Place, lives, pid_in, until};

const SECOND: Duration = Duration::from_secs(1);

/// A script that catches SIGTERM and hang-ups, and says when it does.
const DEAF: &str = "trap '' TERM HUP INT; echo ready; while :; do sleep 0.2; done";

fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

async fn gone(pid: i32) {
    until("a process is gone", || (!lives(pid)).then_some(())).await;
}

#[tokio::test]
async fn the_commands_own_code_is_the_jobs() {
    let place = Place::new(&["sh", "-c", "exit 37"]);
    let mut job = place.run();
    let report = place.link().await.kept().await;
    assert_eq!((report.exit_code, report.signal, report.interrupted), (Some(37), None, false));
    assert_eq!(report.stopped_by, None);
    assert_eq!(job.code().await, 37);
}

#[tokio::test]
async fn a_signal_that_nobody_ordered() {
    for (name, number, interrupted) in
        [("TERM", 15, true), ("KILL", 9, true), ("USR1", 10, false), ("INT", 2, false)]
    {
        let place = Place::new(&["sh", "-c", &format!("kill -{name} $$; sleep 1000")]);
        let mut job = place.run();
        let report = place.link().await.kept().await;
        assert_eq!((report.exit_code, report.signal), (None, Some(number)), "{name}");
        assert_eq!(report.interrupted, interrupted, "{name}");
        assert_eq!(report.stopped_by, None, "{name}");
        assert_eq!(job.code().await, 128 + number, "{name}");
    }
}

#[tokio::test]
async fn an_idle_login_shell_on_a_terminal_ends_by_signal_within_a_second() {
    let place = Place::new(&["bash", "-l"]).tty();
    let mut job = place.run();
    let mut link = place.link().await;
    // Its prompt: it waits for somebody to type.
    let mut logs = link.open(&StreamOpen::Logs { stream: LogStream::All, tail: None, follow: true }).await;
    assert!(logs.more().await);
    let began = Instant::now();
    link.end(10 * SECOND).await;
    let report = link.exited().await;
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    assert_eq!(report.stopped_by, Some(StoppedBy::Signal));
    assert!(!report.interrupted);
    link.keep().await;
    job.end().await;
}

#[tokio::test]
async fn one_that_ignores_every_word_is_killed_after_the_grace() {
    for tty in [false, true] {
        let place = Place::new(&["sh", "-c", DEAF]).with(|bootstrap| bootstrap.tty = tty);
        let mut job = place.run();
        let mut link = place.link().await;
        link.prints("ready").await;
        let began = Instant::now();
        link.end(SECOND).await;
        // Asked twice, nothing changes.
        link.end(20 * SECOND).await;
        let report = link.exited().await;
        assert!(began.elapsed() >= SECOND && began.elapsed() < 5 * SECOND, "{:?}", began.elapsed());
        assert_eq!((report.stopped_by, report.signal), (Some(StoppedBy::Kill), Some(9)), "tty {tty}");
        assert!(!report.interrupted);
        link.keep().await;
        assert_eq!(job.code().await, 137);
    }
}

#[tokio::test]
async fn daemons_are_taken_down_with_the_command() {
    // One in a session of its own that ignores signals, one whose parent is gone, and one with a child.
    let script = "setsid sh -c 'trap \"\" TERM HUP; echo $$ >one; sleep 1000 & while :; do sleep 1; done' & \
                  (setsid sh -c 'echo $$ >two; exec sleep 1000' &); \
                  setsid setsid sh -c 'sleep 1000 & echo $! >three; wait' & \
                  exec sleep 1000";
    let place = Place::new(&["sh", "-c", script]);
    let _job = place.run();
    let mut link = place.link().await;
    let mut pids = Vec::new();
    for name in ["one", "two", "three"] {
        pids.push(pid_in(&place.path(name)).await);
    }
    link.end(SECOND).await;
    let report = link.exited().await;
    // Gone before the report, not some time after it.
    assert!(pids.iter().all(|pid| !lives(*pid)), "{pids:?}");
    assert_eq!(report.stopped_by, Some(StoppedBy::Signal));
}

#[tokio::test]
async fn the_children_of_a_command_that_ends_by_itself_are_taken_down_too() {
    let place = Place::new(&[
        "sh",
        "-c",
        "(setsid sh -c 'trap \"\" TERM; echo $$ >one; while :; do sleep 1; done' &); \
                                          while [ ! -s one ]; do sleep 0.05; done; exit 4",
    ]);
    let mut job = place.run();
    let mut link = place.link().await;
    let pid = pid_in(&place.path("one")).await;
    assert_eq!(link.exited().await.exit_code, Some(4));
    assert!(!lives(pid));
    link.keep().await;
    assert_eq!(job.code().await, 4);
}

#[tokio::test]
async fn the_whole_group_has_the_grace_not_only_its_leader() {
    // The shell dies of SIGTERM at once; its child saves its work first.
    let worker =
        "trap 'sleep 2; echo saved >saved; exit 0' TERM; echo $$ >worker; while :; do sleep 0.1; done";
    let place = Place::new(&["sh", "-c", &format!("bash -c \"{}\"; true", worker.replace('$', "\\$"))]);
    let mut job = place.run();
    let mut link = place.link().await;
    let pid = pid_in(&place.path("worker")).await;
    let began = Instant::now();
    link.end(15 * SECOND).await;
    let report = link.exited().await;
    assert!(began.elapsed() < 8 * SECOND, "not the whole grace: {:?}", began.elapsed());
    assert!(!lives(pid));
    assert_eq!(std::fs::read_to_string(place.path("saved")).unwrap(), "saved\n");
    assert_eq!(report.stopped_by, Some(StoppedBy::Signal));
    link.keep().await;
    job.end().await;
}

#[tokio::test]
async fn a_clean_stop_command_comes_first() {
    let script = "trap '' TERM; echo ready; while [ ! -e stop ]; do sleep 0.05; done; exit 5";
    let place = Place::new(&["sh", "-c", script])
        .with(|bootstrap| bootstrap.stop = Some(vec!["touch".to_owned(), "stop".to_owned()]));
    let mut job = place.run();
    let mut link = place.link().await;
    link.prints("ready").await;
    link.end(10 * SECOND).await;
    let report = link.kept().await;
    assert_eq!((report.exit_code, report.stopped_by), (Some(5), Some(StoppedBy::Command)));
    assert_eq!(job.code().await, 5);
}

#[tokio::test]
async fn a_clean_stop_command_that_fails_or_hangs_is_only_the_first_attempt() {
    for stop in ["false", "/nowhere/at/all", "sleep"] {
        let place = Place::new(&["sleep", "1000"])
            .with(|bootstrap| bootstrap.stop = Some(vec![stop.to_owned(), "1000".to_owned()]));
        let mut job = place.run();
        let mut link = place.link().await;
        let began = Instant::now();
        link.end(2 * SECOND).await;
        let report = link.kept().await;
        assert_eq!((report.signal, report.stopped_by), (Some(15), Some(StoppedBy::Signal)), "{stop}");
        assert!(began.elapsed() < 4 * SECOND, "{stop}: {:?}", began.elapsed());
        assert_eq!(job.code().await, 143, "{stop}");
    }
}

#[tokio::test]
async fn a_monitor_that_is_told_to_end_says_that_it_was_interrupted() {
    let place = Place::new(&["sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done"]);
    let mut job = place.run();
    let mut link = place.link().await;
    link.prints("ready").await;
    job.signal(Signal::TERM);
    let report = link.kept().await;
    assert!(report.interrupted);
    assert_eq!((report.exit_code, report.signal, report.stopped_by), (Some(3), Some(15), None));
    assert_eq!(job.code().await, 3);
}

#[tokio::test]
async fn a_monitor_that_is_told_to_end_without_a_launcher_does_not_stay_long() {
    let mut place = Place::new(&["sh", "-c", DEAF]);
    let mut job = place.run();
    let link = place.link().await;
    link.prints("ready").await;
    place.leave();
    link.cut();
    let began = Instant::now();
    job.signal(Signal::TERM);
    assert_eq!(job.code().await, 137);
    assert!(began.elapsed() < 12 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test]
async fn one_that_writes_without_end_is_ended_as_well() {
    for tty in [false, true] {
        let place = Place::new(&["yes"]).with(|bootstrap| bootstrap.tty = tty);
        let _job = place.run();
        let mut link = place.link().await;
        link.prints("y").await;
        let began = Instant::now();
        link.end(10 * SECOND).await;
        assert_eq!(link.exited().await.stopped_by, Some(StoppedBy::Signal));
        assert!(began.elapsed() < 3 * SECOND, "tty {tty}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn without_a_launcher_for_too_long_a_session_ends_cleanly() {
    let place = Place::new(&["sleep", "1000"])
        .with(|bootstrap| bootstrap.limits.on_orphan = OnOrphan::End(Dur(2 * SECOND)));
    let mut job = place.run();
    let mut link = place.link().await;
    let command = i32::try_from(link.hello.pid.unwrap()).unwrap();
    // Longer than that with a launcher is no reason.
    let began = Instant::now();
    while began.elapsed() < 3 * SECOND {
        assert!(lives(command) && !job.is_over());
        link.ping().await;
    }
    link.cut();
    // One that says nothing is no launcher.
    let link = Link::accept(&place).await;
    assert!(lives(command), "not at once");
    gone(command).await;
    link.cut();
    let mut link = place.link().await;
    let report = link.kept().await;
    assert!(report.orphaned && !report.interrupted);
    assert_eq!(report.signal, Some(15));
    assert_eq!(job.end().await.code(), Some(143));
}

#[tokio::test]
async fn nothing_is_run_in_a_session_that_is_over() {
    let place = Place::new(&["sh", "-c", "echo bye; exit 1"]);
    let mut job = place.run();
    let mut link = place.link().await;
    link.exited().await;
    let exec = StreamOpen::Exec(start(&["sh", "-c", "echo $$ >late; sleep 1000"]));
    assert_eq!(link.refusal(&exec).await, ErrorCode::SessionEnded);
    assert_eq!(link.logs(LogStream::All).await, "bye\n");
    assert!(!place.path("late").exists());
    link.keep().await;
    assert_eq!(job.code().await, 1);
}

#[tokio::test]
async fn programs_that_somebody_runs_end_with_the_session() {
    let place = Place::new(&["sleep", "1000"]);
    let _job = place.run();
    let mut link = place.link().await;
    let _exec =
        link.exec(&["setsid", "sh", "-c", "trap '' TERM; echo $$ >pid; while :; do sleep 1; done"]).await;
    let pid = pid_in(&place.path("pid")).await;
    let command = i32::try_from(link.hello.pid.unwrap()).unwrap();
    kill(command, Signal::KILL);
    assert!(link.exited().await.interrupted);
    assert!(!lives(pid));
}

#[tokio::test]
async fn orphans_are_reaped() {
    let place = Place::new(&[
        "sh",
        "-c",
        "for i in 1 2 3 4 5; do (sleep 0.1 & echo $! >>pids); done; exec sleep 1000",
    ]);
    let job = place.run();
    let _link = place.link().await;
    let children = format!("/proc/{0}/task/{0}/children", job.pid());
    until("only the command is left", || {
        let pids = std::fs::read_to_string(place.path("pids")).ok()?;
        let left = std::fs::read_to_string(&children).ok()?;
        (pids.lines().count() == 5 && left.split_whitespace().count() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn as_the_first_process_of_a_container_it_reaps_and_ends_all() {
    // Namespaces of its own need privileges or a kernel that gives them to everybody.
    let unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let possible = std::process::Command::new(unshare[0]).args(&unshare[1..]).arg("true").output();
    if !possible.is_ok_and(|output| output.status.success()) {
        return;
    }
    let script = "(setsid sh -c 'trap \"\" TERM; echo $$ >one; while :; do sleep 1; done' &); echo first $PPID; \
                  while [ ! -s one ]; do sleep 0.05; done; exit 9";
    let place = Place::new(&["sh", "-c", script]);
    let mut program = std::process::Command::new(unshare[0]);
    program.args(&unshare[1..]).arg(env!("CARGO_BIN_EXE_wharf-monitor"));
    program.arg("run").arg("--bootstrap").arg(place.write());
    let mut child = program.spawn().unwrap();
    let mut link = place.link().await;
    assert_eq!(link.exited().await.exit_code, Some(9));
    assert_eq!(link.logs(LogStream::All).await, "first 1\n");
    link.keep().await;
    let status = until("the container ends", || child.try_wait().unwrap()).await;
    assert_eq!((status.code(), status.signal()), (Some(9), None));
}
