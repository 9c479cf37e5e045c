//! Functions of the host that wait.
//!
//! ```text
//! called ─ allowed here? ─ alone ──────────────────────▶ the script's thread waits for it: nothing else could go on
//!                        └ within host.parallel, or deep ▶ the VM suspends the function that called
//! ```
//!
//! The second costs a small script and a collection of garbage, so it is only made where it is needed. Both are refused
//! where a VM cannot suspend: what a script may do must not depend on who stands beside it. Which functions there are is
//! the business of `host` and `script`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mlua::{FromLuaMulti, Function, IntoLuaMulti, Lua, Table};

use super::fault::mistake;
use super::host::Host;
use super::vm;

/// Calls within each other that a script's thread waits for: each takes some of its stack.
const DEEPEST: usize = 8;

/// What a script waits for.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// Calls of `host.parallel` that have not ended.
    beside: AtomicUsize,
    /// Calls within each other that the script's thread waits for.
    deep: AtomicUsize,
    suspended: AtomicBool,
}

impl Waits {
    /// While the guard lives, others run beside whatever is called.
    pub(crate) fn beside(&self) -> Within<'_> {
        Within::new(&self.beside)
    }

    /// Whether the VM may keep what was cut off in the middle.
    pub(crate) fn has_suspended(&self) -> bool {
        self.suspended.load(Ordering::Relaxed)
    }

    fn has_to_suspend(&self) -> bool {
        self.beside.load(Ordering::Relaxed) > 0 || self.deep.load(Ordering::Relaxed) >= DEEPEST
    }
}

/// One more of what is counted.
pub(crate) struct Within<'a>(&'a AtomicUsize);

impl<'a> Within<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Has the script's own thread wait, for as long as the call may take.
fn wait_for<R>(state: &Host, work: impl Future<Output = mlua::Result<R>>) -> mlua::Result<R> {
    let (context, runtime) = (state.context("waiting")?, state.runtime()?);
    let _within = Within::new(&state.waits().deep);
    let in_time = async {
        tokio::select! {
            biased;
            done = work => done,
            // Drops what the script waits for.
            () = tokio::time::sleep_until(context.deadline) => Err(mistake(vm::OVER)),
            () = context.cancel.cancelled() => Err(mistake(vm::OVER)),
        }
    };
    tokio::task::block_in_place(|| runtime.block_on(in_time))
}

/// A function that waits, refused where the VM cannot suspend: there it would begin and never come back.
const WAITING: &str = r#"
local isyieldable, error = ...
return function(name, has_to_suspend, make)
  local alone, suspended
  return function(...)
    local suspends = has_to_suspend()
    if not isyieldable() then
      error(name .. " waits: call it from a plain function body, not from a comparison, a replacement or a metamethod", 2)
    end
    if suspends then
      suspended = suspended or make(true)
      return suspended(...)
    end
    alone = alone or make(false)
    return alone(...)
  end
end
"#;
static CODE: vm::Code = OnceLock::new();
const WAITING_KEPT: &str = "waiting";

/// A function that waits for `work`; refused while a file is loaded and where the VM cannot suspend.
pub(crate) fn waiting<A, R, F, W>(lua: &Lua, shared: &Host, name: &str, work: F) -> mlua::Result<Function>
where
    A: FromLuaMulti,
    R: IntoLuaMulti,
    F: Fn(Lua, A) -> W + Clone + Send + Sync + 'static,
    W: Future<Output = mlua::Result<R>> + Send + 'static,
{
    let wrap = match lua.named_registry_value::<Option<Function>>(WAITING_KEPT)? {
        Some(wrap) => wrap,
        None => {
            let globals = lua.globals();
            let library: Table = globals.get("coroutine")?;
            let arguments = (library.get::<Function>("isyieldable")?, globals.get::<Function>("error")?);
            let wrap: Function = vm::own(lua, "host", WAITING, &CODE)?.call(arguments)?;
            lua.set_named_registry_value(WAITING_KEPT, &wrap)?;
            wrap
        }
    };
    let (state, shown) = (shared.clone(), name.to_owned());
    let has_to_suspend = lua.create_function(move |_, ()| {
        state.context(&shown)?;
        Ok(state.waits().has_to_suspend())
    })?;
    let state = shared.clone();
    let make = lua.create_function(move |lua, suspends: bool| {
        let (state, work) = (state.clone(), work.clone());
        if suspends {
            state.waits().suspended.store(true, Ordering::Relaxed);
            return lua.create_async_function(work);
        }
        lua.create_function(move |lua, arguments: A| wait_for(&state, work(lua.clone(), arguments)))
    })?;
    wrap.call((name, has_to_suspend, make))
}
