//! Lua hooks: the host API. Hostile scripts are in `attacks`.

mod bench;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bench::{Bench, answer, ask, call, failure, processes, random, until};
use serde_json::{Value, json};
use wharf_core::backend::{Backend, HostContext, HostError, HostFunction, HostModule};
use wharf_core::hook::{Hook, HookAnswer, HookErrorKind, HookRuntime as _, Logs};
use wharf_protocol::SessionId;

/// Runs a body as the `logs` hook and returns its text.
async fn text(bench: &Bench, manifest: &str, body: &str, request: Value) -> String {
    bench.lua("t", manifest, &format!("function M.logs(req)\n{body}\nend"));
    let hooks = bench.hooks();
    let HookAnswer::Logs(Logs::Text(text)) = answer(&hooks, "t", Hook::Logs, request).await else { panic!() };
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lua_submit_reads_its_request_and_answers() {
    let bench = Bench::new();
    bench.lua("t", "[config]\nqueue = \"gpu\"\n", "function M.submit(req) return { job_id = req.config.queue .. req.session.params.n, handle = { a = { 1, 2 } } } end");
    let hooks = bench.hooks();
    let HookAnswer::Submit(submitted) =
        answer(&hooks, "t", Hook::Submit, json!({"session": {"params": {"n": 4}}})).await
    else {
        panic!()
    };
    assert_eq!((submitted.job_id.as_str(), submitted.handle), ("gpu4", Some(json!({"a": [1, 2]}))));
    assert_eq!(answer(&hooks, "t", Hook::Terminate, json!({})).await, HookAnswer::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_time_have_their_own_kinds() {
    let bench = Bench::new();
    bench.lua("t", "[limits]\nhook_memory = \"8MiB\"\n[timeouts]\n", "function M.logs() local t = {} while true do t[#t + 1] = ('x'):rep(9999) .. #t end end\nfunction M.find() while true do end end\nfunction M.status() error('plain') end");
    let hooks = bench.hooks();
    assert_eq!(failure(&hooks, "t", Hook::Logs).await.kind, HookErrorKind::Memory);
    let mut slow = call("t", Hook::Find, json!({}));
    slow.deadline = Duration::from_millis(100);
    assert_eq!(hooks.call(slow).await.outcome.expect_err("late").kind, HookErrorKind::Timeout);
    let run = ask(&hooks, "t", Hook::Status, json!({})).await;
    let error = run.outcome.expect_err("an error");
    assert_eq!(error.kind, HookErrorKind::Internal);
    assert!(error.message.contains("hooks.lua:6"), "{error:?}");
    assert!(run.trace.log.contains("hooks.lua:6"), "{}", run.trace.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_script_no_longer_needs_does_not_count() {
    let bench = Bench::new();
    // A hundred times the cap, in texts, in tables and in answers of host functions.
    let body = "local n, kept = 0, {}
      for i = 1, 20000 do
        local text = ('x'):rep(20000) .. i
        kept[i % 10] = { text, { i } }
        n = n + #kept[i % 10][1] - 20000
        if i % 100 == 0 then n = n + #json.encode { ('y'):rep(50000) } - 50004 end
      end
      return { text = tostring(n) }";
    for cap in ["4MiB", "8MiB"] {
        let told = text(&bench, &format!("[limits]\nhook_memory = \"{cap}\"\n"), body, json!({})).await;
        assert_eq!(told, "88894", "{cap}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_way_out_of_the_sandbox() {
    let bench = Bench::new();
    let body = r#"
      local found = {}
      for name, value in { io = io or false, os = os or false, load = load or false, loadstring = loadstring or false,
          loadfile = loadfile or false, dofile = dofile or false, debug = debug or false, package = package or false,
          coroutine = coroutine or false, getfenv = getfenv or false, setfenv = setfenv or false, _G = _G or false,
          newproxy = newproxy or false, collectgarbage = collectgarbage or false, buffer = buffer or false,
          dump = string.dump or false } do
        if value then found[#found + 1] = name end
      end
      local function refused(f) return not pcall(f) end
      assert(refused(function() string.upper = nil end), "string")
      assert(refused(function() getmetatable("").__index = nil end), "metatable")
      assert(refused(function() global = 1 end), "global")
      assert(refused(function() host.exec = nil end), "host")
      assert(refused(function() json.x = 1 end), "json")
      assert(refused(function() require("../etc") end), "require")
      assert(refused(function() require("lib.missing") end), "require")
      assert(refused(function() req.x = 1 end), "request")
      assert(refused(function() req.session.id = 1 end), "session")
      assert(refused(function() req.session.params.a = 1 end), "params")
      assert(refused(function() table.insert(req.session.command, "x") end), "command")
      assert(refused(function() setmetatable(req, {}) end), "setmetatable")
      assert(refused(function() rawset(req, "a", 1) end), "rawset")
      assert(refused(function() return req.sesion end), "typing mistake")
      assert(req.handle == nil and req.node == nil)
      return { text = table.concat(found, ' ') }
    "#;
    let request = json!({"session": {"id": "a", "params": {"a": 1}, "command": ["x"]}});
    assert_eq!(text(&bench, "", body, request).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_listed_found_clean_and_traced() {
    let bench = Bench::new();
    let manifest = "[hooks]\ncommands = [\"env\", \"sh\", \"cat\", \"false\", \"not-there-at-all\"]\nenv = { SITE = \"1\" }\n";
    let body = r#"
      local r = host.exec{ argv = { "env" }, effect = "read", env = { EXTRA = "2" } }
      assert(r.status == 0 and r.stderr == "" and r.truncated == false)
      assert(r.stdout:find("SITE=1", 1, true) and r.stdout:find("EXTRA=2", 1, true), r.stdout)
      assert(r.stdout:find("WHARF_INSTANCE=bench-0:", 1, true), r.stdout)
      assert(not r.stdout:find("CARGO", 1, true), r.stdout)
      assert(host.exec{ argv = { "cat" }, stdin = "in" }.stdout == "in")
      assert(host.exec{ argv = { "sh", "-c", "kill -9 $$" } }.signal == 9)
      assert(host.exec{ argv = { "false" } }.status == 1)
      local ok, e = pcall(host.exec, { argv = { "false" }, check = true })
      assert(not ok and tostring(e):find("exit status 1"), tostring(e))
      assert(not pcall(host.exec, { argv = { "ls" } }))
      assert(not pcall(host.exec, { argv = "env" }))
      assert(not pcall(host.exec, { argv = { "env", "a\0b" } }))
      assert(not pcall(host.exec, { argv = { "env" }, effct = "read" }))
      local ok, e = pcall(host.exec, { argv = { "not-there-at-all" } })
      assert(not ok and tostring(e):find("not installed"), tostring(e))
      local ok, e = pcall(host.exec, { argv = { "sh", "-c", "sleep 60" }, timeout = 0.2 })
      assert(not ok and tostring(e):find("not done in"), tostring(e))
      return { text = host.exec{ argv = { "sh", "-c", "head -c 5000000 /dev/zero" } }.truncated and "cut" or "whole" }
    "#;
    bench.lua(
        "t",
        manifest,
        &format!(
            "function M.logs(req)\n{body}\nend\nfunction M.validate() host.exec{{ argv = {{ 'env' }} }} end"
        ),
    );
    let hooks = bench.hooks();
    let run = ask(&hooks, "t", Hook::Logs, json!({})).await;
    assert_eq!(run.outcome, Ok(HookAnswer::Logs(Logs::Text("cut".to_owned()))), "{}", run.trace.log);
    assert_eq!(run.trace.commands[0].argv, ["env"]);
    assert_eq!((run.trace.commands[0].effect.as_str(), run.trace.commands[0].status), ("read", Some(0)));
    assert!(failure(&hooks, "t", Hook::Validate).await.message.contains("pure"));
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_runs_side_by_side_and_its_deadline_ends_the_children() {
    let bench = Bench::new();
    let tag = random(SessionId::from_random);
    let manifest = "[hooks]\ncommands = [\"sh\"]\n";
    let body = format!(
        "local function nap() return host.exec{{ argv = {{ 'sh', '-c', 'sleep 0.4; echo $PPID' }} }}.status end\n\
         local r = host.parallel(nap, nap, nap, function() return 'four' end)\n\
         return {{ text = r[1] .. r[2] .. r[3] .. r[4] }}\nend\n\
         function M.find() local f = function() host.exec{{ argv = {{ 'sh', '-c', 'trap \"\" TERM; sleep 600; : {tag}' }} }} end host.parallel(f, f)"
    );
    let started = Instant::now();
    assert_eq!(text(&bench, manifest, &body, json!({})).await, "000four");
    assert!(started.elapsed() < Duration::from_millis(1100), "{:?}", started.elapsed());
    let mut hang = call("t", Hook::Find, json!({}));
    hang.deadline = Duration::from_millis(500);
    let hooks = bench.hooks();
    let started = Instant::now();
    let run = hooks.call(hang).await;
    assert!(started.elapsed() < Duration::from_millis(1000), "{:?}", started.elapsed());
    assert_eq!(run.outcome.expect_err("late").kind, HookErrorKind::Timeout);
    assert_eq!(processes(tag.as_str()), Vec::<i32>::new());
    // Nothing of a call that was cut off stays.
    let calls = bench.data().join("calls");
    until("removed", || std::fs::read_dir(&calls).expect("a directory").count() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_by_kind_reach_the_user_and_may_be_caught() {
    let bench = Bench::new();
    bench.lua("t", "", "function M.submit() host.fail('denied', 'no account', { hint = 'ask', field = 'params.account', retry_after = 5 }) end\n\
        function M.find() pcall(host.fail, 'denied', 'x') return {} end\n\
        function M.status() host.fail('nonsense', 'x') end");
    let hooks = bench.hooks();
    let error = failure(&hooks, "t", Hook::Submit).await;
    assert_eq!(
        (error.kind, error.message.as_str(), error.hint.as_deref()),
        (HookErrorKind::Denied, "no account", Some("ask"))
    );
    assert_eq!(
        (error.field.as_deref(), error.retry_after),
        (Some("params.account"), Some(Duration::from_secs(5)))
    );
    assert!(
        matches!(answer(&hooks, "t", Hook::Find, json!({})).await, HookAnswer::Find(found) if found.is_empty())
    );
    assert_eq!(failure(&hooks, "t", Hook::Status).await.kind, HookErrorKind::Internal);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_strict_and_quote_what_users_gave() {
    let bench = Bench::new();
    bench.write("t", "files/job.sh.j2", "#SBATCH --job-name={{ name | directive }}\nexec {{ word | shq }}\n");
    let body = r#"
      assert(not pcall(host.render, "job.sh.j2", { name = "a" }), "undefined")
      assert(not pcall(host.render, "job.sh.j2", { name = "a\n#SBATCH --uid=0", word = "x" }), "newline")
      assert(not pcall(host.render, "missing.j2", {}), "missing")
      return { text = host.render("job.sh.j2", { name = "ok", word = "it's $(x)" }) }
    "#;
    assert_eq!(text(&bench, "", body, json!({})).await, "#SBATCH --job-name=ok\nexec 'it'\\''s $(x)'\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_read_with_the_libraries() {
    let bench = Bench::new();
    bench.write("t", "lib/parse.lua", "return { twice = function(x) return x * 2 end }");
    let body = r#"
      local parse = require("lib.parse")
      assert(parse == require("lib.parse") and parse.twice(21) == 42)
      local v = json.decode('{"a":[1,2,{"b":null}],"big":9007199254740993,"e":[]}')
      assert(v.a[2] == 2 and v.big == "9007199254740993")
      assert(json.encode({ e = v.e, n = json.null, x = 1.5 }) == '{"e":[],"n":null,"x":1.5}', json.encode({ e = v.e, n = json.null, x = 1.5 }))
      assert(not pcall(json.decode, "{} {}"))
      assert(not pcall(json.encode, { f = print }))
      assert(toml.decode("a = 1").a == 1)
      assert(units.seconds("1h 30m") == 5400 and units.seconds("90") == 90 and not pcall(units.seconds, "soon"))
      assert(units.bytes("2GiB") == 2147483648 and units.bytes("1kb") == 1000 and not pcall(units.bytes, "much"))
      assert(units.time(0) == "1970-01-01T00:00:00Z" and not pcall(units.time, -1))
      local m = re.match("job 42 ok", [[job (?P<id>\d+) (\w+)]])
      assert(m[0] == "job 42 ok" and m.id == "42" and m[2] == "ok")
      assert(re.match("x", "y") == nil and re.test("abc", "b") and #re.all("a1b2", [[\d]]) == 2)
      assert(#lines("a\r\n\n b \n") == 2)
      local rows = columns("1 RUNNING  None given\n2 PENDING Priority\n", { "id", "state", "why" })
      assert(rows[1].why == "None given" and rows[2].id == "2")
      assert(columns("1|R|x|y", { "id", "st", "rest" }, "|")[1].rest == "x|y")
      local file = host.tmp("script.sh", "echo hi")
      assert(file:find(host.tmp(), 1, true) == 1)
      assert(not pcall(host.tmp, "../x", ""))
      assert(host.now() > 1e9)
      log.warn("seen", { a = 1 })
      local calls = 0
      local function make() calls = calls + 1 return { n = calls } end
      assert(host.cache("k", 60, make).n == 1 and host.cache("k", 60, make).n == 1 and calls == 1)
      return { text = "fine" }
    "#;
    assert_eq!(text(&bench, "", body, json!({})).await, "fine");
}

/// Its `logs` answers that, and neither a secret parameter nor a secret of a file stands in its trace.
async fn keeps_secrets(bench: &Bench, answer: &str) {
    let mut call = call("t", Hook::Logs, json!({"session": {"params": {"pin": "hunter2-canary"}}}));
    call.secret_params = vec!["pin".to_owned()];
    let run = bench.hooks().call(call).await;
    assert_eq!(run.outcome, Ok(HookAnswer::Logs(Logs::Text(answer.to_owned()))), "{}", run.trace.log);
    let shown = format!("{:?}", run.trace);
    assert!(!shown.contains("hunter2") && !shown.contains("from-the-file"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_stay_opaque() {
    let bench = Bench::new();
    let file = bench.root.path().join("secret");
    std::fs::write(&file, "from-the-file\n").expect("a file");
    let manifest = format!("[secrets.api]\nfile = \"{}\"\n[hooks]\ncommands = [\"sh\"]\n", file.display());
    bench.lua(
        "t",
        &manifest,
        r#"function M.logs(req)
      local pin, api = req.session.params.pin, host.secret("api")
      assert(tostring(pin) == "***" and tostring(api) == "***")
      assert(not pcall(function() return "x" .. pin end))
      assert(not pcall(host.exec, { argv = { "sh", pin } }))
      assert(not pcall(json.encode, { pin }))
      assert(not pcall(host.secret, "other"))
      local r = host.exec{ argv = { "sh", "-c", 'echo "$PIN"; cat' }, env = { PIN = pin }, stdin = api }
      log.info(r.stdout)
      return { text = #r.stdout .. "" }
    end"#,
    );
    keeps_secrets(&bench, "28").await;
}

#[derive(Debug)]
struct Fake;

#[async_trait::async_trait]
impl Backend for Fake {
    fn name(&self) -> &'static str {
        "shell"
    }
    fn capabilities(&self) -> Vec<&'static str> {
        Vec::new()
    }
    fn requeues(&self) -> bool {
        false
    }
    async fn probe(&self) -> Result<(), String> {
        Ok(())
    }
    fn module(&self) -> Option<Arc<dyn HostModule>> {
        Some(Arc::new(Self))
    }
}

#[async_trait::async_trait]
impl HostModule for Fake {
    fn name(&self) -> &'static str {
        "shell"
    }
    fn functions(&self) -> &'static [HostFunction] {
        &[
            HostFunction { name: "echo", writes: false, doc: "Gives back what it got." },
            HostFunction { name: "refuse", writes: true, doc: "Refuses." },
            HostFunction { name: "hang", writes: true, doc: "Hangs." },
            HostFunction { name: "start", writes: true, doc: "Gives back what it would start." },
            HostFunction { name: "leave", writes: true, doc: "Leaves a process behind." },
        ]
    }
    fn program<'a>(&self, function: &str, arguments: &'a Value) -> Option<&'a str> {
        (function == "start").then(|| arguments.pointer("/argv/0")?.as_str()).flatten()
    }
    async fn call(
        &self,
        function: &str,
        arguments: Value,
        context: &HostContext,
    ) -> Result<Value, HostError> {
        match function {
            "start" => Ok(arguments),
            "leave" => {
                context.processes.about_to_start()?;
                let child = std::process::Command::new("setsid")
                    .args(["--fork", "sleep", "600"])
                    .env("WHARF_INSTANCE", &context.mark)
                    .stdout(std::process::Stdio::null())
                    .status();
                assert!(child.is_ok_and(|status| status.success()));
                Ok(json!({}))
            }
            "echo" => Ok(json!({"got": arguments, "mark": context.mark, "env": context.env})),
            "hang" => {
                context.cancel.cancelled().await;
                Ok(json!({}))
            }
            _ => Err(HostError::new(HookErrorKind::NotFound, "no such job")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backends_module_is_a_table_of_functions() {
    let mut bench = Bench::new();
    bench.backends.push(Arc::new(Fake));
    bench.lua(
        "t",
        "[hooks]\nenv = { A = \"b\" }\n",
        r#"
    function M.logs(req) local r = shell.echo{ pid = 7, list = { "a" } }
      return { text = json.encode(r.got) .. tostring(r.mark:find("bench%-0:") ~= nil) .. r.env[1][2] } end
    function M.submit() shell.refuse{} end
    function M.find() shell.hang() end"#,
    );
    let hooks = bench.hooks();
    let HookAnswer::Logs(Logs::Text(text)) = answer(&hooks, "t", Hook::Logs, json!({})).await else {
        panic!()
    };
    assert_eq!(text, r#"{"list":["a"],"pid":7}trueb"#);
    assert_eq!(failure(&hooks, "t", Hook::Submit).await.kind, HookErrorKind::NotFound);
    let mut hang = call("t", Hook::Find, json!({}));
    hang.deadline = Duration::from_millis(200);
    assert_eq!(hooks.call(hang).await.outcome.expect_err("late").kind, HookErrorKind::Timeout);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_module_leaves_running_is_ended_and_one_that_starts_nothing_is_not_written_down() {
    let mut bench = Bench::new();
    bench.backends.push(Arc::new(Fake));
    bench.lua(
        "t",
        "",
        r#"
    function M.logs() return { text = shell.echo{}.mark } end
    function M.submit() shell.leave{} return { job_id = "1" } end"#,
    );
    let hooks = bench.hooks();
    let journal = || std::fs::read_to_string(bench.data().join("calls.open")).expect("the journal");
    answer(&hooks, "t", Hook::Logs, json!({})).await;
    assert_eq!(journal(), "");
    let run = hooks.call(call("t", Hook::Submit, json!({}))).await;
    assert!(run.outcome.is_ok());
    assert!(
        run.trace.log.contains("[1 processes that the hook left behind were ended]"),
        "{}",
        run.trace.log
    );
    assert_eq!(journal().lines().count(), 2, "begun and ended: {}", journal());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_gets_secrets_only_where_nobody_sees_them() {
    let mut bench = Bench::new();
    bench.backends.push(Arc::new(Fake));
    let file = bench.root.path().join("api");
    std::fs::write(&file, "from-the-file").unwrap();
    bench.lua(
        "t",
        &format!("[secrets.api]\nfile = \"{}\"\n", file.display()),
        r#"
    function M.logs(req)
      local pin, api = req.session.params.pin, host.secret("api")
      local function refused(options, member)
        local ok, why = pcall(shell.echo, options)
        assert(not ok, member)
        local words = "a secret in " .. member .. " could be seen by everybody: use env or stdin"
        assert(tostring(why):find(words, 1, true), tostring(why))
      end
      refused({ argv = { "sbatch", pin } }, "argv")
      refused({ partition = api }, "partition")
      refused({ options = { "--comment", api } }, "options")
      refused({ labels = { stdin = pin } }, "labels")
      refused({ labels = { env = { A = pin } } }, "labels")
      refused({ env = { A = { pin } } }, "env")
      refused({ env = pin }, "env")
      local got = shell.echo{ env = { PIN = pin }, stdin = api, script = pin, monitor = { env = { A = api } } }.got
      assert(got.env.PIN == "hunter2-canary" and got.script == "hunter2-canary")
      assert(got.stdin == "from-the-file" and got.monitor.env.A == "from-the-file")
      return { text = "handed on" }
    end"#,
    );
    keeps_secrets(&bench, "handed on").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_starts_the_requests_monitor_or_a_listed_command_and_nothing_else() {
    let mut bench = Bench::new();
    bench.backends.push(Arc::new(Fake));
    bench.lua(
        "t",
        "[hooks]\ncommands = { touch = \"/usr/bin/touch\" }\n",
        r#"
    function M.submit(req)
      for _, program in ipairs { "/bin/sh", "touch", "wharf-monitor", "" } do
        local ok, why = pcall(shell.start, { argv = { program, "run" } })
        assert(not ok and tostring(why):find("neither the request's monitor", 1, true), tostring(why))
      end
      local first = shell.start{ argv = req.monitor.argv }.argv[1]
      local second = shell.start{ argv = { "/usr/bin/touch" } }.argv[1]
      assert(first == "/wharf/wharf-monitor" and second == "/usr/bin/touch")
      return { job_id = "started" }
    end"#,
    );
    let hooks = bench.hooks();
    let request = json!({"monitor": {"argv": ["/wharf/wharf-monitor", "run"]}});
    let HookAnswer::Submit(submitted) = answer(&hooks, "t", Hook::Submit, request).await else { panic!() };
    assert_eq!(submitted.job_id, "started");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overlay_reaches_the_hooks_below_it_whatever_they_are_written_in() {
    let bench = Bench::new();
    bench.template("below", "title = \"Below\"\n[config]\na = 1\nb = 1\n", &[
        ("submit", r#"read request; case "$request" in *'"b":2'*) echo '{"result":{"job_id":"exec-2"}}';; *) exit 1;; esac"#),
    ]);
    bench.write("below", "hooks.lua", "return { status = function(req) return { ['1'] = { state = 'running', raw = require('lib.w').word } } end }");
    bench.write("below", "lib/w.lua", "return { word = 'below' }");
    bench.write("above", "template.toml", "api = 1\nextends = \"below\"\n[config]\nb = 2\n");
    bench.write("above", "lib/w.lua", "return { word = 'above' }");
    bench.write("above", "hooks.lua", r#"
      local M = {}
      function M.submit(req) local r = base.submit(req) return { job_id = r.job_id .. "-" .. require("lib.w").word } end
      function M.status(req) local r = base.status(req) r["1"].node = "n" return r end
      return M"#);
    let hooks = bench.hooks();
    let HookAnswer::Submit(submitted) = answer(&hooks, "above", Hook::Submit, json!({})).await else {
        panic!()
    };
    assert_eq!(submitted.job_id, "exec-2-above");
    let HookAnswer::Status(reports) = answer(&hooks, "above", Hook::Status, json!({})).await else {
        panic!()
    };
    assert_eq!((reports["1"].raw.as_deref(), reports["1"].node.as_deref()), (Some("below"), Some("n")));
    let failed = failure(&hooks, "above", Hook::Terminate).await;
    assert!(failed.plain_exit, "the terminate of below: {failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_runs_nothing() {
    let bench = Bench::new();
    let canary = bench.root.path().join("ran");
    bench.lua("t", "[hooks]\ncommands = [\"touch\"]\n", &format!(
        "function M.submit(req) local r = host.exec{{ argv = {{ 'touch', '{}' }} }} return {{ job_id = 'dry-' .. r.status .. tostring(req.dry_run) }} end",
        canary.display()
    ));
    bench.template("x", "", &[("submit", &format!("touch {}; echo 1", canary.display()))]);
    let hooks = bench.hooks();
    let run = ask(&hooks, "t", Hook::Submit, json!({"dry_run": true})).await;
    assert!(matches!(run.outcome, Ok(HookAnswer::Submit(submitted)) if submitted.job_id == "dry-0true"));
    assert_eq!(run.trace.commands.len(), 1);
    assert!(ask(&hooks, "x", Hook::Submit, json!({"dry_run": true})).await.outcome.is_err());
    assert!(!canary.exists());
}
