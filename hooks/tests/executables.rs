//! Executable hooks against real programs: exit classes, documents, limits, and what they leave behind.

mod bench;

use std::time::{Duration, Instant};

use bench::{Bench, answer, ask, call, failure, processes, random, until};
use serde_json::{Value, json};
use wharf_core::hook::{Found, Hook, HookAnswer, HookErrorKind, HookRuntime as _, Logs};
use wharf_core::template::Catalog as _;
use wharf_protocol::{JobState, SessionId};

#[tokio::test(flavor = "multi_thread")]
async fn a_document_and_plain_text_are_both_a_job_id() {
    let bench = Bench::new();
    bench.template(
        "doc",
        "",
        &[("submit", r#"echo '{"result":{"job_id":"7","message":"hi","handle":{"a":1}}}'"#)],
    );
    bench.template("text", "", &[("submit", "echo Submitting...; echo '42.pbs  '; printf '\\r\\n\\n'")]);
    let hooks = bench.hooks();
    let HookAnswer::Submit(submitted) = answer(&hooks, "doc", Hook::Submit, json!({})).await else {
        panic!()
    };
    assert_eq!((submitted.job_id.as_str(), submitted.handle), ("7", Some(json!({"a": 1}))));
    let HookAnswer::Submit(submitted) = answer(&hooks, "text", Hook::Submit, json!({})).await else {
        panic!()
    };
    assert_eq!(submitted.job_id, "42.pbs");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_exit_class_has_its_kind_and_message() {
    let bench = Bench::new();
    let cases = [
        ("65", HookErrorKind::Invalid),
        ("69", HookErrorKind::Unsupported),
        ("75", HookErrorKind::Unavailable),
        ("77", HookErrorKind::Denied),
        ("78", HookErrorKind::Misconfigured),
        ("1", HookErrorKind::Internal),
        ("127", HookErrorKind::Internal),
    ];
    for (code, _) in cases {
        bench.template(
            &format!("exit-{code}"),
            "",
            &[("submit", &format!("echo because {code} >&2; exit {code}"))],
        );
    }
    bench.template("signal", "", &[("submit", "kill -SEGV $$")]);
    bench.template("json", "", &[(
        "submit",
        r#"echo noise >&2; echo '{"error":{"kind":"rate_limited","message":"slow down","hint":"wait","retry_after":7}}'; exit 75"#,
    )]);
    bench.template(
        "ok-json",
        "",
        &[("submit", r#"echo '{"error":{"kind":"not_found","message":"no account"}}'"#)],
    );
    let hooks = bench.hooks();
    for (code, kind) in cases {
        let error = failure(&hooks, &format!("exit-{code}"), Hook::Submit).await;
        assert_eq!(error.kind, kind, "{code}");
        assert!(error.message.contains(&format!("because {code}")), "{error:?}");
        assert_eq!(error.plain_exit, kind == HookErrorKind::Internal);
    }
    let error = failure(&hooks, "signal", Hook::Submit).await;
    assert_eq!((error.kind, error.plain_exit), (HookErrorKind::Internal, false));
    let error = failure(&hooks, "json", Hook::Submit).await;
    assert_eq!((error.kind, error.retry_after), (HookErrorKind::RateLimited, Some(Duration::from_secs(7))));
    assert_eq!((error.message.as_str(), error.hint.as_deref()), ("slow down", Some("wait")));
    assert_eq!(failure(&hooks, "ok-json", Hook::Submit).await.kind, HookErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_output_is_internal_and_says_what_is_wrong() {
    let bench = Bench::new();
    let cases = [
        ("nothing", "true", "nothing"),
        ("two", r#"echo '{"result":{"job_id":"1"}}'; echo '{"result":{"job_id":"2"}}'"#, "more than one"),
        ("around", r#"echo '{"result":{"job_id":"1"}} done'"#, "text after"),
        ("utf8", r"printf '\377\376'", "UTF-8"),
        ("dash", "echo -rf", "no job id"),
        ("dash-json", r#"echo '{"result":{"job_id":"-rf"}}'"#, "no job id"),
        ("blank-json", r#"echo '{"result":{"job_id":"1 2"}}'"#, "no job id"),
        ("number", r#"echo '{"result":{"job_id":17}}'"#, "string"),
        ("unknown", r#"echo '{"result":{"job_id":"1","jobid":"1"}}'"#, "jobid"),
        ("beside", r#"echo '{"result":{"job_id":"1"},"extra":1}'"#, "extra"),
        ("both", r#"echo '{"result":{},"error":{}}'"#, "exactly one"),
        ("twice", r#"echo '{"result":{"job_id":"1","job_id":"2"}}'"#, "twice"),
        ("half", r#"echo '{"result":{"job_id":'"#, "one JSON document"),
        ("deep", "head -c 10000 /dev/zero | tr '\\0' '['", "one JSON document"),
        (
            "handle",
            r#"printf '{"result":{"job_id":"1","handle":"'; head -c 5000 /dev/zero | tr '\0' a; printf '"}}'"#,
            "handle",
        ),
    ];
    for (name, script, _) in cases {
        bench.template(name, "", &[("submit", script)]);
    }
    let hooks = bench.hooks();
    for (name, _, says) in cases {
        let error = failure(&hooks, name, Hook::Submit).await;
        assert_eq!(error.kind, HookErrorKind::Internal, "{name}");
        assert!(error.message.contains(says), "{name}: {}", error.message);
        assert!(!error.plain_exit, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn terminate_may_be_silent_and_answers_nothing_else() {
    let bench = Bench::new();
    bench.template("quiet", "", &[("terminate", "exit 0"), ("on_running", "cat >/dev/null")]);
    bench.template("chatty", "", &[("terminate", r#"echo '{"result":{"ok":true}}'"#)]);
    let hooks = bench.hooks();
    assert_eq!(answer(&hooks, "quiet", Hook::Terminate, json!({})).await, HookAnswer::Done);
    assert_eq!(answer(&hooks, "quiet", Hook::OnRunning, json!({})).await, HookAnswer::Done);
    assert!(failure(&hooks, "chatty", Hook::Terminate).await.message.contains("ok"));
    assert_eq!(failure(&hooks, "quiet", Hook::Extend).await.kind, HookErrorKind::Unsupported);
    assert_eq!(
        answer(&hooks, "quiet", Hook::Logs, json!({})).await,
        HookAnswer::Logs(Logs::Text(String::new()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_the_environment_and_the_descriptors_are_what_the_contract_says() {
    let bench = Bench::new();
    let out = bench.root.path().join("out");
    std::fs::create_dir(&out).expect("a directory");
    let script = format!(
        "cat > {0}/request; env -0 | sort -z > {0}/env; pwd > {0}/cwd; ls /proc/self/fd > {0}/fds; umask > {0}/umask\n\
         echo \"$0 $1\" > {0}/argv; cat /proc/self/stat > {0}/stat; ls -ld . > {0}/mode; echo 5",
        out.display()
    );
    bench.template(
        "snap",
        "[config]\nsite = 1\n[hooks]\npath = [\"/opt/none\"]\nenv = { SLURM_CONF = \"/x\" }\n",
        &[("submit", &script)],
    );
    let hooks = bench.hooks();
    let call = call("snap", Hook::Submit, json!({"session": {"params": {"pin": "s3cret"}}}));
    let (trace, session) = (call.trace.to_string(), call.session.clone().expect("a session").to_string());
    let run = hooks.call(call).await;
    assert!(run.outcome.is_ok(), "{run:?}");
    let read = |name: &str| std::fs::read_to_string(out.join(name)).expect("written by the hook");
    let request: Value = serde_json::from_str(&read("request")).expect("JSON");
    assert_eq!((&request["api"], &request["hook"]), (&json!(1), &json!("submit")));
    assert_eq!(request["request"]["config"], json!({"site": 1}));
    assert_eq!(request["request"]["trace_id"], json!(trace));
    assert_eq!(request["request"]["dry_run"], json!(false));
    assert_eq!(request["request"]["session"]["params"]["pin"], json!("s3cret"));
    assert!(request["request"]["deadline_ms"].as_u64().is_some_and(|ms| ms > 10_000 && ms <= 20_000));
    let cwd = read("cwd").trim().to_owned();
    let env = read("env");
    let env: Vec<_> = env.split('\0').filter(|entry| !entry.is_empty()).collect();
    let names: Vec<_> = env.iter().filter_map(|entry| entry.split_once('=')).map(|(name, _)| name).collect();
    // A shell sets PWD (and dash nothing else) by itself.
    assert_eq!(
        names.into_iter().filter(|name| *name != "PWD").collect::<Vec<_>>(),
        [
            "HOME",
            "LANG",
            "PATH",
            "SLURM_CONF",
            "USER",
            "WHARF_DEADLINE_MS",
            "WHARF_DRY_RUN",
            "WHARF_HOOK",
            "WHARF_INSTANCE",
            "WHARF_SESSION_ID",
            "WHARF_TMPDIR",
            "WHARF_TRACE_ID",
        ]
    );
    for entry in [
        "HOME=/home/alice".to_owned(),
        "USER=alice".to_owned(),
        "SLURM_CONF=/x".to_owned(),
        format!("WHARF_INSTANCE=bench-0:{trace}"),
        format!("WHARF_SESSION_ID={session}"),
        format!("WHARF_TMPDIR={cwd}"),
        "WHARF_HOOK=submit".to_owned(),
        format!("PATH=/opt/none:{}", std::env::var("PATH").unwrap_or_default()),
    ] {
        assert!(env.contains(&entry.as_str()), "{entry} in {env:?}");
    }
    // `ls` itself holds one descriptor on the directory it lists; what this test program inherited without
    // close-on-exec is not the runtime's doing.
    let inherited = std::fs::read_dir("/proc/self/fdinfo").expect("fdinfo").flatten().filter(|entry| {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim);
        flags
            .and_then(|flags| u32::from_str_radix(flags, 8).ok())
            .is_some_and(|flags| flags & 0o2_000_000 == 0)
    });
    let inherited: Vec<_> = inherited.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let fds = read("fds");
    let own: Vec<_> =
        fds.split_whitespace().filter(|fd| !inherited.iter().any(|known| known == fd)).collect();
    assert!(own.len() <= 1, "{own:?}, inherited {inherited:?}");
    assert!(read("argv").trim().ends_with("snap/hooks/submit submit"), "{}", read("argv"));
    assert!(read("mode").starts_with("drwx------"), "{}", read("mode"));
    until("the private directory is gone", || !std::path::Path::new(&cwd).exists()).await;
    let own_group = rustix::process::getpgrp().as_raw_nonzero().get();
    let stat = read("stat");
    let group: i32 = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().nth(2))
        .and_then(|group| group.parse().ok())
        .expect("a group");
    assert_ne!(group, own_group);
    assert_eq!(std::fs::read_dir(bench.data().join("calls")).expect("calls").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_an_error_at_once_and_errors_are_cut() {
    let bench = Bench::new();
    bench.template("flood", "", &[("submit", "head -c 200000000 /dev/zero; echo 1")]);
    bench.template("stderr", "", &[("submit", "head -c 5000000 /dev/zero | tr '\\0' e >&2; echo 1")]);
    bench.template(
        "big",
        "[limits]\nhook_output = \"4MiB\"\n",
        &[("logs", r#"printf '{"result":{"text":"'; head -c 3000000 /dev/zero | tr '\0' a; printf '"}}'"#)],
    );
    let hooks = bench.hooks();
    let started = Instant::now();
    let error = failure(&hooks, "flood", Hook::Submit).await;
    assert!(error.message.contains("hook_output"), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(3));
    let run = ask(&hooks, "stderr", Hook::Submit, json!({})).await;
    assert!(run.outcome.is_ok());
    assert!(run.trace.log.len() <= 65 << 10, "{}", run.trace.log.len());
    let HookAnswer::Logs(Logs::Text(text)) = answer(&hooks, "big", Hook::Logs, json!({})).await else {
        panic!()
    };
    assert_eq!(text.len(), 3_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_never_reads_gets_no_answer_stuck() {
    let bench = Bench::new();
    bench.template(
        "deaf",
        "",
        &[("submit", "exec <&-; head -c 300000 /dev/zero | tr '\\0' ' '; echo; echo 9")],
    );
    let hooks = bench.hooks();
    let request = json!({"blob": "x".repeat(2 << 20)});
    let HookAnswer::Submit(submitted) = answer(&hooks, "deaf", Hook::Submit, request).await else { panic!() };
    assert_eq!(submitted.job_id, "9");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_keeps_the_pipe_delays_nothing_and_is_ended() {
    let bench = Bench::new();
    let tag = random(SessionId::from_random);
    bench.template("pipe", "", &[("submit", &format!("sh -c 'sleep 600; : {tag}-pipe' & echo 42"))]);
    bench.template(
        "setsid",
        "",
        &[("submit", &format!("setsid sh -c 'trap \"\" TERM; sleep 600; : {tag}-setsid' & echo 43"))],
    );
    bench.template(
        "dropped",
        "[hooks]\nleftovers = \"end\"\n",
        &[(
            "submit",
            &format!(
                "setsid env -u WHARF_INSTANCE sh -c 'sleep 600; : {tag}-dropped' >/dev/null 2>&1 & sleep 0.3; echo 44"
            ),
        )],
    );
    bench.template("kept", "[hooks]\nleftovers = \"keep\"\n", &[(
        "submit",
        &format!("setsid sh -c 'sleep 600; : {tag}-kept' >/dev/null 2>&1 & sh -c 'sleep 600; : {tag}-group' & sleep 0.2; echo 45"),
    )]);
    let hooks = bench.hooks();
    bench.template(
        "bare",
        "",
        &[("submit", &format!("env -i /bin/sh -c 'sleep 600; : {tag}-bare' & echo 46"))],
    );
    hooks.reload();
    for name in ["pipe", "setsid", "dropped", "kept", "bare"] {
        let started = Instant::now();
        answer(&hooks, name, Hook::Submit, json!({})).await;
        assert!(started.elapsed() < Duration::from_secs(3), "{name}: {:?}", started.elapsed());
    }
    for gone in ["pipe", "setsid", "group", "bare"] {
        assert_eq!(processes(&format!("{tag}-{gone}")), Vec::<i32>::new(), "{gone}");
    }
    for kept in ["dropped", "kept"] {
        let left = processes(&format!("{tag}-{kept}"));
        assert!(!left.is_empty(), "{kept}");
        for pid in left {
            let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
            let _ = rustix::process::kill_process_group(
                rustix::process::getpgid(Some(pid)).expect("a group"),
                rustix::process::Signal::KILL,
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_hook_is_over_by_its_deadline_with_all_its_children() {
    let bench = Bench::new();
    let tag = random(SessionId::from_random);
    bench.template(
        "hang",
        "",
        &[("submit", &format!("trap '' TERM; sh -c 'trap \"\" TERM; sleep 600; : {tag}'; sleep 600"))],
    );
    let hooks = bench.hooks();
    let started = Instant::now();
    let mut slow = call("hang", Hook::Submit, json!({}));
    slow.deadline = Duration::from_millis(600);
    let run = hooks.call(slow).await;
    let took = started.elapsed();
    assert_eq!(run.outcome.expect_err("a timeout").kind, HookErrorKind::Timeout);
    assert!(took >= Duration::from_millis(600) && took < Duration::from_millis(1100), "{took:?}");
    assert_eq!(processes(tag.as_str()), Vec::<i32>::new());
    // Given up from outside, and dropped.
    let cancelled = call("hang", Hook::Submit, json!({}));
    let token = cancelled.cancel.clone();
    let (run, ()) = tokio::join!(hooks.call(cancelled), async {
        until("started", || !processes(tag.as_str()).is_empty()).await;
        token.cancel();
    });
    assert_eq!(run.outcome.expect_err("cancelled").kind, HookErrorKind::Internal);
    assert_eq!(processes(tag.as_str()), Vec::<i32>::new());
    let dropped =
        tokio::time::timeout(Duration::from_millis(300), hooks.call(call("hang", Hook::Submit, json!({}))));
    assert!(dropped.await.is_err());
    until("ended after the drop", || processes(tag.as_str()).is_empty()).await;
    let calls = bench.data().join("calls");
    until("no directory of a call", || std::fs::read_dir(&calls).expect("calls").count() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_what_carries_an_open_calls_mark_is_ended() {
    let bench = Bench::new();
    bench.template("t", "", &[]);
    let journal = bench.data().join("calls.open");
    std::fs::create_dir_all(bench.data().join("calls/aaaaaaaaaaaaaaaaaaaa")).expect("a call's directory");
    std::fs::write(&journal, "+aaaaaaaaaaaaaaaaaaaa\n").expect("and its line");
    let hooks = bench.hooks();
    let spawn = |mark: &str| {
        std::process::Command::new("setsid")
            .args(["sleep", "600"])
            .env("WHARF_INSTANCE", mark)
            .spawn()
            .expect("sleep")
    };
    let mut open = spawn("bench-0:aaaaaaaaaaaaaaaaaaaa");
    let mut longer = spawn("bench-0:aaaaaaaaaaaaaaaaaaaaa");
    let mut other = spawn("bench-1:aaaaaaaaaaaaaaaaaaaa");
    assert_eq!(hooks.end_leftovers().await, 1);
    assert!(open.wait().is_ok_and(|status| !status.success()));
    for child in [&mut longer, &mut other] {
        assert!(child.try_wait().is_ok_and(|status| status.is_none()));
        child.kill().expect("ours");
        child.wait().expect("ours");
    }
    assert_eq!(std::fs::read_dir(bench.data().join("calls")).expect("calls").count(), 0);
    assert_eq!(std::fs::read_to_string(journal).expect("the journal"), "");
    assert_eq!(hooks.end_leftovers().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_has_not_happened() {
    let bench = Bench::new();
    bench.template("gone", "", &[]);
    bench.write("gone", "hooks/submit", "#!/nowhere/interpreter\n");
    bench.template("format", "", &[]);
    bench.write("format", "hooks/submit", "no interpreter\n");
    bench::chmod(&bench.dir("format").join("hooks/submit"), 0o755);
    let hooks = bench.hooks();
    for name in ["gone", "format"] {
        let error = failure(&hooks, name, Hook::Submit).await;
        assert_eq!(error.kind, HookErrorKind::Misconfigured, "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_lose_bad_entries_and_nothing_else() {
    let bench = Bench::new();
    let (a, b, c) =
        (random(SessionId::from_random), random(SessionId::from_random), random(SessionId::from_random));
    bench.template("batch", "", &[
        ("find", &format!(r#"echo '{{"result":{{"{a}":"17","{b}":false,"{c}":["-x"],"nonsense":"1"}}}}'"#)),
        ("status", r#"echo '{"result":{"1":{"state":"running","node":"n1","position":null},"2":{"state":"WEIRD"},"3":{"state":7},"4":{"state":"gone"}}}'"#),
        ("terminate_many", &format!(r#"echo '{{"result":{{"{a}":{{}},"{b}":{{"error":{{"kind":"denied","message":"no"}}}}}}}}'"#)),
    ]);
    let hooks = bench.hooks();
    let request = json!({"sessions": [{"id": a}, {"id": b}, {"id": c}]});
    let HookAnswer::Find(found) = answer(&hooks, "batch", Hook::Find, request).await else { panic!() };
    assert_eq!(
        found.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        [(a.clone(), Found::Jobs(vec!["17".to_owned()])), (b.clone(), Found::No)].into()
    );
    let request = json!({"jobs": [{"job_id": "1"}, {"job_id": "2"}, {"job_id": "3"}]});
    let HookAnswer::Status(reports) = answer(&hooks, "batch", Hook::Status, request).await else { panic!() };
    assert_eq!(reports.keys().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!((reports["1"].state, reports["2"].state), (JobState::Running, JobState::Unknown));
    assert_eq!(reports["2"].raw.as_deref(), Some("WEIRD"));
    let HookAnswer::TerminateMany(verdicts) = answer(&hooks, "batch", Hook::TerminateMany, json!({})).await
    else {
        panic!()
    };
    assert_eq!(verdicts[&a], Ok(()));
    assert_eq!(verdicts[&b].as_ref().expect_err("denied").kind, HookErrorKind::Denied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_taken_from_the_session_directory_only_and_never_through_a_link() {
    let bench = Bench::new();
    let session = random(SessionId::from_random);
    let dir = bench.data().join("sessions").join(session.as_str());
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join("job.log"), "hello").expect("a log");
    std::os::unix::fs::symlink("/etc/passwd", dir.join("link.log")).expect("a link");
    let cases = [
        ("job.log", true),
        ("link.log", false),
        // Not written yet: empty.
        ("missing", true),
        ("../../../../etc/passwd", false),
        (".", false),
    ];
    for (index, (file, _)) in cases.iter().enumerate() {
        bench.template(
            &format!("log-{index}"),
            "",
            &[("logs", &format!(r#"echo '{{"result":{{"path":"{}/{file}"}}}}'"#, dir.display()))],
        );
    }
    let hooks = bench.hooks();
    for (index, (file, good)) in cases.iter().enumerate() {
        let mut call = call(&format!("log-{index}"), Hook::Logs, json!({}));
        call.session = Some(session.clone());
        let run = hooks.call(call).await;
        assert_eq!(run.outcome.is_ok(), *good, "{file}: {:?}", run.outcome);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_blotted_out_of_traces_and_messages() {
    let bench = Bench::new();
    bench.template("leak", "", &[("submit", "cat >&2; exit 77")]);
    let hooks = bench.hooks();
    let mut call = call("leak", Hook::Submit, json!({"session": {"params": {"pin": "hunter2-canary"}}}));
    call.secret_params = vec!["pin".to_owned()];
    let run = hooks.call(call).await;
    assert!(!format!("{run:?}").contains("hunter2"), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_hanging_hooks_leave_room_for_terminate() {
    let bench = Bench::new();
    bench.template("crowd", "", &[("submit", "sleep 600"), ("terminate", "exit 0")]);
    let hooks = bench.hooks();
    let crowd: Vec<_> = (0..100)
        .map(|_| {
            let hooks = hooks.clone();
            let mut call = call("crowd", Hook::Submit, json!({}));
            call.deadline = Duration::from_secs(3);
            tokio::spawn(async move { hooks.call(call).await.outcome.expect_err("no answer").kind })
        })
        .collect();
    let started = Instant::now();
    answer(&hooks, "crowd", Hook::Terminate, json!({})).await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let mut kinds = Vec::new();
    for one in crowd {
        kinds.push(one.await.expect("no panic"));
    }
    // What never started says that nothing happened.
    assert!(kinds.contains(&HookErrorKind::Timeout) && kinds.contains(&HookErrorKind::Unavailable));
    assert!(kinds.iter().all(|kind| matches!(kind, HookErrorKind::Timeout | HookErrorKind::Unavailable)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executable_that_was_overwritten_still_runs_as_it_was_checked() {
    let bench = Bench::new();
    bench.template("swap", "", &[("submit", "echo first")]);
    let hooks = bench.hooks();
    // The new version is broken, so the last good one has to serve, with its own program.
    bench.write("swap", "template.toml", "api = 2\n");
    bench.write("swap", "hooks/submit", "#!/bin/sh\necho second\n");
    let HookAnswer::Submit(submitted) = answer(&hooks, "swap", Hook::Submit, json!({})).await else {
        panic!()
    };
    assert_eq!(submitted.job_id, "first");
    assert_eq!(hooks.get("swap").expect("listed").state, wharf_protocol::template::TemplateState::Stale);
}
