//! With real processes: a script that behaves as a detached monitor does.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use tokio_util::sync::CancellationToken;
use wharf_core::backend::NoCall;

use super::*;

fn context() -> HostContext {
    HostContext {
        session: None,
        base: Vec::new(),
        programs: Vec::new(),
        env: Vec::new(),
        config: Value::Null,
        progress: None,
        mark: "instance:call".to_owned(),
        processes: Arc::new(NoCall),
        left: Duration::from_secs(10),
        cancel: CancellationToken::new(),
    }
}

async fn call(function: &str, arguments: Value) -> Result<Value, HostError> {
    Shell.call(function, arguments, &context()).await
}

/// A process that looks like the monitor of that session, with a child that leaves its group.
fn monitor(tag: &str) -> Child {
    let script = "setsid sleep 60 & trap 'kill $!; exit 0' TERM; while :; do sleep 0.05; done";
    Command::new("sh")
        .args([
            "-c",
            script,
            "sh",
            "detached",
            "--bootstrap",
            &format!("/data/sessions/{tag}/mount/bootstrap.json"),
        ])
        .process_group(0)
        .spawn()
        .unwrap()
}

/// A session id that no other run of this test uses.
fn tag(test: u8) -> String {
    format!("test{test}{:0>15}", std::process::id())
}

fn reap_later(mut child: Child) {
    std::thread::spawn(move || child.wait());
}

#[tokio::test]
async fn a_job_is_found_by_its_tag_seen_and_ended() {
    let tag = &tag(1);
    assert_eq!(call("list", json!({ "tags": [tag] })).await.unwrap(), json!({ tag: false }));
    let child = monitor(tag);
    let pid = i32::try_from(child.id()).unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(10);
    let job = loop {
        assert!(std::time::Instant::now() < until, "it is not found");
        let found = call("list", json!({ "tags": [tag] })).await.unwrap();
        if let Some(job) = found[tag][0].as_str() {
            break job.to_owned();
        }
        tokio::task::yield_now().await;
    };
    assert!(job.starts_with(&format!("{pid}:")));
    assert_eq!(
        call("inspect", json!({ "job_ids": [job] })).await.unwrap(),
        json!({ &job: { "state": "running" } })
    );
    // Spawning for a session that has a job answers with that job, and starts nothing.
    let again = json!({ "argv": ["/nowhere", "run"], "dir": "/", "tag": tag });
    assert_eq!(call("spawn", again).await.unwrap(), json!({ "job_id": job }));
    reap_later(child);
    call("signal", json!({ "job_id": job, "signal": "TERM" })).await.unwrap();
    assert_eq!(
        call("inspect", json!({ "job_ids": [job] })).await.unwrap(),
        json!({ &job: { "state": "gone" } })
    );
    call("signal", json!({ "job_id": job, "signal": "TERM" })).await.expect("already gone is success");
}

#[tokio::test]
async fn a_kill_takes_the_whole_tree() {
    use std::io::BufRead as _;
    let tag = &tag(2);
    // Its child leaves the group and tells its own process id.
    let script = "setsid sh -c 'echo $$; exec sleep 60' & while :; do wait; done";
    let mut child = Command::new("sh")
        .args([
            "-c",
            script,
            "sh",
            "detached",
            "--bootstrap",
            &format!("/data/sessions/{tag}/mount/bootstrap.json"),
        ])
        .process_group(0)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let inner: i32 = line.trim().parse().unwrap();
    let id = processes::find(tag).unwrap().remove(0);
    reap_later(child);
    call("signal", json!({ "job_id": id.to_string(), "signal": "KILL", "tree": true })).await.unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(10);
    let lives = || {
        let stat = std::fs::read_to_string(format!("/proc/{inner}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
    };
    while lives() {
        assert!(std::time::Instant::now() < until, "{inner} lives");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_reused_process_id_is_never_signalled() {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let other = ProcessId { pid, start: 1, boot: ProcessId::boot_of(&boot) };
    call("signal", json!({ "job_id": other.to_string(), "signal": "KILL" })).await.unwrap();
    assert!(child.try_wait().unwrap().is_none(), "a stranger was killed");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn spawn_gives_what_the_monitor_prints_or_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("monitor");
    let write = |text: &str| {
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let arguments =
        json!({ "argv": [program, "run", "--bootstrap", "/b"], "env": [], "dir": dir.path(), "tag": tag(3) });
    write("#!/bin/sh\n[ \"$1 $2\" = 'run --detach' ] && echo 4242:17:0a1b2c3d\n");
    assert_eq!(call("spawn", arguments.clone()).await.unwrap(), json!({ "job_id": "4242:17:0a1b2c3d" }));
    write("#!/bin/sh\necho no such luck >&2; exit 1\n");
    assert!(call("spawn", arguments).await.unwrap_err().message.contains("no such luck"));
}
