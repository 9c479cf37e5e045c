//! Measures hook calls against their floors of the same run: a bare sandboxed VM that does the same, and a bare spawn
//! of the same program with the same input and output.
//!
//! ```text
//! cargo bench -p wharf-hooks [ROUNDS]
//! ```
//!
//! A call and its floor are measured in turns, so that a busy moment of the machine meets both. Absolute times are
//! this machine's; compare the ratios. Requests and results are of 1 KB.

#[path = "../hooks/tests/bench/mod.rs"]
mod bench;

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bench::{Bench, answer};
use mlua::{Lua, LuaOptions, LuaSerdeExt as _, StdLib, VmState};
use serde_json::{Value, json};
use wharf_core::hook::{Hook, HookAnswer};

const ROUNDS: usize = 400;
/// What each call may cost, as a multiple of its floor.
const LUA_AT_MOST: f64 = 1.6;
const PROGRAM_AT_MOST: f64 = 1.2;

const SCRIPT: &str = "local hooks = {}\n\
    function hooks.submit(req)\n\
      local out = {}\n\
      for name, value in pairs(req.session.params) do out[name] = value end\n\
      return { job_id = 'job-' .. req.session.id, handle = out }\n\
    end\n\
    function hooks.terminate(req) return {} end\n\
    return hooks\n";

/// A request of 1 KB, whose result is of 1 KB too.
fn request() -> Value {
    let params: serde_json::Map<_, _> =
        (0..16).map(|n| (format!("parameter{n}"), json!("x".repeat(40)))).collect();
    json!({ "session": { "id": "k3v9x2m7q4t8w1z6b5n0", "params": params }, "config": {} })
}

/// What nobody can do without: a VM with the same libraries and limits, the request in, the result out.
fn bare_vm(code: &[u8], request: &Value) -> Value {
    let libraries = StdLib::TABLE | StdLib::STRING | StdLib::UTF8 | StdLib::BIT | StdLib::MATH;
    let lua = Lua::new_with(libraries, LuaOptions::new()).expect("a VM");
    lua.set_memory_limit(32 << 20).expect("a limit");
    lua.set_interrupt(|_| Ok(VmState::Continue));
    lua.sandbox(true).expect("a sandbox");
    let hooks: mlua::Table = lua.load(code).call(()).expect("a table");
    let submit: mlua::Function = hooks.get("submit").expect("a hook");
    let result: mlua::Value = submit.call(lua.to_value(request).expect("a request")).expect("a result");
    lua.from_value(result).expect("a result")
}

/// What nobody can do without: the program, its input, its output, its end, in the locale that hooks have.
fn bare_spawn(program: &std::path::Path, input: &[u8]) -> Value {
    let mut child = Command::new(program)
        .arg("submit")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    child.stdin.take().expect("piped").write_all(input).expect("written");
    let (mut output, mut words) = (Vec::new(), Vec::new());
    child.stdout.take().expect("piped").read_to_end(&mut output).expect("read");
    child.stderr.take().expect("piped").read_to_end(&mut words).expect("read");
    assert!(child.wait().expect("ended").success());
    serde_json::from_slice(&output).expect("a document")
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Both in turns; whether the ratio of the medians is good enough.
#[expect(clippy::print_stdout, reason = "printing is what a bench is for")]
async fn compare<F: Future<Output = ()>>(
    what: &str,
    rounds: usize,
    most: f64,
    call: impl Fn() -> F,
    floor: impl Fn(),
) -> bool {
    let (mut calls, mut floors) = (Vec::new(), Vec::new());
    // The first ones fill caches.
    for round in 0..rounds + rounds / 20 {
        let began = Instant::now();
        call().await;
        let called = began.elapsed();
        let began = Instant::now();
        floor();
        if round >= rounds / 20 {
            calls.push(called);
            floors.push(began.elapsed());
        }
    }
    let (call, floor) = (median(&mut calls), median(&mut floors));
    let ratio = call.as_secs_f64() / floor.as_secs_f64();
    let high = calls[calls.len() * 99 / 100];
    println!(
        "{what:<24} median {call:>9.1?}  p99 {high:>9.1?}  floor {floor:>9.1?}  {ratio:.2} x floor (at most {most})"
    );
    ratio <= most
}

#[tokio::main]
async fn main() {
    let rounds = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(ROUNDS);
    // In a task, as the launcher calls hooks.
    let good = tokio::spawn(measure(rounds)).await.expect("no panic");
    assert!(good, "slower than it may be");
}

async fn measure(rounds: usize) -> bool {
    let bench = Bench::new();
    bench.write("lua", "template.toml", bench::MANIFEST);
    bench.write("lua", "hooks.lua", SCRIPT);
    let document = json!({ "result": { "job_id": "job-1", "handle": request()["session"]["params"] } });
    let script = format!("cat >/dev/null\nprintf '%s' '{document}'");
    bench.template("program", "", &[("submit", &script)]);
    let hooks = bench.hooks();
    let ask = |template: &'static str| {
        let hooks = hooks.clone();
        async move {
            let answer = answer(&hooks, template, Hook::Submit, request()).await;
            assert!(matches!(answer, HookAnswer::Submit(submitted) if submitted.handle.is_some()));
        }
    };
    let code = mlua::chunk::Compiler::new().compile(SCRIPT).expect("it compiles");
    let request = request();
    let lua = compare(
        "a Lua hook",
        rounds,
        LUA_AT_MOST,
        || ask("lua"),
        || {
            assert!(bare_vm(&code, &request)["handle"].is_object());
        },
    );
    let lua = lua.await;
    let program = bench.dir("program").join("hooks/submit");
    let input = serde_json::to_vec(&json!({ "api": 1, "hook": "submit", "request": request })).expect("JSON");
    let spawn = compare(
        "an executable hook",
        rounds,
        PROGRAM_AT_MOST,
        || ask("program"),
        || {
            assert!(bare_spawn(&program, &input)["result"].is_object());
        },
    );
    spawn.await && lua
}
