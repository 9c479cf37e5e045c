//! Templates, backends, nodes, traces, figures.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use wharf_protocol::api::{BackendStatus, Node, Trace};
use wharf_protocol::session::Params;
use wharf_protocol::template::{FailingHook, LiveReport, TemplateDetail, TemplateState, TemplateSummary};
use wharf_protocol::{ErrorCode, Problem, State, TraceId};

use super::{forbidden, from_hook, from_store};
use crate::actor::{Actor, Standing};
use crate::breaker::Trouble;
use crate::hook::{Hook, HookAnswer, HookCall};
use crate::launcher::{Figures, Launcher};
use crate::record::LinkState;
use crate::reports;
use crate::requests;
use crate::template::{Entry, ParamKind, ParamSpec, Template};

fn summary(entry: &Entry, troubles: &[Trouble]) -> TemplateSummary {
    let template = entry.template.as_deref();
    let failing = troubles.iter().map(|trouble| FailingHook {
        hook: trouble.hook.as_str().to_owned(),
        failures: trouble.failures,
        error: trouble.error.clone(),
        breaker: trouble.state.to_owned(),
        next_try: trouble.next_try,
    });
    TemplateSummary {
        name: entry.name.clone(),
        title: template.map_or_else(|| entry.name.clone(), |template| template.title.clone()),
        description: template.and_then(|template| template.description.clone()),
        backend: template.map(|template| template.backend.clone()).unwrap_or_default(),
        scheduler: template.map(|template| template.scheduler.clone()).unwrap_or_default(),
        state: entry.state,
        origin: entry.origin.clone(),
        message: entry.message.clone(),
        failing: failing.collect(),
    }
}

fn property(spec: &ParamSpec) -> Value {
    let kind = match spec.kind {
        ParamKind::Int => "integer",
        ParamKind::Float => "number",
        ParamKind::Bool => "boolean",
        ParamKind::String | ParamKind::Choice | ParamKind::Duration | ParamKind::Size | ParamKind::Path => {
            "string"
        }
    };
    let mut schema = json!({ "type": kind, "x-kind": spec.kind });
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            schema[name] = value;
        }
    };
    let numeric = matches!(spec.kind, ParamKind::Int | ParamKind::Float);
    set("title", spec.title.clone().map(Value::from));
    set("description", spec.help.clone().map(Value::from));
    set("default", spec.default.clone().filter(|_| !spec.secret));
    set("pattern", spec.pattern.as_ref().map(|pattern| json!(format!("^(?:{pattern})$"))));
    set("maxLength", spec.max_length.map(Value::from));
    set("enum", (!spec.choices.is_empty()).then(|| json!(spec.choices)));
    set(if numeric { "minimum" } else { "x-min" }, spec.min.clone());
    set(if numeric { "maximum" } else { "x-max" }, spec.max.clone());
    set("x-group", spec.group.clone().map(Value::from));
    set("writeOnly", spec.secret.then_some(Value::Bool(true)));
    schema
}

fn schema(template: &Template) -> Value {
    let properties: BTreeMap<&String, Value> =
        template.params.iter().map(|(name, spec)| (name, property(spec))).collect();
    let required: Vec<&String> = template
        .params
        .iter()
        .filter(|(_, spec)| spec.required && spec.default.is_none())
        .map(|(name, _)| name)
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

impl Launcher {
    /// All templates.
    ///
    /// # Errors
    /// `forbidden` for guests.
    pub async fn templates(&self, by: &Actor) -> Result<Vec<TemplateSummary>, Problem> {
        if matches!(by.standing, Standing::Guest { .. }) {
            return Err(forbidden());
        }
        self.inner.look_at_templates().await;
        let troubles = |name: &str| self.inner.breakers(|breakers| breakers.of(name));
        Ok(self.inner.catalog.list().iter().map(|entry| summary(entry, &troubles(&entry.name))).collect())
    }

    /// One template in full.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn template(&self, by: &Actor, name: &str) -> Result<TemplateDetail, Problem> {
        if matches!(by.standing, Standing::Guest { .. }) {
            return Err(forbidden());
        }
        self.inner.look_at_templates().await;
        let entry = self.inner.catalog.get(name).ok_or_else(|| {
            Problem::new(ErrorCode::UnknownTemplate, "there is no such template").status(404)
        })?;
        let short = summary(&entry, &[]);
        let template = entry.template.as_deref();
        let report = match by.is_owner() || by.standing == Standing::Reader {
            true => self.report(&entry).await,
            false => None,
        };
        Ok(TemplateDetail {
            name: short.name,
            title: short.title,
            description: short.description,
            backend: short.backend,
            scheduler: short.scheduler,
            state: entry.state,
            findings: entry.findings.clone(),
            schema: template.map(schema).unwrap_or_default(),
            connect: template.map(|template| json!(template.endpoints)).unwrap_or_default(),
            command: template
                .map(|template| {
                    json!({
                        "default": template.command.default,
                        "override": template.command.overridable,
                        "tty": template.command.tty,
                    })
                })
                .unwrap_or_default(),
            report,
        })
    }

    /// What a template's last conformance run found.
    async fn report(&self, entry: &Entry) -> Option<LiveReport> {
        let data = self.inner.data.clone();
        let name = entry.name.clone();
        let version = entry.template.as_ref().map(|template| template.version.clone());
        let read = move || reports::read(data.place(), &name, version.as_deref());
        tokio::task::spawn_blocking(read).await.ok().flatten()
    }

    /// Choices for parameters, asked of the template's options hook.
    ///
    /// # Errors
    /// The hook's failure.
    pub async fn options(&self, by: &Actor, name: &str, params: Params) -> Result<Value, Problem> {
        if !by.is_owner() {
            return Err(forbidden());
        }
        self.inner.look_at_templates().await;
        let template = self.usable(name)?;
        if !template.hooks.contains(&Hook::Options) {
            return Ok(json!({}));
        }
        let secrets = template.params.iter().filter(|(_, spec)| spec.secret).map(|(name, _)| name.clone());
        let run = self
            .inner
            .hooks
            .call(HookCall {
                template: name.to_owned(),
                hook: Hook::Options,
                session: None,
                request: requests::options(&self.inner.owner, &params),
                secret_params: secrets.collect(),
                deadline: template.timeouts.options,
                trace: TraceId::from_random(crate::random::id()),
                progress: None,
                cancel: CancellationToken::new(),
            })
            .await;
        self.inner.count_hook(name, Hook::Options, &run);
        self.inner.heard(name, Hook::Options, &run);
        let trace = run.trace.id.clone();
        self.inner.keep_trace(run.trace);
        match run.outcome {
            Ok(HookAnswer::Options(choices)) => Ok(json!(choices)),
            Ok(_) => Ok(json!({})),
            Err(error) => Err(from_hook(Hook::Options, &error, Some(&trace))),
        }
    }

    /// The backends' health.
    ///
    /// # Errors
    /// `forbidden` for all but the administrator.
    pub async fn backends(&self, by: &Actor) -> Result<Vec<BackendStatus>, Problem> {
        if !by.is_owner() && by.standing != Standing::Reader {
            return Err(forbidden());
        }
        self.inner.look_at_templates().await;
        let templates = self.inner.catalog.list();
        let mut answer = Vec::new();
        for backend in &self.inner.backends {
            let health = self.health(&**backend).await;
            let uses = |entry: &&Entry| {
                entry.state != TemplateState::Broken
                    && entry.template.as_ref().is_some_and(|template| {
                        self.inner.backend(template).is_some_and(|own| own.name() == backend.name())
                    })
            };
            let own: Vec<&Entry> = templates.iter().filter(uses).collect();
            let mut status = BackendStatus {
                name: backend.name().to_owned(),
                templates: own.iter().map(|entry| entry.name.clone()).collect(),
                healthy: Some(health.outcome.is_ok()),
                capabilities: backend.capabilities().into_iter().map(str::to_owned).collect(),
                latency_ms: Some(u64::try_from(health.took.as_millis()).unwrap_or(u64::MAX)),
                last_error: None,
                breaker: "closed".to_owned(),
                next_try: None,
            };
            match health.outcome {
                // It is asked again no sooner than what is known of it is old.
                Err(error) => {
                    let left = super::start::HEALTH.saturating_sub(health.at.elapsed());
                    status.last_error = Some(error);
                    status.breaker = "open".to_owned();
                    status.next_try = Some(self.inner.clock.now().after(left));
                }
                Ok(()) => {
                    self.add_troubles(&own, &mut status);
                    status.last_error = status.last_error.or_else(|| backend.lacks());
                }
            }
            answer.push(status);
        }
        Ok(answer)
    }

    /// What its templates say about a backend that is there: hooks that fail, and versions that cannot be used.
    fn add_troubles(&self, templates: &[&Entry], status: &mut BackendStatus) {
        let mut worst = None;
        for entry in templates {
            for trouble in self.inner.breakers(|breakers| breakers.of(&entry.name)) {
                let rank = (trouble.state == "open", trouble.state == "half_open", trouble.failures);
                if worst.as_ref().is_none_or(|(known, _, _)| *known < rank) {
                    worst = Some((rank, &entry.name, trouble));
                }
            }
        }
        if let Some((_, name, trouble)) = worst {
            status.last_error =
                Some(format!("hook {} of template {name}: {}", trouble.hook.as_str(), trouble.error));
            trouble.state.clone_into(&mut status.breaker);
            status.next_try = trouble.next_try;
            return;
        }
        let stale = templates.iter().find(|entry| entry.state == TemplateState::Stale);
        status.last_error = stale.map(|entry| {
            let why = entry.message.as_deref().unwrap_or_default();
            format!("template {}: the last good version serves: {why}", entry.name)
        });
    }

    /// The launchers there are.
    ///
    /// # Errors
    /// `forbidden` for all but the administrator.
    pub fn nodes(&self, by: &Actor) -> Result<Vec<Node>, Problem> {
        if !by.is_owner() && by.standing != Standing::Reader {
            return Err(forbidden());
        }
        Ok(vec![Node {
            name: self.inner.node.clone(),
            version: self.inner.version.clone(),
            started_at: self.inner.boot,
            links: u32::try_from(self.count_all().links).unwrap_or(u32::MAX),
        }])
    }

    /// One hook run in full.
    ///
    /// # Errors
    /// `unknown_trace`; `forbidden` for all but the administrator.
    pub async fn trace(&self, by: &Actor, id: &str) -> Result<Trace, Problem> {
        if !by.is_owner() && by.standing != Standing::Reader {
            return Err(forbidden());
        }
        if let Some(trace) = self.inner.kept_trace(id) {
            return Ok(trace);
        }
        let trace = self.inner.store.trace(id).await.map_err(|error| from_store(&error))?;
        trace.ok_or_else(|| Problem::new(ErrorCode::UnknownTrace, "there is no such trace, or no longer"))
    }

    /// The numbers behind `/metrics`.
    ///
    /// # Errors
    /// `forbidden` for guests.
    pub fn figures(&self, by: &Actor) -> Result<Figures, Problem> {
        if matches!(by.standing, Standing::Guest { .. }) {
            return Err(forbidden());
        }
        Ok(self.count_all())
    }

    fn count_all(&self) -> Figures {
        let mut sessions: BTreeMap<(String, State), u64> = BTreeMap::new();
        let mut links = 0;
        for view in self.inner.sessions.each::<_, Vec<_>>(|(_, handle)| Some(handle.view.borrow().clone())) {
            links += u64::from(view.link == LinkState::Connected);
            *sessions.entry((view.record.template.clone(), view.record.state())).or_default() += 1;
        }
        let mut figures = Figures {
            sessions: sessions
                .into_iter()
                .map(|((template, state), count)| (template, state, count))
                .collect(),
            links,
            streams: self.inner.streams.total(),
            ..Figures::default()
        };
        self.inner.count(|counters| {
            figures.hooks = counters
                .hooks
                .iter()
                .map(|((template, hook, outcome), (count, seconds))| {
                    (template.clone(), *hook, outcome.clone(), *count, *seconds)
                })
                .collect();
            figures.starts = counters.starts.iter().map(|(name, count)| (name.clone(), *count)).collect();
            figures.ends = counters.ends.iter().map(|(cause, count)| (cause.as_str(), *count)).collect();
        });
        figures.hooks.sort_by(|a, b| (&a.0, a.1, &a.2).cmp(&(&b.0, b.1, &b.2)));
        figures.starts.sort();
        figures.ends.sort_unstable();
        figures
    }
}
