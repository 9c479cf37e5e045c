//! How a command is started: its environment, its directory, what cannot be executed; and leaving a hook.

use rustix::process::Signal;
use wharf_protocol::api::LogStream;
use wharf_protocol::process::ProcessId;

use crate::place::{Place, lives, program, until};

/// What only a hook's processes carry.
const MARKS: [&str; 6] =
    ["WHARF_INSTANCE", "WHARF_HOOK", "WHARF_TRACE_ID", "WHARF_DEADLINE_MS", "WHARF_TMPDIR", "WHARF_DRY_RUN"];

fn environment(pid: i32) -> Vec<String> {
    let text = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    text.split(|byte| *byte == 0).map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

fn marks(environment: &[String]) -> Vec<&String> {
    environment.iter().filter(|line| MARKS.iter().any(|mark| line.starts_with(&format!("{mark}=")))).collect()
}

#[test]
fn it_says_its_version() {
    let output = program().arg("--version").output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "wharf-monitor 0.1.0");
}

#[test]
fn a_bootstrap_file_that_is_none_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bootstrap");
    for (content, words) in [(None, "No such file"), (Some("{"), "EOF"), (Some("{\"version\":1}"), "missing")]
    {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        for detach in [false, true] {
            let mut program = program();
            program.arg("run").arg("--bootstrap").arg(&path).args(detach.then_some("--detach"));
            let output = program.output().unwrap();
            let told = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(78), "{told}");
            assert!(told.contains(words) && told.contains(path.to_str().unwrap()), "{told}");
        }
    }
}

#[tokio::test]
async fn a_monitor_registers_with_all_that_it_knows() {
    let place = Place::new(&["sleep", "1000"]);
    let _job = place.run_with(|program| program.env("SLURM_JOB_ID", "4242").env("SLURM_RESTART_COUNT", "3"));
    let link = place.link().await;
    assert_eq!(link.hello.claim, link.claim);
    assert_eq!(link.claim.session, place.bootstrap.session);
    assert_eq!((link.claim.attempt, link.claim.restarts, link.claim.number), (2, 3, None));
    assert_eq!(link.claim.job_id.as_deref(), Some("4242"));
    assert_eq!(link.claim.resume, None);
    assert_eq!(link.credential, place.bootstrap.credential);
    assert_eq!(link.hello.snapshot, place.bootstrap.snapshot);
    assert_eq!(link.hello.exited, None);
    assert!(lives(i32::try_from(link.hello.pid.unwrap()).unwrap()));
}

#[tokio::test]
async fn the_command_has_its_own_environment_directory_and_empty_input() {
    let script = "cat; echo args \"$0\" \"$1\"; echo cwd \"$PWD\"; echo id $WHARF_SESSION_ID; \
                  echo job ${WHARF_JOB_ID-none}; echo own $OF_THE_JOB; echo told >&2";
    let place = Place::new(&["sh", "-c", script, "a b", "c"]);
    let mut job = place.run_with(|program| program.env("OF_THE_JOB", "yes").env("WHARF_JOB_ID", "j1"));
    let mut link = place.link().await;
    let report = link.exited().await;
    assert_eq!((report.exit_code, report.signal, report.interrupted), (Some(0), None, false));
    let cwd = place.dir.path().display();
    let out = format!("args a b c\ncwd {cwd}\nid {}\njob none\nown yes\n", place.bootstrap.session.as_str());
    // What was printed can still be had until the report is kept.
    assert_eq!(link.logs(LogStream::Stdout).await, out);
    assert_eq!(link.logs(LogStream::Stderr).await, "told\n");
    assert_eq!(link.claim.job_id.as_deref(), Some("j1"));
    link.keep().await;
    assert_eq!(job.code().await, 0);
}

#[tokio::test]
async fn marks_of_a_hook_do_not_reach_the_session() {
    let place = Place::new(&["sleep", "1000"])
        .with(|bootstrap| drop(bootstrap.env.insert("OLDPWD".to_owned(), "/of/the/user".to_owned())));
    let job =
        place.run_with(|program| program.envs(MARKS.map(|mark| (mark, "x"))).env("PWD", "/of/the/hook"));
    let link = place.link().await;
    let command = environment(i32::try_from(link.hello.pid.unwrap()).unwrap());
    assert!(command.iter().any(|line| line.starts_with("WHARF_SESSION_ID=")), "{command:?}");
    assert!(!command.iter().any(|line| line.contains("/of/the/hook")), "{command:?}");
    assert!(command.iter().any(|line| line == "OLDPWD=/of/the/user"), "what is asked for stays: {command:?}");
    assert_eq!(marks(&command), Vec::<&String>::new());
    assert_eq!(marks(&environment(job.pid())), Vec::<&String>::new());
}

#[tokio::test]
async fn a_program_that_cannot_be_executed_is_told_of() {
    for (program, code, words) in
        [("/nowhere/at/all", 127, "No such file or directory"), ("/etc/passwd", 126, "Permission denied")]
    {
        for tty in [false, true] {
            let place = Place::new(&[program]).with(|bootstrap| bootstrap.tty = tty);
            let mut job = place.run();
            let mut link = place.link().await;
            let report = link.exited().await;
            assert_eq!(report.exit_code, Some(code));
            let message = report.message.clone().unwrap();
            assert!(message.contains(program) && message.contains(words), "{message}");
            assert!(link.logs(LogStream::All).await.contains(words));
            link.keep().await;
            assert_eq!(job.code().await, code);
        }
    }
}

#[tokio::test]
async fn a_directory_that_is_missing_is_not_taken_for_a_missing_program() {
    let place = Place::new(&["true"]).with(|bootstrap| bootstrap.cwd = Some("/nowhere/at/all".to_owned()));
    let mut job = place.run();
    let report = place.link().await.kept().await;
    assert_eq!(report.exit_code, Some(126));
    let message = report.message.unwrap();
    assert!(message.contains("working directory") && message.contains("/nowhere/at/all"), "{message}");
    assert_eq!(job.code().await, 126);
}

#[tokio::test]
async fn a_detached_monitor_leaves_its_caller() {
    let place = Place::new(&["sleep", "1000"]);
    let mut program = program();
    program.arg("run").arg("--detach").arg("--bootstrap").arg(place.write());
    // Whoever reads the output of a hook waits for all that hold it open: nobody may.
    let output = program.envs(MARKS.map(|mark| (mark, "x"))).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let id: ProcessId = text.trim().parse().unwrap();
    let mut link = place.link().await;
    assert_eq!(link.claim.job_id.as_deref(), Some(text.trim()));
    assert!(lives(id.pid));
    assert_eq!(marks(&environment(id.pid)), Vec::<&String>::new());
    let pid = rustix::process::Pid::from_raw(id.pid).unwrap();
    assert_eq!(rustix::process::getsid(Some(pid)).unwrap(), pid, "it leads a session");
    for fd in 0..2 {
        let to = std::fs::read_link(format!("/proc/{}/fd/{fd}", id.pid)).unwrap();
        assert_eq!(to, std::path::Path::new("/dev/null"));
    }
    assert_eq!(std::fs::read_link(format!("/proc/{}/fd/2", id.pid)).unwrap(), place.path("monitor.log"));
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert!(link.kept().await.interrupted);
    until("the detached monitor is gone", || (!lives(id.pid)).then_some(())).await;
}
