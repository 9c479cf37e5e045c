//! `host.exec`: a listed command with a cleaned environment, its own group, and a deadline within the hook's.
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else a Lua value is, it is refused")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mlua::{Lua, Table, Value as Lv};
use tokio::time::Instant;
use wharf_core::hook::{Hook, HookErrorKind};
use wharf_protocol::Dur;

use super::fault::{Failed, failed, mistake};
use super::host::Host;
use super::value::Secret;
use crate::exec::child::{Child, Ended, Stopped};
use crate::exec::{STDERR_MAX, spawn_failure, traced};
use crate::stage::{Reply, Step};

/// Most bytes of a command's standard output.
const OUTPUT_MAX: usize = 4 << 20;
/// Most commands of one call.
const COMMANDS_MAX: usize = 1024;
const KEYS: [&str; 6] = ["argv", "stdin", "timeout", "env", "effect", "check"];

/// What a script asked for.
struct Order {
    argv: Vec<String>,
    stdin: Vec<u8>,
    timeout: Option<Duration>,
    env: BTreeMap<String, String>,
    effect: &'static str,
    check: bool,
}

/// Runs it.
pub(crate) async fn exec(lua: Lua, host: Host, options: Table) -> mlua::Result<Table> {
    let context = host.context("host.exec")?;
    if context.hook == Hook::Validate {
        return Err(mistake("host.exec cannot be used in `validate`: it is pure"));
    }
    let order = order(&host, &options)?;
    if host.count_command() > COMMANDS_MAX {
        return Err(mistake(format!("host.exec: more than {COMMANDS_MAX} commands in one call")));
    }
    let step = Step {
        argv: order.argv.clone(),
        stdin: order.stdin.clone(),
        env: order.env.clone(),
        effect: order.effect.to_owned(),
    };
    if let Some(reply) = context.stage.as_ref().and_then(|stage| stage.step(&step)) {
        return finish(&lua, &host, &order, Duration::ZERO, &reply.into_ended());
    }
    if context.dry_run {
        context.traced(traced(
            order.argv,
            order.effect,
            Duration::ZERO,
            &Ended { code: Some(0), ..Ended::default() },
        ));
        return result(&lua, &Ended { code: Some(0), ..Ended::default() });
    }
    let name = order.argv.first().cloned().unwrap_or_default();
    let program = find(&host, &name)?;
    let mut env = context.environment();
    env.extend(context.version.run.env.clone());
    env.extend(order.env.clone());
    let mut argv = order.argv.clone();
    if let Some(first) = argv.first_mut() {
        *first = program.display().to_string();
    }
    let now = Instant::now();
    let deadline = order.timeout.map_or(context.deadline, |timeout| context.deadline.min(now + timeout));
    let cancel = context.cancel.child_token();
    // Dropping this call, or the VM, ends the command.
    let _ended_with_the_call = cancel.clone().drop_guard();
    let dir = context.place_to_run().map_err(|error| mlua::Error::external(Failed(error)))?;
    let child = Child {
        argv,
        env: env.into_iter().collect(),
        cwd: dir.to_owned(),
        stdin: order.stdin.clone(),
        stdout_max: OUTPUT_MAX,
        stdout_over_is_an_error: false,
        stderr_max: STDERR_MAX,
        deadline,
        cancel,
    };
    // On the launcher's own runtime: its limits hold even while the script computes.
    let noted = std::sync::Arc::clone(&context);
    let running = host.runtime()?.spawn(child.run(move |group| {
        noted.note_command_group(group);
        noted.traces.note_group(group);
    }));
    let ended = running.await.map_err(|error| mistake(format!("host.exec: {error}")))?;
    let ended =
        ended.map_err(|error| failed(spawn_failure(&error), format!("{name} cannot be started: {error}")))?;
    if let Some(stage) = &context.stage {
        stage.ended(&step, &Reply::of(&ended));
    }
    finish(&lua, &host, &order, now.elapsed(), &ended)
}

/// What the script gets of a command that has ended.
fn finish(lua: &Lua, host: &Host, order: &Order, took: Duration, ended: &Ended) -> mlua::Result<Table> {
    let context = host.context("host.exec")?;
    let name = order.argv.first().map_or("", String::as_str);
    context.traced(traced(order.argv.clone(), order.effect, took, ended));
    if ended.stopped == Some(Stopped::Deadline) {
        let allowed = Dur(order.timeout.unwrap_or(context.allowed));
        return Err(failed(HookErrorKind::Timeout, format!("{name} was not done in {allowed}")));
    }
    if order.check && ended.code != Some(0) {
        let how = match (ended.code, ended.signal) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "an unknown end".to_owned(),
        };
        let said = String::from_utf8_lossy(&ended.stderr).trim().chars().take(1000).collect::<String>();
        return Err(failed(HookErrorKind::CommandFailed, format!("{name}: {how}: {said}")));
    }
    result(lua, ended)
}

fn result(lua: &Lua, ended: &Ended) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("status", ended.code)?;
    table.raw_set("signal", ended.signal)?;
    table.raw_set("stdout", lua.create_string(&ended.stdout)?)?;
    table.raw_set("stderr", lua.create_string(&ended.stderr)?)?;
    table.raw_set("truncated", ended.stdout_cut || ended.stderr_cut)?;
    Ok(table)
}

fn order(host: &Host, options: &Table) -> mlua::Result<Order> {
    for pair in options.pairs::<Lv, Lv>() {
        let name = match pair?.0 {
            Lv::String(name) => name.to_string_lossy(),
            other => format!("[{}]", other.type_name()),
        };
        if !KEYS.contains(&name.as_str()) {
            return Err(mistake(format!(
                "host.exec: unknown member `{name}`; there are {}",
                KEYS.join(", ")
            )));
        }
    }
    let Lv::Table(words) = options.raw_get::<Lv>("argv")? else {
        return Err(mistake(
            "host.exec: `argv` has to be a list of texts: a command and its arguments, no shell",
        ));
    };
    let mut argv = Vec::new();
    for word in words.sequence_values::<Lv>() {
        let word = match word? {
            Lv::String(word) => word.to_str()?.to_owned(),
            Lv::Integer(number) => number.to_string(),
            Lv::Number(number) if number.fract() == 0.0 => format!("{number:.0}"),
            Lv::UserData(data) if data.is::<Secret>() => {
                return Err(mistake(
                    "host.exec: a secret in argv could be seen by everybody: use env or stdin",
                ));
            }
            other => {
                return Err(mistake(format!("host.exec: `argv` holds a {}, not a text", other.type_name())));
            }
        };
        if word.contains('\0') {
            return Err(mistake("host.exec: `argv` holds a NUL"));
        }
        argv.push(word);
    }
    if argv.is_empty() {
        return Err(mistake("host.exec: `argv` is empty"));
    }
    let stdin = match options.raw_get::<Lv>("stdin")? {
        Lv::Nil => Vec::new(),
        Lv::String(text) => text.as_bytes().to_vec(),
        Lv::UserData(data) => data.borrow::<Secret>()?.0.clone().into_bytes(),
        other => return Err(mistake(format!("host.exec: `stdin` is a {}, not a text", other.type_name()))),
    };
    let timeout = match options.raw_get::<Lv>("timeout")? {
        Lv::Nil => None,
        value => Some(duration("host.exec: `timeout`", &value)?),
    };
    let mut env = BTreeMap::new();
    if let Some(table) = options.raw_get::<Option<Table>>("env")? {
        for pair in table.pairs::<String, Lv>() {
            let (name, value) = pair?;
            let value = match value {
                Lv::String(text) => text.to_str()?.to_owned(),
                Lv::Integer(number) => number.to_string(),
                Lv::Number(number) => number.to_string(),
                Lv::UserData(data) => data.borrow::<Secret>()?.0.clone(),
                other => return Err(mistake(format!("host.exec: env {name} is a {}", other.type_name()))),
            };
            let bad_name = name.is_empty() || name.contains(['=', '\0']) || name.starts_with("WHARF_");
            if bad_name || value.contains('\0') {
                return Err(mistake(format!("host.exec: `{}` cannot be set", name.escape_debug())));
            }
            env.insert(name, value);
        }
    }
    let effect = match options.raw_get::<Option<String>>("effect")?.as_deref() {
        None | Some("write") => "write",
        Some("read") => "read",
        Some(_) => return Err(mistake("host.exec: `effect` has to be \"read\" or \"write\"")),
    };
    let check = options.raw_get::<Option<bool>>("check")?.unwrap_or(false);
    let allowed = host.context("host.exec")?;
    let commands = &allowed.version.run.commands;
    let name = argv.first().map_or("", String::as_str);
    if !commands.contains_key(name) {
        let known: Vec<_> = commands.keys().map(String::as_str).collect();
        return Err(failed(
            HookErrorKind::Misconfigured,
            format!("host.exec: `{}` is not in [hooks] commands ({})", name.escape_debug(), known.join(", ")),
        ));
    }
    Ok(Order { argv, stdin, timeout, env, effect, check })
}

/// Seconds, or a text such as `"5s"`.
pub(crate) fn duration(what: &str, value: &Lv) -> mlua::Result<Duration> {
    let read = match value {
        Lv::Integer(seconds) => {
            u64::try_from(*seconds).ok().and_then(|seconds| Dur::secs(seconds).checked().ok())
        }
        Lv::Number(seconds) => Dur::from_secs_f64(*seconds).ok(),
        Lv::String(text) => text.to_string_lossy().parse::<Dur>().ok(),
        _ => None,
    };
    let read = read.map(|dur| dur.0);
    read.ok_or_else(|| {
        mistake(format!("{what} has to be seconds or a duration such as \"5s\", ten years at most"))
    })
}

fn find(host: &Host, name: &str) -> mlua::Result<PathBuf> {
    let context = host.context("host.exec")?;
    let run = &context.version.run;
    let usable = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if let Some(Some(path)) = run.commands.get(name) {
        let path = PathBuf::from(path);
        if usable(&path) {
            return Ok(path);
        }
        let message = format!("{name}: {} is no program (from [hooks] commands)", path.display());
        return Err(failed(HookErrorKind::Misconfigured, message));
    }
    let path = context.environment().remove("PATH").unwrap_or_default();
    let found = path.split(':').filter(|dir| dir.starts_with('/')).map(|dir| Path::new(dir).join(name));
    found.into_iter().find(|path| usable(path)).ok_or_else(|| {
        failed(HookErrorKind::Misconfigured, format!("{name} is not installed: not found in {path}"))
    })
}
