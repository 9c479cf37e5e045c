//! Functions of the host that wait: refused before anything begins where the VM cannot wait.
//!
//! Elsewhere such a call would begin, fail, and leave behind what it has begun. Which functions there are is the
//! business of `host` and `script`.

use std::sync::OnceLock;

use mlua::{Function, Lua, Table};

use super::host::Host;
use super::vm;

/// A function that waits, refused where the VM cannot: there it would begin and never come back.
const WAITING: &str = r#"
local isyieldable, error = ...
return function(name, allowed, make)
  local wait
  return function(...)
    allowed()
    if not isyieldable() then
      error(name .. " waits: call it from a plain function body, not from a comparison, a replacement or a metamethod", 2)
    end
    wait = wait or make()
    return wait(...)
  end
end
"#;
static CODE: vm::Code = OnceLock::new();
const WAITING_KEPT: &str = "waiting";

/// Wraps a function that waits; refused while a file is loaded and where the VM cannot wait. It is made when it is first
/// called: most hooks call few of them, and each costs as much as a small script.
pub(crate) fn waiting(
    lua: &Lua,
    shared: &Host,
    name: &str,
    make: impl Fn(&Lua) -> mlua::Result<Function> + Send + Sync + 'static,
) -> mlua::Result<Function> {
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
    let allowed = lua.create_function(move |_, ()| {
        state.waits();
        state.context(&shown).map(drop)
    })?;
    wrap.call((name, allowed, lua.create_function(move |lua, ()| make(lua))?))
}
