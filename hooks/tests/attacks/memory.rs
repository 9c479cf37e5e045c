//! Scripts that would take all memory there is.

use wharf_core::hook::HookErrorKind;

use super::{attack, attack_with, greedy, late, refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_grows() {
    greedy("local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_doubles() {
    greedy("local s = 'x' while true do s = s .. s end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_text_of_a_gibibyte() {
    attack("local _ = ('x'):rep(2^30)", &[HookErrorKind::Memory, HookErrorKind::Internal]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_texts_that_are_caught() {
    late("while true do pcall(string.rep, 'x', 100000000) end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_a_gibibyte() {
    greedy("local _ = table.create(4000000, 0)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recursion_without_end() {
    let words = refused("local function f() return 1 + f() end f()").await;
    assert!(words.contains("stack overflow"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recursion_that_is_caught() {
    late("local function f() return 1 + f() end while true do pcall(f) end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_without_end() {
    attack(
        "local t = table.create(1000000, 0) return select('#', unpack(t))",
        &[HookErrorKind::Internal, HookErrorKind::Memory],
    )
    .await;
    attack("return ('x'):rep(10000000):byte(1, -1)", &[HookErrorKind::Internal, HookErrorKind::Memory]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closures_without_end() {
    greedy("local f = function() end while true do local g = f f = function() return g end end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_that_grows() {
    greedy(
        "local s = ('x'):rep(10000) while true do s = s:gsub('x', ('y'):rep(1000)) s = s:gsub('y', 'xx') end",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_concatenation_that_grows() {
    greedy("local t = table.create(1000, ('x'):rep(100000)) local _ = table.concat(t, ',')").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_many_megabytes() {
    let words = refused("error(('x'):rep(5000000))").await;
    assert!(words.len() < 5000, "{}", words.len());
    let run = attack(
        "host.fail('denied', ('x'):rep(4000000), { hint = ('y'):rep(4000000) })",
        &[HookErrorKind::Denied],
    )
    .await;
    let error = run.outcome.expect_err("denied");
    assert!(error.message.len() < 5000 && error.hint.is_some_and(|hint| hint.len() < 5000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_in_a_circle() {
    let words = refused("local t = {} t.t = t return { text = t }").await;
    assert!(words.contains("text.t.t"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_doubles_at_each_level() {
    // On a busy machine its time may be over before its size is.
    let body = "local t = 'x' for _ = 1, 60 do t = { t, t } end return { text = t }";
    let run = attack(body, &[HookErrorKind::Internal, HookErrorKind::Timeout]).await;
    let error = run.outcome.expect_err("refused");
    assert!(error.kind == HookErrorKind::Timeout || error.message.contains("larger than"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_too_large() {
    let words = refused("return { text = ('x'):rep(2000000) }").await;
    assert!(words.contains("larger than"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_no_data() {
    for (value, says) in [
        ("print", "function"),
        ("host.secret", "function"),
        ("0/0", "no number"),
        ("{ 1, a = 2 }", "list and named"),
        ("{ [1.5] = 1 }", "names of members"),
    ] {
        let words = refused(&format!("return {{ text = {value} }}")).await;
        assert!(words.contains(says), "{value}: {words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_are_small_as_text_and_large_as_values() {
    let words = refused("local _ = json.decode('[' .. ('0,'):rep(5000000) .. '0]')").await;
    assert!(words.contains("json.decode"), "{words}");
    let words = refused("local _ = json.decode('[' .. ('[],'):rep(3000000) .. '0]')").await;
    assert!(words.contains("json.decode"), "{words}");
    let words = refused("local _ = toml.decode(('[[a]]\\n'):rep(2000000))").await;
    assert!(words.contains("toml.decode"), "{words}");
    let words = refused("local _ = json.decode(('['):rep(1000000))").await;
    assert!(words.contains("deeper"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_encoded_again_and_again() {
    late("local t = table.create(100000, 'x') while true do pcall(json.encode, t) end").await;
    let kinds = [HookErrorKind::Internal, HookErrorKind::Timeout];
    attack("local t = 'x' for _ = 1, 60 do t = { t, t } end json.encode(t)", &kinds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_cap_holds_too() {
    attack_with(
        "[limits]\nhook_memory = \"8MiB\"\n",
        "local t = {} while true do t[#t + 1] = ('x'):rep(999) .. #t end",
        serde_json::json!({}),
        &[HookErrorKind::Memory],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caught_memory_errors_do_not_change_the_verdict() {
    late("while true do pcall(function() local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end end) end").await;
}
