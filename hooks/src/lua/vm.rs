//! A fresh VM with nothing in it that could reach outside, and limits that nothing inside can outlive.
//!
//! What is allowed is listed; everything else is removed. Time is a flag that the interrupt only loads: it is set from
//! outside and stays set, so `pcall` catches the first error and nothing after it. Memory is the allocator's cap; garbage
//! is collected only when there is much.
//! `sandbox(true)` comes last: it freezes libraries, metatables and globals.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Function, Lua, LuaOptions, StdLib, Value, VmState};

/// Globals of the language that stay.
pub(crate) const LANGUAGE: [&str; 25] = [
    "_VERSION",
    "assert",
    "error",
    "getmetatable",
    "ipairs",
    "next",
    "pairs",
    "pcall",
    "rawequal",
    "rawget",
    "rawlen",
    "rawset",
    "select",
    "setmetatable",
    "tonumber",
    "tostring",
    "type",
    "typeof",
    "unpack",
    "xpcall",
    "string",
    "table",
    "math",
    "utf8",
    "bit32",
];

/// The cap where a template says nothing.
pub(crate) const MEMORY: usize = 32 << 20;

/// Garbage is collected from this part of the cap on: most hooks are over before, and their VM goes whole.
const COLLECTED: usize = 8;

/// From how many bytes on garbage is collected; `usize::MAX`: it is not looked at.
#[derive(Debug, Clone)]
pub(crate) struct Collecting(Arc<AtomicUsize>);

impl Default for Collecting {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(usize::MAX)))
    }
}

impl Collecting {
    fn look(&self, lua: &Lua) {
        let from = self.0.load(Ordering::Relaxed);
        if from != usize::MAX && lua.used_memory() > from {
            self.0.store(usize::MAX, Ordering::Relaxed);
            lua.gc_restart();
        }
    }

    /// Caps the memory, in bytes. What enters a VM before comes cheaper, as it need not reckon with the cap.
    pub(crate) fn cap(&self, lua: &Lua, memory: usize) -> mlua::Result<()> {
        lua.set_memory_limit(memory)?;
        self.0.store(memory / COLLECTED, Ordering::Relaxed);
        Ok(())
    }
}

/// The error that a script sees once its time is over.
pub(crate) const OVER: &str = "the hook's time is over";

/// Native functions whose cost grows with the product of their arguments never see large ones: nothing can interrupt
/// them. `buffer` is left out whole, as nothing here needs it.
const PRELUDE: &str = r#"
local move, find, split = table.move, string.find, string.split
local match, gmatch, gsub = string.match, string.gmatch, string.gsub
local most = 1000000
table.move = function(from, first, last, to, into)
  if type(first) == "number" and type(last) == "number" and last - first >= most then
    error("table.move: more than " .. most .. " elements", 2)
  end
  return move(from, first, last, to, into)
end
local function product(text, other, name)
  if type(text) == "string" and type(other) == "string" and #text * #other > 134217728 then
    error("string." .. name .. ": texts too large to search", 3)
  end
end
string.find = function(text, pattern, first, plain)
  product(text, pattern, "find")
  return find(text, pattern, first, plain)
end
string.split = function(text, separator)
  product(text, separator, "split")
  return split(text, separator)
end
string.match = function(text, pattern, first)
  product(text, pattern, "match")
  return match(text, pattern, first)
end
string.gmatch = function(text, pattern)
  product(text, pattern, "gmatch")
  return gmatch(text, pattern)
end
string.gsub = function(text, pattern, by, most)
  product(text, pattern, "gsub")
  return gsub(text, pattern, by, most)
end
"#;

static CODE: Code = OnceLock::new();

/// Bytecode of a script of our own, made once.
pub(crate) type Code = OnceLock<Vec<u8>>;

/// A script of our own, ready to be called.
pub(crate) fn own(lua: &Lua, name: &str, source: &str, kept: &Code) -> mlua::Result<Function> {
    let code = match kept.get() {
        Some(code) => code,
        None => {
            let code = Compiler::new().compile(source)?;
            kept.get_or_init(|| code)
        }
    };
    lua.load(code.as_slice()).set_mode(ChunkMode::Binary).set_name(format!("={name}")).into_function()
}

/// The flag of a VM, for native loops of ours: they stop with it as scripts do.
struct Flag(Over);

/// What ends a VM as soon as it is set. A VM that was made ahead hears of it with its call.
pub(crate) type Over = Arc<OnceLock<Arc<AtomicBool>>>;

fn is_over(over: &Over) -> bool {
    over.get().is_some_and(|over| over.load(Ordering::Relaxed))
}

/// An error once the script's time is over.
pub(crate) fn in_time(lua: &Lua) -> mlua::Result<()> {
    match lua.app_data_ref::<Flag>() {
        Some(flag) if is_over(&flag.0) => Err(mlua::Error::runtime(OVER)),
        _ => Ok(()),
    }
}

/// Makes a VM, still without a cap of memory: no script is to run in it before [`Collecting::cap`].
pub(crate) fn new(over: &Over, collecting: &Collecting) -> mlua::Result<Lua> {
    // Host functions that wait need coroutines among the globals for ever; scripts never see the globals themselves.
    let libraries =
        StdLib::TABLE | StdLib::STRING | StdLib::UTF8 | StdLib::BIT | StdLib::MATH | StdLib::COROUTINE;
    // Catching panics keeps `pcall` yieldable, which async host functions need.
    let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(true))?;
    let globals = lua.globals();
    for pair in globals.pairs::<Value, Value>() {
        let (name, _) = pair?;
        let allowed = matches!(&name, Value::String(name) if *name == "coroutine" || LANGUAGE.iter().any(|known| name.as_bytes() == known.as_bytes()));
        if !allowed {
            globals.raw_set(name, Value::Nil)?;
        }
    }
    lua.gc_stop();
    lua.set_app_data(Flag(Arc::clone(over)));
    let (over, collecting) = (Arc::clone(over), collecting.clone());
    lua.set_interrupt(move |lua| {
        if !is_over(&over) {
            collecting.look(lua);
            return Ok(VmState::Continue);
        }
        let place = lua.inspect_stack(0, |frame| {
            let line = frame.current_line()?;
            Some(format!("{}:{line}: ", frame.source().short_src?))
        });
        Err(mlua::Error::runtime(format!("{}{OVER}", place.flatten().unwrap_or_default())))
    });
    own(&lua, "sandbox", PRELUDE, &CODE)?.call::<()>(())?;
    Ok(lua)
}
