//! Hostile hooks, each against the same promises: it is over by its deadline and half a second, it stays inside its
//! memory, its failure has the right kind, a neighbour answers promptly meanwhile, and nothing of it stays: no
//! thread, no virtual machine, no process, no file.
//!
//! `time` and `memory` hold what eats those, `escape` what reaches for more than it was given, `host` what abuses
//! the functions of the host, `pitfalls` what once went wrong, `programs` the executables.

#[path = "../bench/mod.rs"]
mod bench;

mod escape;
mod host;
mod memory;
mod pitfalls;
mod programs;
mod time;

use std::time::{Duration, Instant};

use bench::{Bench, answer, call, until};
use serde_json::{Value, json};
use wharf_core::hook::{Hook, HookAnswer, HookErrorKind, HookRun, HookRuntime as _};
use wharf_hooks::Hooks;

/// What an attack is given.
const DEADLINE: Duration = Duration::from_millis(500);
/// The deadline of an attack that another limit has to end: a busy machine must not be what ends it.
const PATIENT: Duration = Duration::from_secs(4);
/// How much later it may be over.
const LATE: Duration = Duration::from_millis(500);
/// How long a neighbour may take.
const PROMPT: Duration = Duration::from_millis(500);
/// How much the process may grow: the cap of the attack, the neighbour's machine, and what the host holds.
const GROWTH_KIB: u64 = (32 + 48) << 10;

/// One at a time, so that what is measured belongs to one.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Runs a body as a Lua hook that may fail only in one of these ways.
async fn attack(body: &str, kinds: &[HookErrorKind]) -> HookRun {
    attack_with("", body, json!({}), kinds).await
}

/// Its time is over.
async fn late(body: &str) {
    attack(body, &[HookErrorKind::Timeout]).await;
}

/// Its memory is over.
async fn greedy(body: &str) {
    attack(body, &[HookErrorKind::Memory]).await;
}

/// It is a mistake that is told at once; returns the words.
async fn refused(body: &str) -> String {
    let run = attack(body, &[HookErrorKind::Internal]).await;
    run.outcome.expect_err("refused").message
}

async fn attack_with(manifest: &str, body: &str, request: Value, kinds: &[HookErrorKind]) -> HookRun {
    let _alone = ALONE.lock().await;
    let bench = Bench::new();
    bench.lua("bad", manifest, &format!("function M.logs(req)\n{body}\nend"));
    let endless = "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}";
    bench.write("bad", "files/endless.j2", endless);
    bench.lua("good", "", "function M.find(req) return {} end");
    let hooks = bench.hooks();
    // Once before, so that what is made only once is not counted.
    neighbour(&hooks).await;
    let before = memory("VmRSS:");
    std::fs::write("/proc/self/clear_refs", "5").expect("the peak is forgotten");
    let mut call = call("bad", Hook::Logs, request);
    let deadline = if kinds.contains(&HookErrorKind::Timeout) { DEADLINE } else { PATIENT };
    call.deadline = deadline;
    let started = Instant::now();
    let attacking = {
        let hooks = hooks.clone();
        tokio::spawn(async move {
            let run = hooks.call(call).await;
            (run, started.elapsed())
        })
    };
    loop {
        let took = neighbour(&hooks).await;
        assert!(took < PROMPT, "a neighbour waited for {took:?}");
        if attacking.is_finished() {
            break;
        }
    }
    let (run, took) = attacking.await.expect("no panic");
    let grown = memory("VmHWM:").saturating_sub(before);
    assert!(took < deadline + LATE, "it took {took:?}");
    assert!(grown < GROWTH_KIB, "the process grew by {grown} KiB");
    match &run.outcome {
        Err(error) => assert!(kinds.contains(&error.kind), "{error:?}\n{}", run.trace.log),
        Ok(answer) => assert!(kinds.is_empty(), "it had to fail, but: {answer:?}"),
    }
    assert_eq!(run.trace.outcome, run.outcome.as_ref().map_or_else(|error| error.kind.as_str(), |_| "ok"));
    nothing_stays(&bench).await;
    // The template itself goes on, in a machine of its own.
    assert_eq!(answer(&hooks, "bad", Hook::Terminate, json!({})).await, HookAnswer::Done);
    run
}

async fn neighbour(hooks: &Hooks) -> Duration {
    let started = Instant::now();
    answer(hooks, "good", Hook::Find, json!({"sessions": []})).await;
    started.elapsed()
}

/// No thread of a hook (and with it no machine), no child, no file of a call.
async fn nothing_stays(bench: &Bench) {
    until("the thread ended", || threads() == 0).await;
    until("no process is left", || children().is_empty()).await;
    let calls = bench.data().join("calls");
    until("no directory of a call is left", || std::fs::read_dir(&calls).expect("a directory").count() == 0)
        .await;
}

/// Threads that run a script.
fn threads() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").expect("threads").flatten();
    threads
        .filter(|thread| {
            std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name.trim() == "hook")
        })
        .count()
}

/// Processes below this one.
fn children() -> Vec<String> {
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    processes
        .filter_map(|process| {
            let stat = std::fs::read_to_string(process.path().join("stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            (parent == own).then_some(stat)
        })
        .collect()
}

/// A figure of this process, in KiB.
fn memory(figure: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).expect("a figure");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
