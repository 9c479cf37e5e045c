//! Functions of the host that wait.
//!
//! ```text
//! called ─ allowed here? ─ alone ────────────────────────────▶ the script's thread waits for it: nothing else could go on
//!                        └ within host.parallel, beside others ▶ the VM suspends the function that called
//! ```
//!
//! The second costs a small script and a collection of garbage, so it is only made where it is needed. Both are refused
//! where a VM cannot suspend: what a script may do must not depend on who stands beside it. Which functions there are is
//! the business of `host` and `script`.

use std::sync::OnceLock;

use mlua::{FromLuaMulti, Function, IntoLuaMulti, Lua, Table};

use super::host::Host;
use super::vm;

/// A function that waits, refused where the VM cannot suspend: there it would begin and never come back.
const WAITING: &str = r#"
local isyieldable, error = ...
return function(name, beside_others, make)
  local alone, suspended
  return function(...)
    local beside = beside_others()
    if not isyieldable() then
      error(name .. " waits: call it from a plain function body, not from a comparison, a replacement or a metamethod", 2)
    end
    if beside then
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
    let beside_others = lua.create_function(move |_, ()| {
        state.context(&shown)?;
        Ok(state.is_beside_others())
    })?;
    let state = shared.clone();
    let make = lua.create_function(move |lua, suspends: bool| {
        let (state, work) = (state.clone(), work.clone());
        if suspends {
            return lua.create_async_function(work);
        }
        lua.create_function(move |lua, arguments: A| state.wait_for(work(lua.clone(), arguments)))
    })?;
    wrap.call((name, beside_others, make))
}
