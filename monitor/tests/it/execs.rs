//! Programs that somebody runs in a session.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use wharf_protocol::monitor::StreamOpen;
use wharf_protocol::stream::{ClientControl, ExecStart, Exit, Size};

use crate::launcher::start;
use crate::place::{Place, idle, lives, pid_in, until};

#[tokio::test]
async fn an_exec_has_both_outputs_and_its_own_code() {
    let (_place, _job, link) = idle().await;
    let mut exec = link.exec(&["sh", "-c", "echo out; echo err >&2; exit 23"]).await;
    assert_eq!(exec.code().await, Some(23));
    assert_eq!((&exec.stdout[..], &exec.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    let mut exec = link.exec(&["sh", "-c", "kill -USR1 $$"]).await;
    exec.rest().await;
    assert_eq!(exec.exit, Some(Exit { code: None, signal: Some(10) }));
}

#[tokio::test]
async fn an_exec_that_cannot_be_executed_says_so() {
    let (_place, _job, link) = idle().await;
    for (program, code, words) in
        [("/nowhere/at/all", 127, "No such file or directory"), ("/etc/passwd", 126, "Permission denied")]
    {
        let mut exec = link.exec(&[program]).await;
        assert_eq!(exec.code().await, Some(code));
        let told = String::from_utf8(exec.stderr).unwrap();
        assert!(told.contains(program) && told.contains(words), "{told}");
    }
    let gone = ExecStart { cwd: Some("/nowhere/at/all".to_owned()), ..start(&["true"]) };
    let mut exec = link.open(&StreamOpen::Exec(gone)).await;
    assert_eq!(exec.code().await, Some(126));
    assert!(exec.text().contains("/nowhere/at/all"), "{}", exec.text());
}

#[tokio::test]
async fn an_exec_reads_what_is_sent_and_sees_its_end() {
    let (_place, _job, link) = idle().await;
    let mut exec = link.exec(&["sha256sum"]).await;
    for _ in 0..40 {
        exec.send(&[b'x'; 50_000]).await;
    }
    exec.control(&ClientControl::Eof(true)).await;
    assert_eq!(exec.code().await, Some(0));
    // sha256 of two million times "x".
    let mut twin = link.exec(&["sh", "-c", "head -c 2000000 /dev/zero | tr '\\0' x | sha256sum"]).await;
    assert_eq!(twin.code().await, Some(0));
    assert_eq!(exec.text(), twin.text());
}

#[tokio::test]
async fn an_exec_has_the_sessions_environment_and_directory_and_its_own_group() {
    let place = Place::new(&["sleep", "1000"])
        .with(|bootstrap| drop(bootstrap.env.insert("OF_THE_SESSION".to_owned(), "yes".to_owned())));
    let _job = place.run();
    let link = place.link().await;
    let what = ExecStart {
        env: BTreeMap::from([("OF_THE_EXEC".to_owned(), "too".to_owned())]),
        ..start(&["sh", "-c", "echo $OF_THE_SESSION $OF_THE_EXEC $PWD; ps -o pgid= -p $$; echo $$"])
    };
    let mut exec = link.open(&StreamOpen::Exec(what)).await;
    assert_eq!(exec.code().await, Some(0));
    let text = exec.text();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert_eq!(lines[0], format!("yes too {}", place.dir.path().display()));
    assert_eq!(lines[1], lines[2]);
}

#[tokio::test]
async fn a_child_in_the_background_does_not_delay_an_exec() {
    let (place, _job, link) = idle().await;
    let began = Instant::now();
    let mut exec = link.exec(&["sh", "-c", "sleep 1000 & echo $! >pid; echo done; exit 6"]).await;
    assert_eq!(exec.code().await, Some(6));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(exec.text(), "done\n");
    assert!(lives(pid_in(&place.path("pid")).await), "it goes on");
}

#[tokio::test]
async fn an_exec_is_sent_signals() {
    let (_place, _job, link) = idle().await;
    let mut exec = link
        .exec(&["sh", "-c", "trap 'echo caught; exit 8' INT; echo ready; while :; do sleep 0.1; done"])
        .await;
    exec.until("ready").await;
    exec.control(&ClientControl::Signal("INT".to_owned())).await;
    assert_eq!(exec.code().await, Some(8));
    assert_eq!(exec.text(), "ready\ncaught\n");
}

#[tokio::test]
async fn an_exec_on_a_terminal_has_one_of_the_right_size() {
    let (_place, _job, link) = idle().await;
    let what = ExecStart {
        tty: true,
        rows: Some(33),
        cols: Some(99),
        ..start(&["sh", "-c", "stty size; echo err >&2; read line; stty size; echo got $line"])
    };
    let mut exec = link.open(&StreamOpen::Exec(what)).await;
    exec.until("33 99\r\nerr\r\n").await;
    exec.control(&ClientControl::Resize(Size { rows: 40, cols: 100 })).await;
    exec.send(b"hello\n").await;
    assert_eq!(exec.code().await, Some(0));
    assert!(exec.text().ends_with("40 100\r\ngot hello\r\n"), "{:?}", exec.text());
    assert!(exec.stderr.is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_exec() {
    let (place, _job, link) = idle().await;
    // It still has something to print when it hears that nobody reads any more.
    let last = "echo out; echo err >&2; echo told >told; exit";
    let script = format!("trap '{last}' HUP; sleep 1000 & echo $! >pid; while :; do sleep 0.1; done");
    let exec = link.exec(&["sh", "-c", &script]).await;
    let pid = pid_in(&place.path("pid")).await;
    drop(exec);
    until("the group is gone", || (!lives(pid)).then_some(())).await;
    until("the hang-up was heard", || {
        (std::fs::read_to_string(place.path("told")).ok()? == "told\n").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_lost_link_ends_execs_and_leaves_the_command() {
    let (place, _job, link) = idle().await;
    let command = i32::try_from(link.hello.pid.unwrap()).unwrap();
    let _exec = link.exec(&["sh", "-c", "echo $$ >pid; trap '' HUP TERM; while :; do sleep 0.1; done"]).await;
    let pid = pid_in(&place.path("pid")).await;
    link.cut();
    let _link = place.link().await;
    until("the exec is killed", || (!lives(pid)).then_some(())).await;
    assert!(lives(command));
}

#[tokio::test]
async fn who_does_not_read_stalls_only_itself() {
    let (_place, _job, mut link) = idle().await;
    let _stalled = link.exec(&["yes"]).await;
    let mut other = link.exec(&["head", "-c", "50000000", "/dev/zero"]).await;
    assert_eq!(other.code().await, Some(0));
    assert_eq!(other.stdout.len(), 50_000_000);
    link.ping().await;
}

#[tokio::test]
async fn a_stopped_command_does_not_stop_its_monitor() {
    let (_place, _job, mut link) = idle().await;
    let pid = Pid::from_raw(i32::try_from(link.hello.pid.unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    link.ping().await;
    assert_eq!(link.exec(&["true"]).await.code().await, Some(0));
    // A stopped process sees SIGTERM only when it goes on.
    link.end(Duration::from_secs(5)).await;
    let report = link.exited().await;
    assert_eq!(report.signal, Some(15));
}
