//! Hooks in Lua: Luau in a sandbox, a fresh VM for each call, on a thread of its own.
//!
//! ```text
//! call ─ place in the pool ─▶ thread with a VM (fresh) ─ hooks.lua (script) ─ host functions (host, command, text) ─ result
//!   │                            ▲ commands and backends run on the launcher's runtime, ended with the call
//!   └ at the deadline: the flag that the VM's interrupt loads; 400 ms later nobody waits for the thread any more
//! ```
//!
//! The VM is thrown away after each call, whatever happened in it. A thread that is still inside a native function
//! keeps its place in the pool until it comes back. The sandbox keeps a bad script from hurting others; it is not what
//! separates users.

mod command;
mod fault;
mod fresh;
mod host;
mod module;
pub(crate) mod render;
mod script;
mod text;
mod units;
mod value;
mod vm;
mod waiting;
mod workers;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mlua::Value as Lv;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use wharf_core::hook::{HookError, HookErrorKind};
use wharf_protocol::template::{Finding, Severity};

use crate::context::Context;
use crate::exec;
use crate::exec::child::Stopped;
use crate::load::Level;
use crate::load::files::Files;
use crate::pool::Place;
use fresh::Fresh;
use host::{Cache, Call, Work};
use script::Scripts;
pub(crate) use vm::LANGUAGE;
use workers::Workers;

/// How long a module's body may take when it is checked.
const BODY: Duration = Duration::from_millis(250);
/// Most pieces of bytecode that are kept.
const BYTECODE_MAX: usize = 1024;

type Kept = HashMap<(String, String), Arc<Vec<u8>>>;

/// Bytecode by content of the template and file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bytecode {
    kept: Arc<Mutex<Kept>>,
}

impl Bytecode {
    fn get(&self, hash: &str, file: &str, source: &[u8]) -> mlua::Result<Arc<Vec<u8>>> {
        let key = (hash.to_owned(), file.to_owned());
        if let Some(code) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(code));
        }
        let code = Arc::new(script::compile(source)?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= BYTECODE_MAX {
            kept.clear();
        }
        kept.insert(key, Arc::clone(&code));
        Ok(code)
    }
}

/// What calls share.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    bytecode: Bytecode,
    cache: Cache,
    workers: Workers,
}

impl Engine {
    /// Nothing kept yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Runs a hook of a level; the answer is not validated yet.
    pub(crate) async fn run(
        &self,
        context: Arc<Context>,
        level: usize,
        request: Value,
        place: Place,
    ) -> Result<Value, HookError> {
        let given_up = Arc::new(AtomicBool::new(false));
        let (done, answer) = oneshot::channel();
        let thread = Thread {
            context: Arc::clone(&context),
            given_up: Arc::clone(&given_up),
            bytecode: self.bytecode.clone(),
            cache: Arc::clone(&self.cache),
            runtime: Handle::current(),
            level,
            request,
        };
        let started = self.workers.run(Box::new(move |fresh| {
            thread.run(&fresh, done);
            drop(fresh);
            // The place comes back with the thread, not with the caller's patience.
            drop(place);
        }));
        if let Err(error) = started {
            return Err(HookError::new(
                HookErrorKind::Unavailable,
                format!("no thread for the hook: {error}"),
            ));
        }
        // Whoever drops this future ends the script as well.
        let _dropped = SetOnDrop(Arc::clone(&given_up));
        tokio::pin!(answer);
        let why = tokio::select! {
            biased;
            answer = &mut answer => return answer.unwrap_or_else(|_| Err(broke_off())),
            () = tokio::time::sleep_until(context.deadline) => Stopped::Deadline,
            () = context.cancel.cancelled() => Stopped::Cancelled,
        };
        given_up.store(true, Ordering::Relaxed);
        let last = tokio::time::timeout(Duration::from_millis(250), &mut answer).await;
        match last {
            // It may have been done in the same moment.
            Ok(Ok(Ok(value))) if why == Stopped::Deadline => Ok(value),
            _ => Err(exec::stopped(why, context.allowed)),
        }
    }
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn broke_off() -> HookError {
    HookError::new(HookErrorKind::Internal, "the hook's thread broke off")
}

/// What goes to the thread.
struct Thread {
    context: Arc<Context>,
    given_up: Arc<AtomicBool>,
    bytecode: Bytecode,
    cache: Cache,
    runtime: Handle,
    level: usize,
    request: Value,
}

impl Thread {
    /// Runs it, and answers as soon as nothing of the call is left; the VM is thrown away after that.
    fn run(self, fresh: &mlua::Result<Fresh>, done: oneshot::Sender<Result<Value, HookError>>) {
        let result = match fresh {
            Ok(fresh) => self.runtime.block_on(self.script(fresh)),
            Err(error) => Err(error.clone()),
        };
        if let Ok(Fresh { lua, host, .. }) = fresh
            && host.waits().has_suspended()
        {
            // What was cut off in the middle is kept by the VM and keeps it: collected, both go.
            for _ in 0..3 {
                let _ = lua.gc_collect();
            }
        }
        // Nobody listens when the call was given up.
        let _ = done.send(self.outcome(result));
    }

    fn outcome(&self, result: mlua::Result<Value>) -> Result<Value, HookError> {
        if self.given_up.load(Ordering::Relaxed) || self.context.left().is_zero() {
            if let Err(error) = result {
                // Where it was is what the administrator wants to know.
                self.context.log(&format!("error: {error}\n"));
            }
            return Err(exec::stopped(Stopped::Deadline, self.context.allowed));
        }
        result.map_err(|error| {
            let (error, full) = fault::classify(&error);
            self.context.log(&format!("error: {full}\n"));
            error
        })
    }

    fn work(&self) -> Work {
        let user = self.request.get("user").and_then(|user| user.get("name")).and_then(Value::as_str);
        // A rehearsal knows nothing of the ones before it.
        let cache = if self.context.stage.is_some() { Cache::default() } else { Arc::clone(&self.cache) };
        Work {
            levels: Arc::clone(&self.context.version.levels),
            level: self.level,
            bytecode: self.bytecode.clone(),
            call: Some(Call {
                context: Arc::clone(&self.context),
                runtime: self.runtime.clone(),
                user: user.unwrap_or_default().to_owned(),
                cache,
            }),
        }
    }

    async fn script(&self, fresh: &Fresh) -> mlua::Result<Value> {
        let context = &self.context;
        fresh.bind(self.work(), &self.given_up)?;
        let scripts = Scripts(fresh.host.clone());
        tokio::select! {
            biased;
            result = scripts.call(fresh, context.hook, &self.request) => result,
            // Drops what the script waits for; the VM goes with it.
            () = tokio::time::sleep_until(context.deadline) => Err(mlua::Error::runtime(vm::OVER)),
            () = context.cancel.cancelled() => Err(mlua::Error::runtime(vm::OVER)),
        }
    }
}

/// Names of the hooks in a template's table; what is wrong with its Lua and its documents goes to `out`.
pub(crate) fn hooks_of(files: &Files, out: &mut Vec<Finding>) -> Option<Vec<String>> {
    let mut error = |file: &str, line: Option<u32>, code: &str, message: String| {
        out.push(Finding {
            file: file.to_owned(),
            line,
            severity: Severity::Error,
            code: code.to_owned(),
            message,
        });
    };
    for (file, line, message) in render::broken(files) {
        error(&file, line, "document", message);
    }
    let mut broken = false;
    for (name, file) in &files.files {
        if name != "hooks.lua" && !(name.starts_with("lib/") && name.ends_with(".lua")) {
            continue;
        }
        if let Err(wrong) = script::compile(&file.bytes) {
            broken = true;
            let (place, message) = fault::placed(&wrong.to_string());
            error(name, place.map(|(_, line)| line), "lua_syntax", message);
        }
    }
    if broken || !files.files.contains_key("hooks.lua") {
        return None;
    }
    match read_table(files) {
        Ok(words) => Some(words),
        Err(wrong) => {
            let (place, message) = fault::placed(&wrong.to_string());
            let (file, line) = place.map_or((None, None), |(file, line)| (Some(file), Some(line)));
            error(file.as_deref().unwrap_or("hooks.lua"), line, "lua_load", message);
            None
        }
    }
}

fn read_table(files: &Files) -> mlua::Result<Vec<String>> {
    let over = Arc::new(AtomicBool::new(false));
    let fresh = Fresh::new()?;
    let level = Level {
        name: String::new(),
        files: Arc::new(files.clone()),
        hash: String::new(),
        lua: Vec::new(),
        executables: std::collections::BTreeMap::new(),
        documents: Arc::default(),
    };
    let work = Work { levels: Arc::new(vec![level]), level: 0, bytecode: Bytecode::default(), call: None };
    fresh.bind(work, &over)?;
    fresh.collecting.cap(&fresh.lua, vm::MEMORY)?;
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let watched = Arc::clone(&over);
    let watchdog = std::thread::Builder::new().name("hook-check".to_owned()).spawn(move || {
        if stopped.recv_timeout(BODY) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            watched.store(true, Ordering::Relaxed);
        }
    });
    watchdog.map_err(fault::mistake)?;
    let table = Scripts(fresh.host.clone()).hooks(&fresh.lua, 0, fresh.environment.clone());
    drop(stop);
    let mut words = Vec::new();
    for pair in table?.pairs::<Lv, Lv>() {
        match pair? {
            (Lv::String(name), Lv::Function(_)) => words.push(name.to_string_lossy()),
            (Lv::String(name), other) => {
                return Err(fault::mistake(format!(
                    "`{}` has to be a function, not {}",
                    name.to_string_lossy(),
                    other.type_name()
                )));
            }
            _ => return Err(fault::mistake("hooks.lua has to return a table of functions by name")),
        }
    }
    words.sort();
    Ok(words)
}
