//! The functions of a backend's module, as scripts call them.
//!
//! ```text
//! arguments as JSON ─ a rehearsal's answer, a dry run's, or the backend on the launcher's runtime ─ trace ─ result
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua::{Lua, Table, Value as Lv};
use serde_json::Value;
use wharf_core::backend::{HostContext, HostFunction, HostModule, Processes};
use wharf_core::hook::{Hook, HookErrorKind};

use super::fault::{failed, host, mistake};
use super::host::Host;
use super::value::{Into, Out, Secrets};
use crate::context::Context;
use crate::exec;
use crate::exec::child::Ended;
use crate::stage::{Reply, Step};

/// Calls one.
pub(super) async fn call(
    lua: Lua,
    state: Host,
    module: Arc<dyn HostModule>,
    function: HostFunction,
    arguments: Option<Table>,
) -> mlua::Result<Lv> {
    let name = format!("{}.{}", module.name(), function.name);
    let context = state.context(&name)?;
    if context.hook == Hook::Validate {
        return Err(mistake(format!("{name} cannot be used in `validate`: it is pure")));
    }
    let arguments = match arguments {
        Some(table) => Out { secrets: Secrets::Unseen, max: 4 << 20 }.json(&Lv::Table(table))?,
        None => Value::Object(serde_json::Map::new()),
    };
    let arguments = match arguments {
        Value::Array(list) if list.is_empty() => Value::Object(serde_json::Map::new()),
        other => other,
    };
    if let Some(program) = module.program(function.name, &arguments) {
        check_program(&context, &name, program)?;
    }
    let argv = vec![name.clone(), arguments.to_string()];
    let effect = if function.writes { "write" } else { "read" };
    let step = Step { argv: argv.clone(), effect: effect.to_owned(), ..Step::default() };
    if let Some(reply) = context.stage.as_ref().and_then(|stage| stage.step(&step)) {
        context.traced(exec::traced(argv, effect, Duration::ZERO, &reply.clone().into_ended()));
        return staged(&lua, &name, reply);
    }
    if context.dry_run {
        context.traced(exec::traced(
            argv,
            effect,
            Duration::ZERO,
            &Ended { code: Some(0), ..Ended::default() },
        ));
        return Ok(Lv::Table(lua.create_table()?));
    }
    let cancel = context.cancel.child_token();
    let _ended_with_the_call = cancel.clone().drop_guard();
    let host_context = HostContext {
        session: context.session.clone(),
        env: context.version.run.env.clone().into_iter().collect(),
        base: context.environment().into_iter().collect(),
        programs: (context.version.run.commands.iter())
            .filter_map(|(name, path)| Some((name.clone(), path.clone()?)))
            .collect(),
        config: context.version.template.config.clone(),
        progress: context.progress.clone(),
        mark: context.mark.clone(),
        processes: Arc::clone(&context) as Arc<dyn Processes>,
        left: context.left(),
        cancel,
    };
    let started = Instant::now();
    // Connections of a backend belong to the launcher's runtime, not to this thread.
    let task =
        state.runtime()?.spawn(async move { module.call(function.name, arguments, &host_context).await });
    let answered = task.await.map_err(|error| mistake(format!("{name}: {error}")))?;
    let mut ended = Ended { code: Some(i32::from(answered.is_err())), ..Ended::default() };
    match &answered {
        Ok(value) => ended.stdout = value.to_string().into_bytes(),
        Err(error) => ended.stderr = error.message.clone().into_bytes(),
    }
    if let Some(stage) = &context.stage {
        let mut reply = Reply::of(&ended);
        reply.kind = answered.as_ref().err().map(|error| error.kind);
        stage.ended(&step, &reply);
    }
    context.traced(exec::traced(argv, effect, started.elapsed(), &ended));
    Into::PLAIN.lua(&lua, &answered.map_err(host)?)
}

/// Scripts choose among the commands of their template, whoever starts them.
fn check_program(context: &Context, name: &str, program: &str) -> mlua::Result<()> {
    // By its path: what a bare name means depends on variables that a script may give.
    let mut listed = context.version.run.commands.values().flatten();
    if context.monitor.as_deref() == Some(program) || listed.any(|path| path == program) {
        return Ok(());
    }
    let program = program.escape_debug();
    let why = "is neither the request's monitor nor a path of [hooks] commands";
    Err(failed(HookErrorKind::Misconfigured, format!("{name}: `{program}` {why}")))
}

/// What a rehearsal says instead of a module.
fn staged(lua: &Lua, name: &str, reply: Reply) -> mlua::Result<Lv> {
    if reply.status != 0 {
        let kind = reply.kind.unwrap_or(HookErrorKind::Internal);
        return Err(failed(kind, String::from_utf8_lossy(&reply.stderr).into_owned()));
    }
    if reply.stdout.is_empty() {
        return Ok(Lv::Table(lua.create_table()?));
    }
    let value = exec::document::parse(&reply.stdout)
        .map_err(|reason| mistake(format!("the mocked result of {name}: {reason}")))?;
    Into::PLAIN.lua(lua, &value)
}
