//! One hook, once: really, dry, or watched so that it becomes a case.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use wharf_core::hook::{Hook, User};
use wharf_protocol::FieldError;
use wharf_protocol::api::TracedCommand;
use wharf_protocol::session::Params;

use super::case::{Case, Expect};
use super::golden::{error_value, expected, mocked, texts};
use super::rehearsal::{Mode, Seen};
use super::{Attempt, Bench, BenchError, request};
use crate::stage::Step;

/// A command, or a call of a backend's module, that goes or would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// The command and its arguments.
    pub argv: Vec<String>,
    /// What it gets on standard input.
    pub stdin: String,
    /// Variables that the hook gives it.
    pub env: BTreeMap<String, String>,
    /// `read` or `write`.
    pub effect: String,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// The hook's result, or its error; none when nothing was run.
    pub outcome: Option<Result<Value, Value>>,
    /// In a dry run: every command that would go.
    pub commands: Vec<Planned>,
    /// In a dry run: every document that the hook made, by name.
    pub documents: BTreeMap<String, String>,
    /// What really ran.
    pub ran: Vec<TracedCommand>,
    /// What the hook wrote to its log.
    pub log: String,
}

/// Why a run is not tried.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Parameters are not acceptable.
    #[error("{}", .0.iter().map(|wrong| format!("{}: {}", wrong.field, wrong.message)).collect::<Vec<_>>().join("; "))]
    Params(Vec<FieldError>),
    /// The bench.
    #[error(transparent)]
    Bench(#[from] BenchError),
}

/// What a run is asked.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Members of the request, over the usual ones.
    pub request: Option<Value>,
    /// Parameters of the session, as a user gives them.
    pub params: Params,
    /// Whose session it is; the usual stranger when absent.
    pub user: Option<User>,
}

impl Bench {
    fn request(&self, hook: Hook, asked: &Asked) -> Result<Value, RunError> {
        let template = self.template()?;
        let mut start = request::start(template);
        start.params.extend(asked.params.clone());
        let session = request::session(template, &start).map_err(RunError::Params)?;
        let mut given = request::of(hook, template, &session);
        if let Some(user) = &asked.user {
            given["user"] = serde_json::to_value(user).unwrap_or_default();
            if let Some(session) = given.get_mut("session") {
                session["owner"] = Value::from(user.name.clone());
            }
        }
        if let Some(over) = &asked.request {
            request::overlay(&mut given, over);
        }
        Ok(request::filled(hook, template, &given))
    }

    /// Runs a hook for real, with everything that it runs.
    ///
    /// # Errors
    /// Parameters are not acceptable, or the template cannot be used.
    pub async fn run(&self, hook: Hook, asked: &Asked) -> Result<RunReport, RunError> {
        let request = self.request(hook, asked)?;
        let attempt = Attempt { hook, request: &request, mode: Mode::Watch, pinned: None, hermetic: false };
        let (run, seen) = self.attempt(attempt).await?;
        Ok(RunReport {
            outcome: Some(outcome(run.outcome.as_ref().err().map(error_value), &seen)),
            commands: Vec::new(),
            documents: BTreeMap::new(),
            ran: run.trace.commands,
            log: run.trace.log,
        })
    }

    /// Shows what a hook would do. Nothing runs; an executable is started only if `[hooks] dry_run = true`.
    ///
    /// # Errors
    /// As [`Bench::run`].
    pub async fn dry_run(&self, hook: Hook, asked: &Asked) -> Result<RunReport, RunError> {
        let request = self.request(hook, asked)?;
        let version = self.version()?;
        if Self::is_executable(version, hook) && !version.run.dry_run {
            let level = version.hooks.get(&hook).and_then(|level| version.levels.get(*level));
            let file = level.and_then(|level| level.executables.get(&hook)).cloned().unwrap_or_default();
            let mut request = request;
            request["config"] = version.template.config.clone();
            request["dry_run"] = Value::Bool(true);
            let document = serde_json::json!({ "api": 1, "hook": hook.as_str(), "request": request });
            let command = Planned {
                argv: vec![file, hook.as_str().to_owned()],
                stdin: format!("{document}\n"),
                env: version.run.env.clone(),
                effect: crate::exec::effect_of(hook).to_owned(),
            };
            return Ok(RunReport {
                outcome: None,
                commands: vec![command],
                documents: BTreeMap::new(),
                ran: Vec::new(),
                log: String::new(),
            });
        }
        let attempt =
            Attempt { hook, request: &request, mode: Mode::Withhold, pinned: None, hermetic: false };
        let (run, seen) = self.attempt(attempt).await?;
        Ok(RunReport {
            // What a hook makes of empty answers is shown, not validated.
            outcome: Some(match &seen.answer {
                Some(answer) => Ok(answer.clone()),
                None => outcome(run.outcome.as_ref().err().map(error_value), &seen),
            }),
            commands: seen.steps.iter().map(|(step, _)| planned(step)).collect(),
            documents: texts(&seen),
            ran: Vec::new(),
            log: run.trace.log,
        })
    }

    /// Runs a hook for real and makes a case of what happened; secrets are replaced by stand-ins.
    ///
    /// # Errors
    /// As [`Bench::run`].
    pub async fn record(&self, hook: Hook, given: &Value) -> Result<Case, BenchError> {
        let version = self.version()?;
        let request = request::filled(hook, &version.template, given);
        let executable = Self::is_executable(version, hook);
        let attempt =
            Attempt { hook, request: &request, mode: Mode::Watch, pinned: None, hermetic: executable };
        let (run, seen) = self.attempt(attempt).await?;
        let outcome = outcome(run.outcome.as_ref().err().map(error_value), &seen);
        let taken = |name: &str| self.files.files.contains_key(name);
        let file = std::iter::once(format!("tests/{}-recorded.toml", hook.as_str()))
            .chain((2..).map(|number| format!("tests/{}-recorded-{number}.toml", hook.as_str())))
            .find(|name| !taken(name))
            .unwrap_or_default();
        Ok(Case {
            file,
            comment: "# Recorded from a real run.\n".to_owned(),
            hook,
            request: given.clone(),
            now: None,
            unordered: false,
            commands: seen.steps.iter().map(|(step, reply)| mocked(step, reply, executable)).collect(),
            files: BTreeMap::new(),
            expect: expected(&Expect::Nothing, outcome),
        })
    }
}

fn outcome(error: Option<Value>, seen: &Seen) -> Result<Value, Value> {
    match (error, &seen.answer) {
        (Some(error), _) => Err(error),
        (None, Some(answer)) => Ok(answer.clone()),
        (None, None) => Ok(serde_json::json!({})),
    }
}

fn planned(step: &Step) -> Planned {
    Planned {
        argv: step.argv.clone(),
        stdin: String::from_utf8_lossy(&step.stdin).into_owned(),
        env: step.env.clone(),
        effect: step.effect.clone(),
    }
}
