//! The `host` table, `log`, and the backend's module: every door out of a script.
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else a Lua value is, it is refused")]

use std::collections::HashMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use mlua::{Function, Lua, LuaString, Table, Value as Lv, Variadic};
use serde_json::Value;
use tokio::runtime::Handle;
use wharf_core::hook::{HookError, HookErrorKind};

use super::Bytecode;
use super::command::{self, duration};
use super::fault::{Failed, failed, mistake};
use super::render;
use super::value::{Into, Out, Secret, Secrets};
use super::waiting::{Waits, waiting};
use crate::context::Context;
use crate::exec;
use crate::load::Level;
use crate::stage::Stage;

/// Functions that `host.parallel` runs at once.
const PARALLEL: usize = 8;
/// Most bytes of one cached value.
const CACHED_MAX: usize = 256 << 10;
/// Most cached values in all.
const CACHE_ENTRIES: usize = 1024;
/// Most bytes of one line of a log.
const LOG_LINE: usize = 8 << 10;
/// Most bytes of a secret's file.
const SECRET_MAX: u64 = 64 << 10;

/// Most bytes that one template keeps in the cache, so that none takes it all.
const CACHED_EACH: usize = 4 << 20;
/// Most bytes of all cached values.
const CACHED_ALL: usize = 32 << 20;
/// Most files that a call makes by `host.tmp`.
const TMP_FILES: usize = 1000;
/// Most bytes of them in all.
const TMP_MAX: usize = 32 << 20;

/// `host.cache`'s values as JSON texts, by template version, user and key.
pub(crate) type Cache = Arc<Mutex<HashMap<(String, String, String), (Instant, String)>>>;

/// What host functions share. It is made with the VM and bound to a call later.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    work: OnceLock<Work>,
    /// A module's body runs: nothing may happen then.
    loading: AtomicBool,
    waits: Waits,
    commands: AtomicUsize,
    tmp: Mutex<Tmp>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            work: OnceLock::new(),
            loading: AtomicBool::new(true),
            waits: Waits::default(),
            commands: AtomicUsize::default(),
            tmp: Mutex::default(),
        }
    }
}

/// What a VM is for.
#[derive(Debug)]
pub(crate) struct Work {
    /// The levels of the template.
    pub(crate) levels: Arc<Vec<Level>>,
    /// Which of them is called.
    pub(crate) level: usize,
    pub(crate) bytecode: Bytecode,
    /// None while a template is checked: nothing may happen then.
    pub(crate) call: Option<Call>,
}

/// The call that a VM is for.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) context: Arc<Context>,
    /// The launcher's runtime, where commands and backends live.
    pub(crate) runtime: Handle,
    /// Whose call it is; empty when it is nobody's.
    pub(crate) user: String,
    pub(crate) cache: Cache,
}

/// What the script has put into the call's directory.
#[derive(Debug, Default)]
struct Tmp {
    files: usize,
    bytes: usize,
}

impl Host {
    /// Says what the VM is for; nothing of a template has run before that.
    pub(crate) fn bind(&self, work: Work) -> mlua::Result<()> {
        self.0.work.set(work).map_err(|_| mistake("a VM serves one call"))
    }

    /// What the VM is for.
    pub(crate) fn work(&self) -> mlua::Result<&Work> {
        self.0.work.get().ok_or_else(|| mistake("no call"))
    }

    fn call(&self) -> Option<&Call> {
        self.0.work.get()?.call.as_ref()
    }

    /// The call; a mistake where effects are not allowed.
    pub(crate) fn context(&self, function: &str) -> mlua::Result<Arc<Context>> {
        match self.call() {
            Some(call) if !self.0.loading.load(Ordering::Relaxed) => Ok(Arc::clone(&call.context)),
            _ => Err(mistake(format!("{function} cannot be used while a file is loaded: use it in a hook"))),
        }
    }

    /// What stands between a rehearsed call and the world.
    pub(crate) fn stage(&self) -> Option<&Arc<dyn Stage>> {
        self.call()?.context.stage.as_ref()
    }

    /// Where commands and backends live.
    pub(crate) fn runtime(&self) -> mlua::Result<&Handle> {
        let call = self.call().ok_or_else(|| mistake("nothing runs while a template is checked"))?;
        Ok(&call.runtime)
    }

    /// Whether a module's body runs, from now on; what it was before.
    pub(crate) fn set_loading(&self, loading: bool) -> bool {
        self.0.loading.swap(loading, Ordering::Relaxed)
    }

    /// What the script waits for.
    pub(crate) fn waits(&self) -> &Waits {
        &self.0.waits
    }

    /// How many commands there have been, this one included.
    pub(crate) fn count_command(&self) -> usize {
        self.0.commands.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes room for one more file.
    fn tmp_room(&self, bytes: usize) -> mlua::Result<()> {
        let mut tmp = self.0.tmp.lock().unwrap_or_else(PoisonError::into_inner);
        tmp.files += 1;
        tmp.bytes = tmp.bytes.saturating_add(bytes);
        if tmp.files > TMP_FILES || tmp.bytes > TMP_MAX {
            return Err(mistake(format!(
                "host.tmp: more than {TMP_FILES} files or {} MiB in one call",
                TMP_MAX >> 20
            )));
        }
        Ok(())
    }
}

fn shown(value: &Lv) -> String {
    match value {
        Lv::String(text) => text.to_string_lossy(),
        Lv::Table(_) => Out { secrets: Secrets::Never, max: LOG_LINE }
            .json(value)
            .map_or_else(|error| error.to_string(), |value| value.to_string()),
        other => other.to_string().unwrap_or_else(|_| other.type_name().to_owned()),
    }
}

fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// Adds what does not depend on the call.
pub(crate) fn add(lua: &Lua, globals: &Table, shared: &Host) -> mlua::Result<()> {
    let table = lua.create_table()?;
    let state = shared.clone();
    let exec = waiting(lua, shared, "host.exec", move |lua, options: Table| {
        command::exec(lua, state.clone(), options)
    })?;
    table.set("exec", exec)?;
    table.set("fail", lua.create_function(fail)?)?;
    let state = shared.clone();
    table.set("tmp", lua.create_function(move |_, args| tmp(&state, args))?)?;
    let state = shared.clone();
    let parallel =
        waiting(lua, shared, "host.parallel", move |lua, functions| parallel(lua, state.clone(), functions))?;
    table.set("parallel", parallel)?;
    let state = shared.clone();
    let cached = waiting(lua, shared, "host.cache", move |lua, args| cache(lua, state.clone(), args))?;
    table.set("cache", cached)?;
    let state = shared.clone();
    table.set(
        "progress",
        lua.create_function(move |_, text: LuaString| {
            let context = state.context("host.progress")?;
            if let Some(progress) = &context.progress {
                progress.send_replace(context.blotted(cut(&text.to_string_lossy(), 500)));
            }
            Ok(())
        })?,
    )?;
    let state = shared.clone();
    let sleep = waiting(lua, shared, "host.sleep", move |_, time: Lv| {
        let checked = duration("host.sleep", &time).map(|time| {
            let pretended = state.stage().is_some_and(|stage| stage.slept(time));
            if pretended { Duration::ZERO } else { time }
        });
        async move {
            tokio::time::sleep(checked?).await;
            Ok(())
        }
    })?;
    table.set("sleep", sleep)?;
    let state = shared.clone();
    table.set(
        "now",
        lua.create_function(move |_, ()| {
            if let Some(pinned) = state.stage().and_then(|stage| stage.now()) {
                return Ok(pinned);
            }
            use wharf_core::clock::Clock as _;
            #[expect(clippy::cast_precision_loss, reason = "seconds with milliseconds fit a float")]
            Ok(wharf_core::clock::SystemClock.now().millis() as f64 / 1000.0)
        })?,
    )?;
    let state = shared.clone();
    table.set("secret", lua.create_function(move |_, name: String| secret(&state, &name))?)?;
    globals.set("host", table)?;

    let log = lua.create_table()?;
    for level in ["debug", "info", "warn", "error"] {
        let state = shared.clone();
        log.set(
            level,
            lua.create_function(move |_, values: Variadic<Lv>| {
                let text = values.iter().map(shown).collect::<Vec<_>>().join(" ");
                if let Some(call) = state.call() {
                    call.context.log(&format!("{level}: {}\n", cut(&text, LOG_LINE)));
                }
                Ok(())
            })?,
        )?;
    }
    globals.set("print", log.get::<Function>("info")?)?;
    globals.set("log", log)?;
    Ok(())
}

/// The modules that scripts may call, by name: the backend's; while a template is checked every backend's name has to mean
/// something.
pub(crate) fn modules(lua: &Lua, shared: &Host) -> mlua::Result<Vec<(&'static str, Table)>> {
    let Some(call) = &shared.work()?.call else {
        return ["docker", "slurm", "shell"]
            .into_iter()
            .map(|name| Ok((name, lua.create_table()?)))
            .collect();
    };
    let Some(module) = &call.context.module else { return Ok(Vec::new()) };
    let table = lua.create_table()?;
    for function in module.functions() {
        let (state, module, function) = (shared.clone(), Arc::clone(module), *function);
        let name = format!("{}.{}", module.name(), function.name);
        let called = waiting(lua, shared, &name, move |lua, arguments: Option<Table>| {
            super::module::call(lua, state.clone(), Arc::clone(&module), function, arguments)
        })?;
        table.set(function.name, called)?;
    }
    table.set_readonly(true);
    Ok(vec![(module.name(), table)])
}

/// `host.render` for the files of a level; none given: those of the level that is called.
pub(crate) fn render_function(lua: &Lua, state: Host, level: Option<usize>) -> mlua::Result<Function> {
    lua.create_function(move |_, (file, vars): (String, Option<Table>)| {
        let vars = match vars {
            Some(vars) => Out { secrets: Secrets::Never, max: 4 << 20 }.json(&Lv::Table(vars))?,
            None => Value::Object(serde_json::Map::new()),
        };
        let work = state.work()?;
        let here = work.levels.get(level.unwrap_or(work.level)).ok_or_else(|| mistake("no such level"))?;
        let text = render::render(&here.documents, &here.files, &file, &vars).map_err(mistake)?;
        if let Some(stage) = state.stage() {
            stage.document(file.strip_prefix("files/").unwrap_or(&file), text.as_bytes());
        }
        Ok(text)
    })
}

fn fail(_: &Lua, (kind, message, options): (String, LuaString, Option<Table>)) -> mlua::Result<()> {
    let known: HookErrorKind = serde_json::from_value(Value::String(kind.clone()))
        .map_err(|_| mistake(format!("host.fail: `{kind}` is no kind of error")))?;
    let mut error = HookError::new(known, crate::answer::shorten(message.to_string_lossy()));
    if let Some(options) = options {
        for pair in options.pairs::<String, Lv>() {
            let (name, value) = pair?;
            match name.as_str() {
                "hint" => error.hint = Some(crate::answer::shorten(shown(&value))),
                "field" => error.field = Some(crate::answer::shorten(shown(&value))),
                "retry_after" => error.retry_after = Some(duration("host.fail: `retry_after`", &value)?),
                "detail" => {
                    error.message = crate::answer::shorten(format!("{}: {}", error.message, shown(&value)));
                }
                other => {
                    let message = format!(
                        "host.fail: unknown member `{other}`; there are hint, field, retry_after, detail"
                    );
                    return Err(mistake(message));
                }
            }
        }
    }
    Err(mlua::Error::external(Failed(error)))
}

/// `host.tmp()`: the call's private directory; `host.tmp(name, text)`: a new file in it, 0600. Removed with the call.
fn tmp(state: &Host, (name, text): (Option<String>, Option<Lv>)) -> mlua::Result<String> {
    let context = state.context("host.tmp")?;
    let dir =
        context.traces.directory().map_err(|error| mlua::Error::external(Failed(exec::no_room(&error))))?;
    let Some(name) = name else { return Ok(dir.display().to_string()) };
    let good = !name.is_empty() && name.len() < 200 && !name.starts_with('.') && !name.contains(['/', '\0']);
    if !good {
        return Err(mistake("host.tmp: a name of a file, without directories"));
    }
    let bytes = match &text {
        None | Some(Lv::Nil) => Vec::new(),
        Some(Lv::String(text)) => text.as_bytes().to_vec(),
        Some(Lv::UserData(data)) => data.borrow::<Secret>()?.0.clone().into_bytes(),
        Some(other) => {
            return Err(mistake(format!("host.tmp: expected a text, got a {}", other.type_name())));
        }
    };
    state.tmp_room(bytes.len())?;
    let path = dir.join(name);
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(&bytes))
        .map_err(|error| failed(HookErrorKind::Internal, format!("host.tmp: {error}")))?;
    if let Some(stage) = state.stage()
        && let Some(name) = path.file_name()
    {
        stage.document(&name.to_string_lossy(), &bytes);
    }
    Ok(path.display().to_string())
}

/// Runs functions side by side; their first results, in order. The first failure ends the others.
async fn parallel(lua: Lua, state: Host, functions: Variadic<Lv>) -> mlua::Result<Table> {
    let _beside = state.waits().beside();
    let mut tasks = Vec::new();
    let mut add = |value: Lv| match value {
        Lv::Function(function) => {
            tasks.push(function);
            Ok(())
        }
        other => Err(mistake(format!("host.parallel: expected functions, got a {}", other.type_name()))),
    };
    for value in functions.iter() {
        match value {
            Lv::Table(list) => list.sequence_values::<Lv>().try_for_each(|value| add(value?))?,
            value => add(value.clone())?,
        }
    }
    let count = tasks.len();
    let calls = tasks
        .into_iter()
        .enumerate()
        .map(|(at, function)| async move { function.call_async::<Lv>(()).await.map(|value| (at, value)) });
    let mut running = futures_util::stream::iter(calls).buffer_unordered(PARALLEL);
    let results = lua.create_table_with_capacity(count, 0)?;
    while let Some(done) = running.next().await {
        let (at, value) = done?;
        results.raw_set(at + 1, value)?;
    }
    Ok(results)
}

/// `host.cache(key, seconds, function)`: the function's result, kept for that template and user.
async fn cache(lua: Lua, state: Host, (key, time, make): (String, Lv, Function)) -> mlua::Result<Lv> {
    let context = state.context("host.cache")?;
    let Some(call) = state.call() else { return Err(mistake("no call")) };
    let time = duration("host.cache: the time", &time)?.min(Duration::from_secs(3600));
    let key = (
        format!("{}\0{}", context.version.template.name, context.version.template.version),
        call.user.clone(),
        key,
    );
    {
        let kept = call.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((until, value)) = kept.get(&key)
            && *until > Instant::now()
        {
            let value = serde_json::from_str(value).map_err(mistake)?;
            return Into::PLAIN.lua(&lua, &value);
        }
    }
    let value = make.call_async::<Lv>(()).await?;
    let text = Out { secrets: Secrets::Never, max: CACHED_MAX }.json(&value)?.to_string();
    let mut kept = call.cache.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    kept.retain(|known, (until, _)| *until > now && *known != key);
    let sizes = kept.iter().map(|((template, ..), (_, text))| (*template == key.0, text.len()));
    let (own, all) =
        sizes.fold((0, 0), |(own, all), (mine, size)| (if mine { own + size } else { own }, all + size));
    if kept.len() < CACHE_ENTRIES && own + text.len() <= CACHED_EACH && all + text.len() <= CACHED_ALL {
        kept.insert(key, (now + time, text));
    }
    Ok(value)
}

fn secret(state: &Host, name: &str) -> mlua::Result<Secret> {
    let context = state.context("host.secret")?;
    let Some(file) = context.version.run.secrets.get(name) else {
        return Err(failed(
            HookErrorKind::Misconfigured,
            format!("host.secret: there is no [secrets.{}]", name.escape_debug()),
        ));
    };
    if let Some(text) = context.stage.as_ref().and_then(|stage| stage.secret(name)) {
        return Ok(Secret(text));
    }
    let read = std::fs::File::open(file).and_then(|file| {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::Read::take(file, SECRET_MAX), &mut text)?;
        Ok(text)
    });
    let text = read.map_err(|error| {
        failed(HookErrorKind::Misconfigured, format!("the secret {name} cannot be read: {file}: {error}"))
    })?;
    let text = text.trim_end_matches(['\r', '\n']).to_owned();
    context.blot.lock().unwrap_or_else(PoisonError::into_inner).add(&text);
    Ok(Secret(text))
}
