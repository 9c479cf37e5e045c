//! The session's terminal, and what its command has printed.

use wharf_protocol::ErrorCode;
use wharf_protocol::api::{LogStream, Role};
use wharf_protocol::monitor::StreamOpen;
use wharf_protocol::stream::{ClientControl, Size};

use crate::launcher::Link;
use crate::place::{Place, idle};

fn attach(role: Role, size: Option<Size>) -> StreamOpen {
    StreamOpen::Attach { role, size, offset: None, scrollback: 0 }
}

fn logs(tail: Option<u64>, follow: bool) -> StreamOpen {
    StreamOpen::Logs { stream: LogStream::All, tail, follow }
}

#[tokio::test]
async fn a_terminal_shows_its_screen_and_then_what_comes() {
    let place = Place::new(&[
        "sh",
        "-c",
        "printf 'old\\033[2J\\033[Hscreen'; stty -echo; while read line; do echo \"<$line>\"; done; exit 3",
    ])
    .tty();
    let mut job = place.run();
    let mut link = place.link().await;
    link.prints("screen").await;
    let size = Size { rows: 30, cols: 90 };
    let mut viewer = link.open(&attach(Role::View, Some(Size { rows: 5, cols: 5 }))).await;
    viewer.until("screen").await;
    assert!(!viewer.text().contains("old"), "the screen, not a log: {:?}", viewer.text());
    let mut controller = link.open(&attach(Role::Control, Some(size))).await;
    controller.until("screen").await;
    // What a viewer types is ignored.
    viewer.send(b"of a viewer\n").await;
    viewer.control(&ClientControl::Resize(Size { rows: 6, cols: 6 })).await;
    controller.send(b"typed\n").await;
    controller.until("<typed>").await;
    viewer.until("<typed>").await;
    let pid = link.hello.pid.unwrap();
    let mut exec = link.exec(&["sh", "-c", &format!("stty size </proc/{pid}/fd/0")]).await;
    assert_eq!(exec.code().await, Some(0), "{}", exec.text());
    assert_eq!(exec.text(), "30 90\n");
    // Leaving changes nothing; the end is told to everybody.
    drop(controller);
    let mut controller = link.open(&attach(Role::Control, None)).await;
    controller.until("<typed>").await;
    controller.send(&[4]).await;
    for mut stream in [viewer, controller] {
        assert_eq!(stream.code().await, Some(3));
        assert!(!stream.text().contains("of a viewer"));
    }
    // Also to who comes after it.
    link.exited().await;
    let mut late = link.open(&attach(Role::View, None)).await;
    assert_eq!(late.code().await, Some(3));
    link.keep().await;
    assert_eq!(job.code().await, 3);
}

#[tokio::test]
async fn input_that_is_not_read_hides_no_resize() {
    let script = "stty raw -echo; trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done";
    let place = Place::new(&["sh", "-c", script]).tty();
    let _job = place.run();
    let link = place.link().await;
    link.prints("ready").await;
    let mut controller = link.open(&attach(Role::Control, None)).await;
    // Far more than a terminal holds for its program.
    for _ in 0..16 {
        controller.send(&[b'x'; 8 << 10]).await;
    }
    controller.control(&ClientControl::Resize(Size { rows: 33, cols: 77 })).await;
    controller.until("33 77").await;
}

#[tokio::test]
async fn what_was_typed_before_the_viewer_left_is_typed() {
    let script = "stty raw -echo; echo ready; sleep 1; head -c 100000 | wc -c; exec sleep 1000";
    let place = Place::new(&["sh", "-c", script]).tty();
    let _job = place.run();
    let link = place.link().await;
    link.prints("ready").await;
    let mut controller = link.open(&attach(Role::Control, None)).await;
    controller.send(&[b'x'; 100_000]).await;
    drop(controller);
    link.prints("100000").await;
}

#[tokio::test]
async fn the_command_leads_its_terminal() {
    let script = "ps -o pid=,sid=,tpgid= -p $$; cat";
    let place = Place::new(&["sh", "-c", script]).tty();
    let mut job = place.run();
    let mut link = place.link().await;
    let pid = link.hello.pid.unwrap().to_string();
    link.prints("\n").await;
    let printed = link.logs(LogStream::All).await;
    assert_eq!(printed.split_whitespace().collect::<Vec<_>>(), [&pid, &pid, &pid]);
    // Control-C is a signal to whoever is in the foreground.
    let mut controller = link.open(&attach(Role::Control, None)).await;
    controller.send(&[3]).await;
    assert_eq!(link.kept().await.signal, Some(2));
    assert_eq!(job.code().await, 130);
}

#[tokio::test]
async fn without_a_terminal_there_is_nothing_to_attach_to() {
    let (_place, _job, link) = idle().await;
    assert_eq!(link.refusal(&attach(Role::Control, None)).await, ErrorCode::NoTerminal);
}

#[tokio::test]
async fn a_viewer_that_is_too_far_behind_is_dropped_and_told() {
    let place = Place::new(&["yes", "a line that is written again and again"]).tty();
    let _job = place.run();
    let link = place.link().await;
    let mut slow = link.open(&attach(Role::View, None)).await;
    let mut quick = link.open(&attach(Role::View, None)).await;
    while quick.stdout.len() < 20_000_000 {
        assert!(quick.more().await);
        if quick.stdout.len() > 1_000_000 {
            quick.stdout.drain(..1_000_000 - 1);
            if slow_is_dropped(&link).await {
                break;
            }
        }
    }
    slow.rest().await;
    assert_eq!(slow.error.unwrap().code, ErrorCode::RateLimited);
}

/// Whether the command goes on although somebody does not read: it prints more than all windows hold.
async fn slow_is_dropped(link: &Link) -> bool {
    let mut tail = link.open(&logs(None, false)).await;
    tail.rest().await;
    let text = tail.text();
    let dropped = text.split_once("[… ").and_then(|(_, rest)| rest.split(' ').next()?.parse::<u64>().ok());
    dropped.is_some_and(|dropped| dropped > 40_000_000)
}

#[tokio::test]
async fn logs_are_cut_at_lines_and_followed_to_the_end() {
    let script = "for i in 1 2 3; do echo line $i; done; while [ ! -e go ]; do sleep 0.05; done; echo last";
    let place = Place::new(&["sh", "-c", script]);
    let _job = place.run();
    let mut link = place.link().await;
    link.prints("line 3").await;
    let mut tail = link.open(&logs(Some(2), false)).await;
    tail.rest().await;
    assert_eq!(tail.text(), "line 2\nline 3\n");
    let mut follower = link.open(&logs(Some(1), true)).await;
    follower.until("line 3\n").await;
    std::fs::write(place.path("go"), "").unwrap();
    follower.rest().await;
    assert_eq!(follower.text(), "line 3\nlast\n");
    link.exited().await;
    assert_eq!(link.logs(LogStream::All).await, "line 1\nline 2\nline 3\nlast\n");
}

#[tokio::test]
async fn of_much_output_the_beginning_and_the_end_are_kept() {
    let place = Place::new(&["sh", "-c", "echo begin; seq 1 1000000; echo end >&2"]);
    let _job = place.run();
    let mut link = place.link().await;
    link.exited().await;
    let all = link.logs(LogStream::Stdout).await;
    assert!(all.starts_with("begin\n1\n2\n") && all.ends_with("\n999999\n1000000\n"), "{}", all.len());
    let (head, tail) = all.split_once("\n[… ").unwrap();
    let (dropped, tail) = tail.split_once(" bytes dropped …]\n").unwrap();
    let printed: usize = 6 + (1..=1_000_000_u32).map(|number| number.to_string().len() + 1).sum::<usize>();
    assert_eq!(head.len(), 64 * 1024);
    assert_eq!(head.len() + dropped.parse::<usize>().unwrap() + tail.len(), printed);
}
