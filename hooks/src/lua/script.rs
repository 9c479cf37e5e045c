//! A template's own Lua: its files, `require` inside it, and `base`, the template that it extends.
//!
//! Every level of an overlay has an environment of its own, a frozen copy of what scripts may see.
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else a Lua value is, it is refused")]

use std::sync::Arc;

use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Function, Lua, Table, Value as Lv};
use serde_json::Value;
use wharf_core::hook::{Hook, HookErrorKind};

use super::fault::{failed, mistake};
use super::fresh::Fresh;
use super::host::{self, Host};
use super::value::{Into, Out, Secrets};
use crate::exec;
use crate::load::place;

/// Members of requests that may be absent; anything else that is absent is a typing mistake.
const OPTIONAL: [&str; 22] = [
    "session",
    "user",
    "config",
    "trace_id",
    "deadline_ms",
    "dry_run",
    "params",
    "command",
    "nodes",
    "monitor",
    "job",
    "node",
    "sessions",
    "jobs",
    "job_id",
    "handle",
    "tail",
    "after",
    "mode",
    "by_seconds",
    "event",
    "attempt",
];

/// Where the VM keeps what scripts may see of the globals.
pub(crate) const VISIBLE: &str = "visible";

/// Source to bytecode; ours, in memory only.
pub(crate) fn compile(source: &[u8]) -> mlua::Result<Vec<u8>> {
    Compiler::new().set_optimization_level(1).set_debug_level(1).compile(source)
}

/// The scripts of the template that a VM is for.
#[derive(Debug, Clone)]
pub(crate) struct Scripts(pub(crate) Host);

impl Scripts {
    /// Runs a file of a level in that level's environment; it must not have effects.
    fn file(&self, lua: &Lua, level: usize, file: &str, environment: Table) -> mlua::Result<Lv> {
        let work = self.0.work()?;
        let Some(here) = work.levels.get(level) else { return Err(mistake("no such level")) };
        let Some(source) = here.files.files.get(file) else {
            return Err(mistake(format!("the template has no {file}")));
        };
        let code = work.bytecode.get(&here.hash, file, &source.bytes)?;
        let name = if level == 0 { file.to_owned() } else { format!("{}/{file}", here.name) };
        let before = self.0.set_loading(true);
        let result = lua
            .load(code.as_slice())
            .set_mode(ChunkMode::Binary)
            .set_name(format!("={name}"))
            .set_environment(environment)
            .call::<Lv>(());
        self.0.set_loading(before);
        result
    }

    /// What the scripts of a level see, but for what depends on the call; no level given: those of the one that is called.
    pub(crate) fn environment(&self, lua: &Lua, at: Option<usize>) -> mlua::Result<Table> {
        let environment = lua.create_table()?;
        for pair in lua.named_registry_value::<Table>(VISIBLE)?.pairs::<Lv, Lv>() {
            let (name, value) = pair?;
            environment.raw_set(name, value)?;
        }
        let loaded = lua.create_table()?;
        let scripts = self.clone();
        let weak = lua.create_table()?;
        weak.raw_set("environment", &environment)?;
        let require = lua.create_function(move |lua, name: String| {
            let good = name.split('.').all(|part| {
                !part.is_empty()
                    && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
            });
            if !good || !name.starts_with("lib.") {
                let message =
                    format!("require \"{}\": only \"lib.NAME\" of the same template", name.escape_debug());
                return Err(mistake(message));
            }
            match loaded.raw_get::<Lv>(name.as_str())? {
                Lv::Nil => {}
                Lv::Boolean(false) => {
                    return Err(mistake(format!("require \"{name}\" goes round in a circle")));
                }
                known => return Ok(known),
            }
            loaded.raw_set(name.as_str(), false)?;
            let file = format!("{}.lua", name.replace('.', "/"));
            let level = at.map_or_else(|| Ok(scripts.0.work()?.level), mlua::Result::Ok)?;
            let made = scripts.file(lua, level, &file, weak.raw_get("environment")?)?;
            let made = if made.is_nil() { Lv::Boolean(true) } else { made };
            loaded.raw_set(name.as_str(), made.clone())?;
            Ok(made)
        })?;
        environment.raw_set("require", require)?;
        // `host`, but for rendering out of this level's own files.
        let shared: Table = environment.raw_get("host")?;
        let own = lua.create_table()?;
        for pair in shared.pairs::<Lv, Lv>() {
            let (name, function) = pair?;
            own.raw_set(name, function)?;
        }
        own.raw_set("render", host::render_function(lua, self.0.clone(), at)?)?;
        own.set_readonly(true);
        environment.raw_set("host", own)?;
        Ok(environment)
    }

    /// Adds to a level's environment what depends on the call.
    fn complete(&self, lua: &Lua, level: usize, environment: &Table) -> mlua::Result<()> {
        let work = self.0.work()?;
        for (name, module) in host::modules(lua, &self.0)? {
            environment.raw_set(name, module)?;
        }
        if level + 1 < work.levels.len() {
            environment.raw_set("base", self.base(lua, level + 1)?)?;
        } else if work.call.is_none() {
            // While one level is checked alone, whatever it takes from `base` is a function.
            let nothing = lua.create_function(|_, ()| Ok(()))?;
            let base = lua.create_table()?;
            let meta = lua.create_table()?;
            meta.raw_set("__index", lua.create_function(move |_, _: (Lv, Lv)| Ok(nothing.clone()))?)?;
            base.set_metatable(Some(meta))?;
            environment.raw_set("base", base)?;
        }
        environment.set_readonly(true);
        Ok(())
    }

    /// The table that a level's `hooks.lua` returns, run in a fresh environment.
    pub(crate) fn hooks(&self, lua: &Lua, level: usize, environment: Table) -> mlua::Result<Table> {
        self.complete(lua, level, &environment)?;
        self.table(lua, level, environment)
    }

    fn table(&self, lua: &Lua, level: usize, environment: Table) -> mlua::Result<Table> {
        match self.file(lua, level, "hooks.lua", environment)? {
            Lv::Table(hooks) => Ok(hooks),
            other => {
                Err(mistake(format!("hooks.lua has to return a table of hooks, not {}", other.type_name())))
            }
        }
    }

    /// `base`: the hooks of the levels below, whatever they are written in.
    fn base(&self, lua: &Lua, level: usize) -> mlua::Result<Table> {
        let base = lua.create_table()?;
        let levels = &self.0.work()?.levels;
        for hook in Hook::ALL {
            let has = |at: &usize| levels.get(*at).is_some_and(|here| here.has(hook));
            let Some(at) = (level..levels.len()).find(has) else { continue };
            let scripts = self.clone();
            let name = format!("base.{}", hook.as_str());
            let function = super::waiting::waiting(lua, &self.0, &name, move |lua, request: Lv| {
                let scripts = scripts.clone();
                async move { scripts.call_level(&lua, at, hook, request).await }
            })?;
            base.raw_set(hook.as_str(), function)?;
        }
        base.set_readonly(true);
        Ok(base)
    }

    async fn call_level(&self, lua: &Lua, level: usize, hook: Hook, request: Lv) -> mlua::Result<Lv> {
        let context = self.0.context("base")?;
        let Some(here) = self.0.work()?.levels.get(level) else { return Err(mistake("no such level")) };
        if let Some(file) = here.executables.get(&hook) {
            let request = Out { secrets: Secrets::Everywhere, max: 64 << 20 }.json(&request)?;
            let path = place(here, file, &context.settings.copies()).map_err(|error| {
                failed(HookErrorKind::Internal, format!("{file} cannot be executed: {error}"))
            })?;
            let cancel = context.cancel.child_token();
            let _ended_with_the_call = cancel.clone().drop_guard();
            let running = Arc::clone(&context);
            let task = self
                .0
                .runtime()?
                .spawn(async move { exec::run_below(&running, &path, hook, &request).await });
            let answer = task.await.map_err(|error| mistake(format!("base.{}: {error}", hook.as_str())))?;
            let answer = answer.map_err(|error| mlua::Error::external(super::fault::Failed(error)))?;
            return Into::PLAIN.lua(lua, &answer);
        }
        let environment = self.environment(lua, Some(level))?;
        let function: Function = self.hooks(lua, level, environment)?.get(hook.as_str())?;
        function.call_async::<Lv>(request).await
    }

    /// Calls one hook of the level that is called.
    pub(crate) async fn call(
        &self,
        Fresh { lua, environment, collecting, .. }: &Fresh,
        hook: Hook,
        request: &Value,
    ) -> mlua::Result<Value> {
        let work = self.0.work()?;
        let Some(host::Call { context, .. }) = &work.call else { return Err(mistake("no call")) };
        self.complete(lua, work.level, environment)?;
        let request = frozen(lua, hook, request, &context.secret_params)?;
        // From here on it is the template's own code.
        collecting.cap(lua, context.version.run.memory)?;
        if context.stage.is_some() {
            lua.load("math.randomseed(1)").exec()?;
        }
        let hooks = self.table(lua, work.level, environment.clone())?;
        let function: Function = hooks
            .get::<Option<Function>>(hook.as_str())?
            .ok_or_else(|| mistake(format!("hooks.lua has no function `{}`", hook.as_str())))?;
        self.0.set_loading(false);
        let result = function.call_async::<Lv>(request).await?;
        if result.is_nil() {
            return if hook == Hook::Prepare || crate::answer::may_be_silent(hook) {
                Ok(Value::Object(serde_json::Map::new()))
            } else {
                Err(mistake(format!("`{}` returned nothing", hook.as_str())))
            };
        }
        Out { secrets: Secrets::Never, max: context.version.run.output }
            .json(&result)
            .map_err(|error| mistake(format!("the result of `{}`: {error}", hook.as_str())))
    }
}

/// The request: nothing can change it, and reading a member that no request has is a mistake.
fn frozen(lua: &Lua, hook: Hook, request: &Value, secrets: &[String]) -> mlua::Result<Lv> {
    let value = Into { frozen: true, secrets }.lua(lua, request)?;
    let event = matches!(
        hook,
        Hook::OnRunning | Hook::OnConnect | Hook::OnDisconnect | Hook::OnParams | Hook::OnEnded
    );
    if let Lv::Table(table) = &value
        && !event
    {
        let meta = lua.create_table()?;
        meta.raw_set(
            "__index",
            lua.create_function(move |_, (_, name): (Lv, Lv)| match name {
                Lv::String(name) if OPTIONAL.iter().any(|known| name.as_bytes() == known.as_bytes()) => {
                    Ok(Lv::Nil)
                }
                Lv::String(name) => {
                    let name = name.to_string_lossy();
                    let hint = crate::load::closest(&name, OPTIONAL.into_iter())
                        .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                    Err(mistake(format!("the request of `{}` has no `{name}`{hint}", hook.as_str())))
                }
                _ => Ok(Lv::Nil),
            })?,
        )?;
        meta.set_readonly(true);
        table.set_readonly(false);
        table.set_metatable(Some(meta))?;
        table.set_readonly(true);
    }
    Ok(value)
}
