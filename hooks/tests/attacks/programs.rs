//! Hostile executables.

use std::time::{Duration, Instant};

use serde_json::json;
use wharf_core::hook::{Hook, HookAnswer, HookErrorKind, HookRuntime as _};

use super::{ALONE, Bench, GROWTH_KIB, LATE, PROMPT, call, memory, neighbour, nothing_stays, until};

/// What a hostile program may end with, and how it is given away.
struct Case {
    script: &'static str,
    kinds: &'static [HookErrorKind],
    deadline: Duration,
}

async fn program(script: &'static str, kinds: &'static [HookErrorKind]) -> HookAnswer {
    run(Case { script, kinds, deadline: Duration::from_millis(700) }).await
}

async fn run(case: Case) -> HookAnswer {
    let _alone = ALONE.lock().await;
    let bench = Bench::new();
    bench.template("bad", "", &[("submit", case.script), ("terminate", "exit 0")]);
    bench.lua("good", "", "function M.find(req) return {} end");
    let hooks = bench.hooks();
    neighbour(&hooks).await;
    let before = memory("VmRSS:");
    std::fs::write("/proc/self/clear_refs", "5").expect("the peak is forgotten");
    let mut attack = call("bad", Hook::Submit, json!({"blob": "x".repeat(3 << 20)}));
    attack.deadline = case.deadline;
    let started = Instant::now();
    let attacking = tokio::spawn({
        let hooks = hooks.clone();
        async move { (hooks.call(attack).await, started.elapsed()) }
    });
    loop {
        let took = neighbour(&hooks).await;
        assert!(took < PROMPT, "a neighbour waited for {took:?}");
        if attacking.is_finished() {
            break;
        }
    }
    let (run, took) = attacking.await.expect("no panic");
    assert!(took < case.deadline + LATE, "it took {took:?}");
    let grown = memory("VmHWM:").saturating_sub(before);
    assert!(grown < GROWTH_KIB, "the process grew by {grown} KiB");
    nothing_stays(&bench).await;
    let marked = || super::bench::processes_with("WHARF_INSTANCE=bench-0:");
    until("nothing that carries the mark is left", || marked().is_empty()).await;
    match run.outcome {
        Ok(answer) => {
            assert!(case.kinds.is_empty(), "{answer:?}");
            answer
        }
        Err(error) => {
            assert!(case.kinds.contains(&error.kind), "{error:?}");
            HookAnswer::Done
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_with_children_everywhere() {
    program(
        "trap '' TERM HUP INT; sleep 600 & setsid sleep 600 & setsid sh -c 'trap \"\" TERM; sleep 600 & sleep 600' & (sleep 600 &)\nwait; sleep 600",
        &[HookErrorKind::Timeout],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_breeds() {
    // Bounded in number, as a bomb without bounds is for the system's own limits.
    let script = "i=0; while [ $i -lt 60 ]; do setsid sh -c 'sleep 600 & sleep 600' & i=$((i+1)); done; wait";
    program(script, &[HookErrorKind::Timeout]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_answers_and_leaves_children_everywhere() {
    let answer = program(
        "cat >/dev/null; sleep 600 & setsid sh -c 'trap \"\" TERM; sleep 600 & sleep 600' & (setsid sleep 600 >/dev/null 2>&1 &) ; echo 42",
        &[],
    )
    .await;
    assert!(matches!(answer, HookAnswer::Submit(submitted) if submitted.job_id == "42"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_floods_both_outputs_and_never_reads() {
    program("cat /dev/zero >&2 & cat /dev/zero", &[HookErrorKind::Internal]).await;
    program("exec cat /dev/zero >&2", &[HookErrorKind::Timeout]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_writes_before_it_reads() {
    // Both pipes are full at once: whoever waits for one of them alone waits for ever.
    let script = "head -c 900000 /dev/zero | tr '\\0' '\\n'; head -c 500000 /dev/zero >&2; cat | wc -c >&2; head -c 100000 /dev/zero | tr '\\0' '\\n'; echo 43";
    let answer = run(Case { script, kinds: &[], deadline: Duration::from_secs(5) }).await;
    assert!(matches!(answer, HookAnswer::Submit(submitted) if submitted.job_id == "43"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_closes_everything_and_hangs() {
    program("exec 0<&- 1>&- 2>&-; sleep 600", &[HookErrorKind::Timeout]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stops_itself() {
    program("kill -STOP $$; echo 1", &[HookErrorKind::Timeout]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ends_its_group() {
    program("kill -KILL -- -$$", &[HookErrorKind::Internal]).await;
    program("trap '' TERM; kill -TERM 0; sleep 600", &[HookErrorKind::Timeout]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fills_its_directory() {
    let script =
        "mkdir -p a/b/c; chmod 0 a/b; head -c 1000000 /dev/zero > big; ln -s / root; chmod 0 .; echo 44";
    let answer = program(script, &[]).await;
    assert!(matches!(answer, HookAnswer::Submit(submitted) if submitted.job_id == "44"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_answer_is_no_text() {
    program("printf '\\377\\376\\n'", &[HookErrorKind::Internal]).await;
    program("printf '4\\0002\\n'", &[HookErrorKind::Internal]).await;
    program("printf '42\\033[31m\\n'", &[HookErrorKind::Internal]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_exactly_this() {
    let _alone = ALONE.lock().await;
    let bench = Bench::new();
    let out = bench.root.path().join("env");
    bench.template(
        "env",
        "[hooks]\npath = [\"/opt/site/bin\"]\nenv = { SITE_CONF = \"/etc/site.conf\", LD_PRELOAD = \"\" }\n",
        &[],
    );
    // Not a shell: it would add variables of its own.
    bench.write(
        "env",
        "hooks/submit",
        &format!(
            "#!/usr/bin/env -S sh -c 'tr \"\\\\0\" \"\\\\n\" </proc/$$/environ | sort >{}; echo 46'\n",
            out.display()
        ),
    );
    let hooks = bench.hooks();
    let mut call = call("env", Hook::Submit, json!({}));
    call.deadline = Duration::from_secs(5);
    let (trace, session) = (call.trace.to_string(), call.session.clone().expect("a session").to_string());
    let run = hooks.call(call).await;
    assert!(run.outcome.is_ok(), "{run:?}");
    let env = std::fs::read_to_string(out).expect("written");
    let mut shown = String::new();
    for line in env.lines() {
        let (name, value) = line.split_once('=').expect("a variable");
        let value = match name {
            "WHARF_DEADLINE_MS" => "MS".to_owned(),
            _ => value
                .replace(&bench.data().display().to_string(), "DATA")
                .replace(&trace, "TRACE")
                .replace(&session, "SESSION")
                .replace(&std::env::var("PATH").unwrap_or_default(), "PATH"),
        };
        shown.push_str(&format!("{name}={value}\n"));
    }
    assert_eq!(
        shown,
        "HOME=/home/alice\nLANG=C.UTF-8\nLD_PRELOAD=\nPATH=/opt/site/bin:PATH\nSITE_CONF=/etc/site.conf\nUSER=alice\n\
         WHARF_DEADLINE_MS=MS\nWHARF_DRY_RUN=0\nWHARF_HOOK=submit\nWHARF_INSTANCE=bench-0:TRACE\nWHARF_SESSION_ID=SESSION\n\
         WHARF_TMPDIR=DATA/calls/TRACE\nWHARF_TRACE_ID=TRACE\n"
    );
}
