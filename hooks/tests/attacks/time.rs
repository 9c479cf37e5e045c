//! Scripts that would run for ever.

use super::{attack, late, refused};
use wharf_core::hook::HookErrorKind;

#[tokio::test(flavor = "multi_thread")]
async fn a_while_loop() {
    late("while true do end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_loop() {
    late("local n = 0 repeat n = n + 1 until false").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_in_a_caught_function() {
    late("while true do pcall(function() while true do end end) end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_that_are_swallowed_again_and_again() {
    late("local function f() return pcall(pcall, pcall, error, 'x') end while true do f() end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catch_in_a_catch() {
    late("local function f(n) while true do pcall(f, n + 1) end end f(0)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_loops() {
    late("xpcall(function() error(1) end, function() while true do end end)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_of_the_last_error_that_loops() {
    late("while true do xpcall(function() while true do end end, function() while true do end end) end")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_that_goes_back_for_ever() {
    late("local _ = ('a'):rep(30000):find(('.-'):rep(20) .. 'b')").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_that_goes_back_for_ever() {
    late("local _ = ('a'):rep(30000):gsub('.-.-.-.-.-b', '')").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_as_long_as_the_text() {
    for function in ["match", "find", "gsub", "gmatch"] {
        let body = format!(
            "local set = '[' .. ('b'):rep(4000000) .. 'a]*'\n\
             for _ = 1, 1e9 do pcall(function() local f = string.{function}(('a'):rep(4000000), set, '')\n\
             if type(f) == 'function' then f() end end) end"
        );
        late(&body).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_of_a_long_text_in_a_longer_one() {
    late("while true do pcall(function() return (('a'):rep(4000000)):find(('a'):rep(2000000) .. 'b', 1, true) end) end")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_by_a_long_text() {
    late("while true do pcall(function() return (('a'):rep(4000000)):split(('a'):rep(2000000) .. 'b') end) end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_repeated_for_ever() {
    late("local _ = (''):rep(2^31) local _ = (''):rep(2^53) while true do end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_move() {
    late("while true do pcall(table.move, {}, 1, 2^31 - 2, 2) end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sorts() {
    late("local t = {} for i = 1, 100000 do t[i] = i % 77 end while true do table.sort(t) end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_big_sort() {
    let body = "local t = table.create(1000000, 0) local x = 1 for i = 1, 1000000 do x = x * 16807 % 2147483647 t[i] = x end table.sort(t)\n\
                while true do end";
    late(body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_that_loops() {
    late("table.sort({ 3, 2, 1 }, function() while true do end end)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_that_contradicts_itself() {
    let body = "local t = {} for i = 1, 1000 do t[i] = i end while true do pcall(table.sort, t, function() return true end) end";
    late(body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_function_that_loops() {
    late("local _ = ('abc'):gsub('.', function() while true do end end)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_of_values_that_loop() {
    for event in [
        "__tostring",
        "__index",
        "__newindex",
        "__call",
        "__add",
        "__concat",
        "__eq",
        "__lt",
        "__len",
        "__iter",
    ] {
        let body = format!(
            "local function f() while true do end end local m = {{ {event} = f }}\n\
             local a, b = setmetatable({{}}, m), setmetatable({{}}, m)\n\
             for _, try in {{ function() return tostring(a) end, function() return a.x end, function() a.y = 1 end, function() return #a end,\n\
             function() return a == b end, function() for _ in a do end end, function() return a < b end, function() return a + b end,\n\
             function() return a .. b end, function() return a() end }} do pcall(try) end"
        );
        attack(&body, &[HookErrorKind::Timeout]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_whose_words_loop() {
    late("error(setmetatable({}, { __tostring = function() while true do end end }))").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_indexes() {
    let words = refused(
        "local a, b = {}, {} setmetatable(a, { __index = b }) setmetatable(b, { __index = a }) return a.x.y",
    )
    .await;
    assert!(words.contains("loop"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_whose_methods_loop() {
    let body = "local function f() while true do end end return setmetatable({ text = '' }, { __index = f, __len = f, __iter = f, __pairs = f })";
    // Data is read as it is: no method of it runs.
    attack(body, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_numeric_loop_without_end() {
    late("for i = 1, math.huge do local _ = i end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_walked_for_ever() {
    late("local t = { 1 } local function f() return 1, 1 end for _ in f do end for _ in pairs(t) do end")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn formats_without_end() {
    late("while true do local _ = ('%99.99f'):format(1e308) pcall(string.format, '%999999999d', 1) end")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn emptied_tables_searched_from_the_front() {
    late("local t = {} for i = 1, 200000 do t['k' .. i % 50000] = i end for k in pairs(t) do t[k] = nil end while true do next(t) end").await;
}
