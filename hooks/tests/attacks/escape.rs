//! Scripts that reach for more than they were given.

use serde_json::json;
use wharf_core::hook::HookErrorKind;

use super::{attack, attack_with, late, refused};

#[tokio::test(flavor = "multi_thread")]
async fn coroutines() {
    for body in [
        "coroutine.wrap(function() while true do end end)()",
        "while true do local c = coroutine.create(function() while true do end end) coroutine.resume(c) end",
    ] {
        let words = refused(body).await;
        assert!(words.contains("nil"), "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytecode() {
    for body in ["load(string.dump(function() end))()", "loadstring('\\27Lua')()", "string.dump(print)"] {
        let words = refused(body).await;
        assert!(words.contains("nil"), "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finalizers_that_loop() {
    attack("for _ = 1, 1000 do setmetatable({}, { __gc = function() while true do end end, __close = function() while true do end end }) end return { text = '' }", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poisoned_metatables() {
    for body in [
        "getmetatable('').__index = function() return 'poison' end",
        "getmetatable('').__index.upper = function() return 'poison' end",
        "string.upper = function() return 'poison' end",
        "rawset(string, 'upper', nil)",
        "setmetatable(string, {})",
        "setmetatable(host, {})",
        "rawset(host, 'exec', print)",
        "setmetatable(require, {})",
        "table.insert(req.session.command, 'x')",
        "table.clear(req)",
        "table.sort(req.session.command)",
        "rawset(getmetatable(req), '__index', nil)",
    ] {
        let request = json!({"session": {"command": ["b", "a"]}});
        attack_with("", body, request, &[HookErrorKind::Internal]).await;
    }
    // Nothing of it is left for the next call of the same template, as its machine is another one.
    attack("pcall(function() string.upper = nil end) pcall(rawset, table, 'insert', nil) return { text = ('a'):upper() }", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_call_leaves_the_next_one_does_not_see() {
    attack("shared = 1", &[HookErrorKind::Internal]).await;
    let body = "local lib = require('lib.missing')";
    let words = refused(body).await;
    assert!(words.contains("lib/missing.lua"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_outside_the_template() {
    for name in ["lib/../../../etc/passwd", "lib.../etc", "/etc/passwd", "lib.", "os", "lib.a/b", "hooks"] {
        let words = refused(&format!("require('{name}')")).await;
        assert!(words.contains("require"), "{words}");
    }
    for name in ["../hooks.lua", "/etc/passwd", "../../../../etc/passwd", "a\\0b"] {
        refused(&format!("return {{ text = host.render('{name}') }}")).await;
    }
    for name in ["../x", "a/b", "", ".", "..", "a\\0b"] {
        let words = refused(&format!("host.tmp('{name}', 'x')")).await;
        assert!(words.contains("host.tmp"), "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_never_ends() {
    attack("return { text = host.render('endless.j2') }", &[HookErrorKind::Internal, HookErrorKind::Timeout])
        .await;
    late("while true do pcall(host.render, 'endless.j2') end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_while_a_file_is_loaded() {
    let _alone = super::ALONE.lock().await;
    let bench = super::Bench::new();
    for (name, effect) in [
        ("exec", "host.exec{ argv = { 'sh' } }"),
        ("tmp", "host.tmp()"),
        ("sleep", "host.sleep(1)"),
        ("secret", "host.secret('x')"),
        ("loop", "while true do end"),
        ("grow", "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end"),
    ] {
        bench.lua(name, "[hooks]\ncommands = [\"sh\"]\n", "");
        bench.write(name, "hooks.lua", &format!("{effect}\nreturn {{ submit = print, terminate = print }}"));
        let started = std::time::Instant::now();
        let findings = bench.hooks().check(&bench.dir(name));
        assert!(findings.iter().any(|finding| finding.code == "lua_load"), "{name}: {findings:?}");
        assert!(started.elapsed() < std::time::Duration::from_secs(2), "{name}: {:?}", started.elapsed());
    }
    super::nothing_stays(&bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_requires_itself() {
    let _alone = super::ALONE.lock().await;
    let bench = super::Bench::new();
    bench.lua("bad", "", "function M.logs() return require('lib.a') end");
    bench.write("bad", "lib/a.lua", "return require('lib.b')");
    bench.write("bad", "lib/b.lua", "return require('lib.a')");
    let error = super::bench::failure(&bench.hooks(), "bad", wharf_core::hook::Hook::Logs).await;
    assert!(error.message.contains("circle"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_asked_for_in_every_way() {
    let body = r"
      local pin = req.session.params.pin
      local tries = {
        function() return pin .. '' end, function() return '' .. pin end, function() return #pin end, function() return pin.value end,
        function() return pin:sub(1) end, function() return json.encode({ pin }) end, function() return ('%s'):rep(1):format(pin) end,
        function() return table.concat({ pin }) end, function() return host.render('x.j2', { pin = pin }) end,
        function() return re.find(pin, '.*') end, function() return tonumber(pin) end, function() return getmetatable(pin).__index end,
        function() host.fail('denied', 'pin: ' .. tostring(pin), { hint = pin }) end, function() error(pin) end,
        function() log.info(pin, { pin }) end, function() host.cache('k', 5, function() return pin end) end,
        function() host.exec{ argv = { 'sh', pin } } end, function() return pin < 'x' end, function() return ({ [pin] = 1 })['hunter2-canary'] end,
      }
      for at, try in tries do
        local ok, got = pcall(try)
        assert(not tostring(got):find('hunter2', 1, true), at)
      end
      return { text = tostring(pin) }";
    let _alone = super::ALONE.lock().await;
    let bench = super::Bench::new();
    bench.lua("bad", "[hooks]\ncommands = [\"sh\"]\n", &format!("function M.logs(req)\n{body}\nend"));
    bench.write("bad", "files/x.j2", "{{ pin }}");
    let mut call =
        super::call("bad", super::Hook::Logs, json!({"session": {"params": {"pin": "hunter2-canary"}}}));
    call.secret_params = vec!["pin".to_owned()];
    use wharf_core::hook::HookRuntime as _;
    let run = bench.hooks().call(call).await;
    let shown = format!("{run:?}");
    assert!(run.outcome.is_ok() && !shown.contains("hunter2"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_the_limit_that_are_swallowed() {
    // A script that catches the stop and answers anyway is late all the same.
    late("local ok repeat ok = pcall(function() while true do end end) until ok return { text = 'fine' }")
        .await;
    late("pcall(function() while true do end end) return { text = 'fine' }").await;
}
