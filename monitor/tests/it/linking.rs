//! The link itself: who is obeyed, what is said again, and how a monitor finds its launcher.

use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use rustix::process::Signal;
use wharf_protocol::api::LogStream;
use wharf_protocol::monitor::{LauncherSays, MonitorSays, OVER_HEADER, OnOrphan, StreamOpen};
use wharf_protocol::session::StoppedBy;
use wharf_protocol::signed::Purpose;
use wharf_protocol::time::Dur;

use crate::launcher::{Link, refuse};
use crate::place::{Place, lives, pin, sign, until};

const SECOND: Duration = Duration::from_secs(1);

fn command(link: &Link) -> i32 {
    i32::try_from(link.hello.pid.unwrap()).unwrap()
}

#[tokio::test]
async fn a_reconnecting_monitor_brings_what_it_was_given() {
    let mut place = Place::new(&["sleep", "1000"]);
    let job = place.run();
    let mut link = place.link().await;
    link.ping().await;
    let (nonce, pid) = (link.claim.nonce.clone(), link.hello.pid);
    let welcome = link.greeting(&place);
    // Restarted: the socket is another one.
    place.leave();
    link.cut();
    place.listen();
    let began = Instant::now();
    let mut link = place.link().await;
    assert!(began.elapsed() < 3 * SECOND, "{:?}", began.elapsed());
    assert_eq!((link.claim.nonce.clone(), link.hello.pid), (nonce, pid));
    assert_eq!((link.claim.number, link.claim.resume.clone()), (Some(5), Some(welcome.resume.clone())));
    assert_eq!(link.hello.snapshot, welcome.snapshot);
    assert_ne!(link.credential, place.bootstrap.credential, "the renewed one");
    // What is newer is kept, what is older or a stranger's is not.
    link.say(LauncherSays::Snapshot { snapshot: place.snapshot(9) }).await;
    link.say(LauncherSays::Snapshot { snapshot: place.snapshot(8) }).await;
    let stranger = SigningKey::from_bytes(&[8; 32]);
    place.key = stranger;
    let forged = place.snapshot(99);
    place.key = SigningKey::from_bytes(&[7; 32]);
    link.say(LauncherSays::Snapshot { snapshot: forged }).await;
    link.ping().await;
    link.cut();
    let link = place.link().await;
    assert_eq!(link.hello.snapshot, place.snapshot(9));
    // What it holds stands in no file and on no command line.
    let holds =
        |text: Vec<u8>| text.windows(welcome.resume.len()).any(|part| part == welcome.resume.as_bytes());
    for file in ["environ", "cmdline"] {
        assert!(!holds(std::fs::read(format!("/proc/{}/{file}", job.pid())).unwrap()));
    }
    assert!(!holds(std::fs::read(place.path("mount/bootstrap")).unwrap()));
}

#[tokio::test]
async fn new_keys_replace_the_old_ones() {
    let mut place = Place::new(&["sleep", "1000"]);
    let _job = place.run();
    let mut link = place.link().await;
    let key = SigningKey::from_bytes(&[9; 32]);
    place.key = key.clone();
    let credential = place.credential(SECOND * 3600);
    link.say(LauncherSays::Credential { credential: credential.clone(), keys: vec![pin(&key)] }).await;
    link.ping().await;
    link.cut();
    let mut link = Link::accept(&place).await;
    assert_eq!(link.credential, credential);
    link.welcome(&place).await;
    link.ping().await;
}

#[tokio::test]
async fn who_does_not_hold_the_key_is_not_obeyed() {
    let place = Place::new(&["sleep", "1000"]);
    let mut job = place.run();
    let stranger = SigningKey::from_bytes(&[8; 32]);
    for case in ["another key", "another nonce", "another purpose", "nothing"] {
        let mut link = Link::accept(&place).await;
        let mut welcome = link.greeting(&place);
        let nonce = link.claim.nonce.clone();
        welcome.proof = match case {
            "another key" => sign(&stranger, Purpose::Proof, &nonce),
            "another nonce" => place.sign(Purpose::Proof, &"nonce"),
            "another purpose" => place.sign(Purpose::Resume, &nonce),
            _ => String::new(),
        };
        welcome.end = Some(Dur(Duration::ZERO));
        welcome.keys = vec![pin(&stranger)];
        link.say(LauncherSays::Welcome(Box::new(welcome))).await;
        assert!(link.is_hung_up().await, "{case}");
        assert!(!job.is_over() && lives(command(&link)), "{case}");
        // A new socket is dialled at once.
        std::fs::rename(place.path("launcher.sock"), place.path("x")).unwrap();
        std::fs::rename(place.path("x"), place.path("launcher.sock")).unwrap();
    }
    let mut link = place.link().await;
    assert_eq!(link.claim.number, None);
    link.ping().await;
}

#[tokio::test]
async fn an_end_in_the_welcome_is_carried_out() {
    let place = Place::new(&["sleep", "1000"]);
    let mut job = place.run();
    let mut link = Link::accept(&place).await;
    let mut welcome = link.greeting(&place);
    welcome.end = Some(Dur(5 * SECOND));
    link.say(LauncherSays::Welcome(Box::new(welcome))).await;
    assert_eq!(link.hear().await, MonitorSays::Ending);
    let report = link.kept().await;
    assert_eq!((report.stopped_by, report.interrupted), (Some(StoppedBy::Signal), false));
    assert_eq!(job.code().await, 143);
}

#[tokio::test]
async fn the_report_is_said_again_until_it_is_kept() {
    let mut place = Place::new(&["sh", "-c", "echo words; while [ ! -e go ]; do sleep 0.05; done; exit 11"]);
    let mut job = place.run();
    let link = place.link().await;
    let pid = command(&link);
    // The launcher is away at the end.
    place.leave();
    link.cut();
    std::fs::write(place.path("go"), "").unwrap();
    until("the command ends", || (!lives(pid)).then_some(())).await;
    place.listen();
    let mut link = place.link().await;
    assert_eq!(link.hello.exited.as_ref().and_then(|report| report.exit_code), Some(11));
    let first = link.exited().await;
    // It dies before it has kept it.
    link.cut();
    let mut link = place.link().await;
    assert_eq!(link.exited().await, first);
    assert_eq!(link.logs(LogStream::All).await, "words\n");
    assert!(!job.is_over());
    link.keep().await;
    assert_eq!(job.code().await, 11);
}

#[tokio::test]
async fn a_report_is_offered_only_as_long_as_the_session_may_be_alone() {
    let mut place = Place::new(&["sh", "-c", "exit 12"])
        .with(|bootstrap| bootstrap.limits.on_orphan = OnOrphan::End(Dur(SECOND)));
    let mut job = place.run();
    // A launcher that is there and cannot keep it yet is waited for.
    let mut link = place.link().await;
    link.exited().await;
    let began = Instant::now();
    while began.elapsed() < 2 * SECOND {
        link.ping().await;
    }
    assert!(!job.is_over());
    place.leave();
    link.cut();
    assert_eq!(job.code().await, 12);
}

#[tokio::test]
async fn a_session_that_is_over_is_ended() {
    for upgraded in [false, true] {
        let place = Place::new(&["sleep", "1000"]);
        let mut job = place.run();
        let mut link = place.link().await;
        let over = place.sign(Purpose::Over, &link.claim.nonce);
        link.cut();
        if upgraded {
            link = Link::accept(&place).await;
            link.say(told_to_end(Some(over))).await;
        } else {
            refuse(&place, &format!("410 Gone\r\n{OVER_HEADER}: {over}")).await;
        }
        let began = Instant::now();
        assert_eq!(job.code().await, 143, "upgraded: {upgraded}");
        assert!(began.elapsed() < 5 * SECOND, "it waits for nobody: {:?}", began.elapsed());
    }
}

fn told_to_end(over: Option<String>) -> LauncherSays {
    LauncherSays::Refused { message: "it is over".to_owned(), end: true, over, retry_after: None }
}

#[tokio::test]
async fn who_has_only_taken_the_launchers_address_ends_nothing() {
    let place = Place::new(&["sleep", "1000"]);
    let mut job = place.run();
    let link = place.link().await;
    let nonce = link.claim.nonce.clone();
    let stranger = SigningKey::from_bytes(&[9; 32]);
    let forged = [
        None,
        Some("nonsense".to_owned()),
        Some(sign(&stranger, Purpose::Over, &nonce)),
        // What the launcher has signed for another monitor, or for another purpose.
        Some(place.sign(Purpose::Over, &"another nonce")),
        Some(place.sign(Purpose::Proof, &nonce)),
    ];
    link.cut();
    for over in forged {
        let header = over.as_ref().map(|over| format!("\r\n{OVER_HEADER}: {over}")).unwrap_or_default();
        refuse(&place, &format!("410 Gone{header}")).await;
        let mut link = Link::accept(&place).await;
        link.say(told_to_end(over.clone())).await;
        assert!(link.is_hung_up().await, "{over:?}");
        assert!(!job.is_over(), "{over:?}");
        place.link().await.ping().await;
    }
}

#[tokio::test]
async fn a_credential_that_is_refused_is_not_tried_again() {
    let mut place = Place::new(&["sh", "-c", "while [ ! -e go ]; do sleep 0.05; done; exit 13"]);
    let mut job = place.run();
    refuse(&place, "401 Unauthorized").await;
    // Not even when the launcher seems to be another one.
    place.leave();
    place.listen();
    let again = tokio::time::timeout(3 * SECOND, place.listener.as_ref().unwrap().accept()).await;
    assert!(again.is_err(), "dialled again");
    assert!(!job.is_over(), "the command goes on");
    std::fs::write(place.path("go"), "").unwrap();
    assert_eq!(job.code().await, 13);
}

#[tokio::test]
async fn a_wait_that_is_asked_for_is_obeyed() {
    let place = Place::new(&["sleep", "1000"]);
    let _job = place.run();
    for head in ["503 Service Unavailable", "429 Too Many Requests"] {
        refuse(&place, &format!("{head}\r\nretry-after: 2")).await;
        let began = Instant::now();
        refuse(&place, "500 Internal Server Error").await;
        assert!(began.elapsed() > Duration::from_millis(1900), "{head}: {:?}", began.elapsed());
    }
    let mut link = Link::accept(&place).await;
    let retry_after = Some(Dur(2 * SECOND));
    link.say(LauncherSays::Refused { message: "later".to_owned(), end: false, over: None, retry_after })
        .await;
    let began = Instant::now();
    place.link().await.ping().await;
    assert!(began.elapsed() > Duration::from_millis(1900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_launcher_that_comes_late_is_found_at_once() {
    let mut place = Place::new(&["sleep", "1000"]);
    place.leave();
    let _job = place.run();
    let alone = Instant::now();
    until("some dials have failed", || (alone.elapsed() > 4 * SECOND).then_some(())).await;
    place.listen();
    let began = Instant::now();
    let mut link = place.link().await;
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    link.ping().await;
}

#[tokio::test]
async fn the_addresses_are_read_again_before_each_dial() {
    let place = Place::new(&["sleep", "1000"]);
    let _job = place.run();
    let link = place.link().await;
    let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = tcp.local_addr().unwrap().port();
    // A dead one first, then names and literals of the same port.
    let lines =
        format!("unix:/nowhere/at/all\nnonsense\n\nhttp://localhost:{port}\nhttp://127.0.0.1:{port}\n");
    std::fs::write(place.path("mount/addresses"), lines).unwrap();
    link.cut();
    let (socket, _) = tokio::time::timeout(20 * SECOND, tcp.accept()).await.unwrap().unwrap();
    let mut link = Link::over(socket).await;
    link.welcome(&place).await;
    link.ping().await;
    assert_eq!(link.claim.number, Some(5));
}

#[tokio::test]
async fn a_socket_below_a_long_path_is_reached() {
    let place = Place::new(&["sleep", "1000"]);
    let deep = place.path(&"d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let short = place.path("s");
    std::os::unix::fs::symlink(&deep, &short).unwrap();
    let listener = tokio::net::UnixListener::bind(short.join("launcher.sock")).unwrap();
    let path = place.write();
    std::fs::write(place.path("mount/addresses"), format!("unix:{}\n", deep.join("launcher.sock").display()))
        .unwrap();
    let mut child = crate::place::program().arg("run").arg("--bootstrap").arg(path).spawn().unwrap();
    let (socket, _) = tokio::time::timeout(20 * SECOND, listener.accept()).await.unwrap().unwrap();
    let mut link = Link::over(socket).await;
    link.welcome(&place).await;
    link.end(SECOND).await;
    link.kept().await;
    until("the monitor ends", || child.try_wait().unwrap()).await;
}

#[tokio::test]
async fn a_second_control_stream_and_unknown_words_do_no_harm() {
    let place = Place::new(&["sleep", "1000"]);
    let _job = place.run();
    let mut link = place.link().await;
    let mut stream = link.open_unanswered(&StreamOpen::Control).await;
    assert!(!matches!(stream.reader.recv().await, Ok(Some(_))));
    link.say_raw(&serde_json::json!({"say": "of_a_later_release", "more": 1})).await;
    link.ping().await;
    // What is no word at all ends the link, and only that.
    let pid = command(&link);
    link.say_raw(&serde_json::json!([1, 2])).await;
    assert!(link.is_hung_up().await);
    assert!(lives(pid));
    place.link().await.ping().await;
}

#[tokio::test]
async fn streams_are_served_side_by_side_up_to_their_number() {
    let place = Place::new(&["sleep", "1000"]);
    let _job = place.run();
    let mut link = place.link().await;
    let mut execs = Vec::new();
    for _ in 0..wharf_link::mux::MAX_STREAMS - 1 {
        execs.push(link.exec(&["cat"]).await);
    }
    assert!(link.is_busy(&StreamOpen::Connect).await);
    link.ping().await;
    for exec in &mut execs {
        exec.send(b"one\n").await;
        exec.until("one\n").await;
    }
    drop(execs);
    link.ping().await;
}

#[tokio::test]
async fn a_killed_monitor_leaves_its_socket_to_its_successor() {
    let place = Place::new(&["sleep", "2"]);
    let mut job = place.run();
    let link = place.link().await;
    job.signal(Signal::KILL);
    assert_eq!(job.end().await.code(), None);
    let mut again = place.run();
    let mut second = place.link().await;
    assert_ne!(second.claim.nonce, link.claim.nonce);
    assert_eq!(second.claim.resume, None);
    let add = ["endpoint", "add", "late", "tcp", "1"];
    let monitor = env!("CARGO_BIN_EXE_wharf-monitor");
    assert_eq!(second.exec(&[&[monitor], &add[..]].concat()).await.code().await, Some(0));
    assert_eq!(second.kept().await.exit_code, Some(0));
    assert_eq!(again.code().await, 0);
    assert!(!place.path("monitor.sock").exists());
}
