//! A VM with all that does not depend on the call, so that it can be made while nobody waits.
//!
//! ```text
//! vm ─ texts (text) ─ host functions (host) ─ sealed ─ an environment (script) ─ bound to a call, which adds the rest
//! ```

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mlua::{Lua, Table, Value as Lv};

use super::host::{self, Host, Work};
use super::script::{self, Scripts};
use super::text;
use super::units;
use super::vm::{self, Collecting, Over};

/// One that no script has seen, sealed.
pub(crate) struct Fresh {
    pub(crate) lua: Lua,
    pub(crate) host: Host,
    /// For the scripts of the level that will be called.
    pub(crate) environment: Table,
    /// Caps the scripts' memory.
    pub(crate) collecting: Collecting,
    over: Over,
}

impl Fresh {
    /// Makes one; its memory is not capped yet.
    pub(crate) fn new() -> mlua::Result<Self> {
        let (over, collecting, host) = (Over::default(), Collecting::default(), Host::default());
        let lua = vm::new(&over, &collecting)?;
        let globals = lua.globals();
        text::add(&lua, &globals)?;
        units::add(&lua, &globals)?;
        host::add(&lua, &globals, &host)?;
        let visible = lua.create_table()?;
        for pair in globals.pairs::<Lv, Lv>() {
            let (name, value) = pair?;
            if !matches!(&name, Lv::String(name) if *name == "coroutine") {
                visible.raw_set(name, value)?;
            }
        }
        lua.set_named_registry_value(script::VISIBLE, visible)?;
        lua.sandbox(true)?;
        let environment = Scripts(host.clone()).environment(&lua, None)?;
        Ok(Self { lua, host, environment, collecting, over })
    }

    /// Says what it is for. The flag ends its scripts.
    pub(crate) fn bind(&self, work: Work, given_up: &Arc<AtomicBool>) -> mlua::Result<()> {
        self.over.get_or_init(|| Arc::clone(given_up));
        self.host.bind(work)
    }
}
