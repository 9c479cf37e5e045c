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
use super::vm::{self, Over};

/// One that no script has seen, sealed.
pub(crate) struct Fresh {
    pub(crate) lua: Lua,
    pub(crate) host: Host,
    /// For the scripts of the level that will be called.
    pub(crate) environment: Table,
    over: Over,
}

impl Fresh {
    /// Makes one, with the default cap of memory.
    pub(crate) fn new() -> mlua::Result<Self> {
        let (over, host) = (Over::default(), Host::default());
        let lua = vm::new(&over)?;
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
        Ok(Self { lua, host, environment, over })
    }

    /// Says what it is for. The flag ends its scripts; the cap is in bytes.
    pub(crate) fn bind(&self, work: Work, memory: usize, given_up: &Arc<AtomicBool>) -> mlua::Result<()> {
        self.over.get_or_init(|| Arc::clone(given_up));
        self.lua.set_memory_limit(memory)?;
        self.host.bind(work)
    }
}
