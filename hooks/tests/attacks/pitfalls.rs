//! What once went wrong while such an engine was built.

use std::time::{Duration, Instant};

use serde_json::json;
use wharf_core::hook::{Hook, HookErrorKind, HookRuntime as _};

use super::{ALONE, Bench, attack_with, call, nothing_stays, refused};

const SHELL: &str = "[hooks]\ncommands = [\"sh\", \"touch\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_caught_call_of_the_host_is_awaited() {
    let body = "local ok, r = pcall(host.exec, { argv = { 'sh', '-c', 'echo hi' } })\n\
                assert(ok and r.stdout == 'hi\\n', tostring(r))\n\
                local ok, r = xpcall(function() return host.exec{ argv = { 'sh', '-c', 'exit 3' } }.status end, function(e) return e end)\n\
                assert(ok and r == 3, tostring(r))\n\
                local ok, r = pcall(function() return pcall(host.sleep, 0.01) end)\n\
                return { text = tostring(ok) .. tostring(r) }";
    attack_with(SHELL, body, json!({}), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn host_functions_wait_in_plain_function_bodies_only() {
    let canary = tempfile::NamedTempFile::new().expect("a file");
    let path = canary.path().to_owned();
    canary.close().expect("removed");
    let touch = format!("host.exec{{ argv = {{ 'touch', '{}' }} }}", path.display());
    let places = [
        format!("table.sort({{ 2, 1 }}, function(a, b) {touch} return a < b end)"),
        format!("('abc'):gsub('.', function() {touch} end)"),
        format!("local _ = setmetatable({{}}, {{ __index = function() {touch} end }}).x"),
        format!(
            "local _ = tostring(setmetatable({{}}, {{ __tostring = function() {touch} return '' end }}))"
        ),
        format!(
            "local _ = setmetatable({{}}, {{ __lt = function() {touch} end }}) < setmetatable({{}}, {{}})"
        ),
    ];
    for place in places {
        // Twice, and caught: it may not be let through after the first refusal.
        let body = format!("pcall(function() {place} end) pcall(function() {place} end) {place}");
        attack_with(SHELL, &body, json!({}), &[HookErrorKind::Internal]).await;
        assert!(!path.exists(), "it ran in: {place}");
    }
    let run = attack_with(
        SHELL,
        "table.sort({ 2, 1 }, function() host.sleep(0.01) end)",
        json!({}),
        &[HookErrorKind::Internal],
    )
    .await;
    let words = run.outcome.expect_err("refused").message;
    assert!(words.contains("function body"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_result_of_a_host_function_is_never_a_pending_mark() {
    let words = refused("local c = coroutine").await;
    assert!(words.contains("nothing") || words.contains("coroutine"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_dropped_leaves_no_process() {
    let _alone = ALONE.lock().await;
    let bench = Bench::new();
    bench.lua(
        "t",
        SHELL,
        "function M.logs() return { text = host.parallel(\n\
        function() return host.exec{ argv = { 'sh', '-c', 'trap \"\" TERM; sleep 600; :' } } end,\n\
        function() return pcall(host.exec, { argv = { 'sh', '-c', 'setsid sleep 600; :' } }) end) } end",
    );
    let hooks = bench.hooks();
    for round in 0..3 {
        let mut dropped = call("t", Hook::Logs, json!({}));
        dropped.deadline = Duration::from_secs(60);
        let cancel = dropped.cancel.clone();
        let running = tokio::spawn({
            let hooks = hooks.clone();
            async move { hooks.call(dropped).await }
        });
        super::until("the commands run", || super::children().len() >= 2).await;
        let started = Instant::now();
        match round {
            // Given up by whoever asked.
            0 => running.abort(),
            // Ended on purpose.
            1 => cancel.cancel(),
            _ => {
                cancel.cancel();
                running.abort();
            }
        }
        nothing_stays(&bench).await;
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_commands_write_does_not_count_as_memory_twice() {
    let body = "local function f() return #host.exec{ argv = { 'sh', '-c', 'head -c 4000000 /dev/zero' } }.stdout end\n\
                local r = host.parallel(f, f, f, f) return { text = tostring(r[1] + r[4]) }";
    attack_with(SHELL, body, json!({}), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_of_the_limits_cannot_be_caught() {
    let body = "local ok, why = pcall(function() local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end end)\n\
                return { text = why:sub(1, 100) }";
    // Memory that was given back may be used again: only time is final.
    attack_with("", body, json!({}), &[]).await;
}
