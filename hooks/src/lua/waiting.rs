//! Functions of the host that wait: refused before anything begins where the VM cannot wait.
//!
//! Elsewhere such a call would begin, fail, and leave behind what it has begun. Which functions there are is the
//! business of `host` and `script`.

use mlua::{Function, Lua, Table};

use super::host::Host;

/// A function that waits, refused where the VM cannot: there it would begin and never come back.
const WAITING: &str = r#"
local isyieldable, error = ...
return function(name, allowed, wait)
  return function(...)
    allowed()
    if not isyieldable() then
      error(name .. " waits: call it from a plain function body, not from a comparison, a replacement or a metamethod", 2)
    end
    return wait(...)
  end
end
"#;
const WAITING_KEPT: &str = "waiting";

/// Wraps a function that waits; refused while a file is loaded and where the VM cannot wait.
pub(crate) fn waiting(lua: &Lua, shared: &Host, name: &str, wait: Function) -> mlua::Result<Function> {
    let wrap = match lua.named_registry_value::<Option<Function>>(WAITING_KEPT)? {
        Some(wrap) => wrap,
        None => {
            let globals = lua.globals();
            // The library is there as soon as the first function that waits is made.
            let library: Table = globals.get("coroutine")?;
            let arguments = (library.get::<Function>("isyieldable")?, globals.get::<Function>("error")?);
            let wrap: Function = lua.load(WAITING).set_name("=host").call(arguments)?;
            lua.set_named_registry_value(WAITING_KEPT, &wrap)?;
            wrap
        }
    };
    let (state, shown) = (shared.clone(), name.to_owned());
    let allowed = lua.create_function(move |_, ()| state.context(&shown).map(drop))?;
    wrap.call((name, allowed, wait))
}
