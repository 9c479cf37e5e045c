//! Scripts that abuse the functions of the host.

use serde_json::json;
use wharf_core::hook::HookErrorKind;

use super::{attack, attack_with, late, refused};

const SHELL: &str = "[hooks]\ncommands = [\"sh\", \"cat\"]\n";

async fn late_with_shell(body: &str) {
    attack_with(SHELL, body, json!({}), &[HookErrorKind::Timeout]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleep_without_end() {
    late("host.sleep(600)").await;
    late("while true do host.sleep(0) end").await;
    for time in ["-1", "0/0", "1e300", "'x'", "math.huge"] {
        attack(&format!("host.sleep({time})"), &[HookErrorKind::Internal, HookErrorKind::Timeout]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_hangs() {
    late_with_shell("host.exec{ argv = { 'sh', '-c', 'trap \"\" TERM; while :; do sleep 1; done' } }").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_hangs_and_is_caught() {
    late_with_shell("while true do pcall(host.exec, { argv = { 'sh', '-c', 'sleep 600' } }) end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_leaves_the_group() {
    late_with_shell(
        "host.exec{ argv = { 'sh', '-c', 'setsid sleep 600 & setsid setsid sleep 600 & sleep 600' } }",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_without_end() {
    late_with_shell("while true do host.exec{ argv = { 'sh', '-c', 'sleep 600 >/dev/null 2>&1 &' } } end")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_floods() {
    let body = "local r = host.exec{ argv = { 'sh', '-c', 'cat /dev/zero' }, timeout = 0.2 } return { text = #r.stdout }";
    attack_with(SHELL, body, json!({}), &[HookErrorKind::Timeout]).await;
    late_with_shell("while true do host.exec{ argv = { 'sh', '-c', 'head -c 20000000 /dev/zero' } } end")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_while_a_command_runs() {
    late_with_shell(
        "host.parallel(function() host.exec{ argv = { 'sh', '-c', 'sleep 600' } } end, function() while true do end end)",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_side_by_side_without_end() {
    late("local f = function() while true do host.sleep(0) end end host.parallel(f, f, f, f, f, f, f, f, f)")
        .await;
    attack(
        "local function f() host.parallel(f, f) host.sleep(1) end f()",
        &[HookErrorKind::Timeout, HookErrorKind::Internal],
    )
    .await;
    late("local t = {} for i = 1, 100000 do t[i] = function() host.sleep(600) end end host.parallel(t)")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_without_end() {
    let run = attack(
        "while true do log.info(('x'):rep(10000)) print('y') host.progress(('z'):rep(10000)) end",
        &[HookErrorKind::Timeout],
    )
    .await;
    assert!(run.trace.log.len() < 100_000, "{}", run.trace.log.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_without_end() {
    let words = attack(
        "local n = 0 while true do n = n + 1 host.tmp('f' .. n, '') end",
        &[HookErrorKind::Internal, HookErrorKind::Timeout],
    )
    .await;
    assert!(words.outcome.is_err());
    // On a slow disk its time may be over first.
    let body = "local n, text = 0, ('x'):rep(8000000) while true do n = n + 1 host.tmp('f' .. n, text) end";
    let run = attack(body, &[HookErrorKind::Internal, HookErrorKind::Timeout]).await;
    let error = run.outcome.expect_err("refused");
    assert!(error.kind == HookErrorKind::Timeout || error.message.contains("host.tmp"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_is_filled() {
    late("local n = 0 while true do n = n + 1 host.cache('k' .. n, 3600, function() return ('x'):rep(200000) end) end").await;
    let words = refused("host.cache('k', 60, function() return ('x'):rep(1000000) end)").await;
    assert!(words.contains("larger than"), "{words}");
    late("host.cache('k', 60, function() while true do end end)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times_beyond_all_times() {
    for seconds in ["1e300", "9e18", "2 ^ 62", "'9999y'"] {
        let words = refused(&format!("host.cache('k', {seconds}, function() return 1 end)")).await;
        assert!(words.contains("ten years"), "{words}");
        let words = refused(&format!("host.sleep({seconds})")).await;
        assert!(words.contains("ten years"), "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_wait_for_themselves() {
    let deep = "local n = 0 local function f() n = n + 1 return host.cache('k' .. n, 60, f) end ";
    let kinds = [HookErrorKind::Internal, HookErrorKind::Timeout];
    attack(&format!("{deep} f()"), &kinds).await;
    attack(&format!("{deep} host.parallel(f, f)"), &kinds).await;
    attack(&format!("{deep} while true do pcall(f) end"), &[HookErrorKind::Timeout]).await;
    let mixed = "local n = 0 local function f() n = n + 1 return host.cache('k' .. n, 60, function() return host.parallel(f, f)[1] end) end f()";
    attack(mixed, &kinds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_that_are_huge() {
    let words = refused("re.test('a', '(a{1000}){1000}')").await;
    assert!(words.contains("re:"), "{words}");
    let words = refused("re.test('a', ('('):rep(100000))").await;
    assert!(words.contains("re:"), "{words}");
    // What goes back for ever elsewhere takes linear time here.
    let body = "return { text = tostring(re.test(('a'):rep(100000), '^(a+)+$b')) }";
    attack(body, &[]).await;
    late("while true do re.all(('a b '):rep(1000), [[\\w]]) end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_over_huge_texts() {
    let words = refused("re.test(('ab'):rep(8000000), '[ab]*a[ab]{500}c')").await;
    assert!(words.contains("re:"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_text_that_are_huge() {
    attack(
        "return { text = #columns(('a b c\\n'):rep(2000000), { 'x', 'y', 'z' }) }",
        &[HookErrorKind::Memory, HookErrorKind::Timeout],
    )
    .await;
    attack(
        "return { text = #lines(('a\\n'):rep(4000000)) }",
        &[HookErrorKind::Memory, HookErrorKind::Timeout],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_that_are_caught_without_end() {
    late("while true do pcall(host.fail, 'denied', 'x') end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_are_no_orders() {
    for order in [
        "'sh'",
        "{}",
        "{ argv = 'sh -c id' }",
        "{ argv = {} }",
        "{ argv = { 'sh', {} } }",
        "{ argv = { 'sh', 'a\\0b' } }",
        "{ argv = { '/bin/sh' } }",
        "{ argv = { '../sh' } }",
        "{ argv = { 'id' } }",
        "{ argv = { 'sh' }, env = { WHARF_INSTANCE = 'x' } }",
        "{ argv = { 'sh' }, env = { ['A=B'] = 'x' } }",
        "{ argv = { 'sh' }, timeout = -1 }",
        "{ argv = { 'sh' }, shell = true }",
        "{ argv = { 'sh' }, effect = 'none' }",
        "{ argv = { 'sh', ('x'):rep(10000000) } }",
    ] {
        attack_with(
            SHELL,
            &format!("host.exec({order})"),
            json!({}),
            &[HookErrorKind::Internal, HookErrorKind::Misconfigured, HookErrorKind::Unavailable],
        )
        .await;
    }
}
