//! start: durable first, submitted after.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::Digest as _;
use tokio_util::sync::CancellationToken;
use wharf_protocol::api::StartRequest;
use wharf_protocol::template::TemplateState;
use wharf_protocol::{ErrorCode, Problem, SessionId};

use super::{forbidden, from_hook, from_store};
use crate::actor::Actor;
use crate::admission;
use crate::changes::history;
use crate::driver::Command;
use crate::hook::{Hook, HookAnswer};
use crate::inner::Health;
use crate::launcher::{Launcher, Started};
use crate::record::Record;
use crate::requests;
use crate::state::Event;
use crate::store::{Change, KeyRecord, StoreError};
use crate::template::Template;

/// How long a backend's health is believed.
pub(super) const HEALTH: Duration = Duration::from_secs(10);

/// SHA-256 of a request with its members in order, so that the same JSON always has the same one.
fn fingerprint(request: &StartRequest) -> [u8; 32] {
    fn canonical(value: &Value, out: &mut String) {
        match value {
            Value::Object(members) => {
                let mut names: Vec<_> = members.iter().collect();
                names.sort_by_key(|(name, _)| *name);
                out.push('{');
                for (name, value) in names {
                    out.push_str(&Value::String(name.clone()).to_string());
                    out.push(':');
                    canonical(value, out);
                    out.push(',');
                }
                out.push('}');
            }
            Value::Array(items) => {
                out.push('[');
                for item in items {
                    canonical(item, out);
                    out.push(',');
                }
                out.push(']');
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                out.push_str(&value.to_string());
            }
        }
    }
    let mut text = String::new();
    canonical(&serde_json::to_value(request).unwrap_or_default(), &mut text);
    sha2::Sha256::digest(text.as_bytes()).into()
}

impl Launcher {
    /// Records a session and sets it going.
    ///
    /// # Errors
    /// `unknown_template`, `template_broken`, `template_disabled`, `invalid` with every member at fault,
    /// `key_reused`, `session_purged`, `rate_limited`, `unavailable`, `storage_full`: nothing was recorded then.
    pub async fn start(
        &self,
        by: &Actor,
        request: StartRequest,
        key: Option<String>,
    ) -> Result<Started, Problem> {
        if !by.is_owner() {
            return Err(forbidden());
        }
        let inner = &self.inner;
        let fingerprint = fingerprint(&request);
        if let Some(key) = &key {
            check_key(key)?;
            let spent = inner.store.key(&inner.owner.name, key).await.map_err(|error| from_store(&error))?;
            if let Some(spent) = spent {
                return self.again(by, &spent, &fingerprint).await;
            }
        }
        inner.look_at_template(&request.template).await;
        let template = self.usable(&request.template)?;
        let requeue = inner.backend(&template).is_some_and(|backend| backend.requeues());
        let now = inner.clock.now();
        let id = SessionId::from_random(crate::random::id());
        let mut record = admission::admit(id.clone(), &inner.owner, &template, &request, requeue, now)
            .map_err(Problem::fields)?;
        self.validate(&template, &mut record).await?;
        self.check_health(&template).await?;
        self.check_limits(&template)?;
        self.check_breakers(&template)?;
        record.placed = crate::placing::choose(inner, &template, &record).await?;
        let mut changes = vec![
            Change::Create(Box::new(record.clone())),
            history(&id, now, "created", &by.user, &format!("from template {}", template.name), None),
        ];
        if let Some(key) = key {
            changes.push(Change::ClaimKey(KeyRecord {
                owner: inner.owner.name.clone(),
                key,
                fingerprint,
                session: id.clone(),
                purged: false,
                at: now,
            }));
        }
        match inner.store.commit(changes).await {
            Ok(()) => {}
            Err(StoreError::KeyTaken(spent)) => return self.again(by, &spent, &fingerprint).await,
            Err(error) => return Err(from_store(&error)),
        }
        inner.count(|counters| *counters.starts.entry(template.name.clone()).or_default() += 1);
        let session = crate::inner::present_record(&record, &inner.node);
        inner.feed.publish(&id, Some((Arc::new(record.clone()), session.clone())));
        if let Some(handle) = crate::driver::start(inner, record) {
            let _ = handle.mail.send(Command::Fact(Event::Resume, Vec::new()));
        }
        Ok(Started { session, created: true })
    }

    /// The answer to a key that was used before.
    async fn again(&self, by: &Actor, spent: &KeyRecord, fingerprint: &[u8; 32]) -> Result<Started, Problem> {
        if spent.fingerprint != *fingerprint {
            return Err(Problem::new(
                ErrorCode::KeyReused,
                "this Idempotency-Key was used for another request",
            )
            .hint("use a new key for a new session"));
        }
        let purged = || {
            Problem::new(ErrorCode::SessionPurged, "the session of this Idempotency-Key has been purged")
                .hint("use a new key to start another one")
        };
        if spent.purged {
            return Err(purged());
        }
        match self.get(by, &spent.session).await {
            Ok(session) => Ok(Started { session, created: false }),
            Err(problem) if problem.code == ErrorCode::UnknownSession => Err(purged()),
            Err(problem) => Err(problem),
        }
    }

    /// The template of that name, if sessions can be started from it.
    pub(crate) fn usable(&self, name: &str) -> Result<Arc<Template>, Problem> {
        let inner = &self.inner;
        let Some(entry) = inner.catalog.get(name) else {
            let names: Vec<String> = inner.catalog.list().into_iter().map(|entry| entry.name).collect();
            let mut problem = Problem::new(
                ErrorCode::UnknownTemplate,
                format!("there is no template {:?}", name.escape_debug().to_string()),
            )
            .hint(format!("there are: {}", names.join(", ")));
            problem.field = Some("template".to_owned());
            return Err(problem);
        };
        let broken = || {
            let why = entry.message.clone().unwrap_or_else(|| "it was refused".to_owned());
            Problem::new(ErrorCode::TemplateBroken, format!("the template {name} cannot be used: {why}"))
                .hint(format!("its administrator sees all findings with `wharf template show {name}`"))
        };
        let template = entry.template.clone().ok_or_else(broken)?;
        match entry.state {
            TemplateState::Ok | TemplateState::Stale => {}
            TemplateState::Broken => return Err(broken()),
            TemplateState::Disabled => {
                let why = template.disabled.clone().or_else(|| entry.message.clone()).unwrap_or_default();
                return Err(Problem::new(
                    ErrorCode::TemplateDisabled,
                    format!("the template {name} is closed: {why}"),
                ));
            }
        }
        let access = &template.access;
        let open = access.users.is_empty() && access.groups.is_empty();
        let mine = access.users.contains(&inner.owner.name)
            || access.groups.iter().any(|group| inner.owner.groups.contains(group));
        if open || mine {
            Ok(template)
        } else {
            Err(Problem::new(
                ErrorCode::Forbidden,
                format!("you may not start sessions from the template {name}"),
            )
            .hint("ask its administrator to let you in, or choose another: `wharf template list`"))
        }
    }

    async fn validate(&self, template: &Template, record: &mut Record) -> Result<(), Problem> {
        if !template.hooks.contains(&Hook::Validate) {
            return Ok(());
        }
        let inner = &self.inner;
        let request = requests::validate(record, &inner.owner);
        let id = Some(record.id.clone());
        let run = inner.run_hook(Hook::Validate, record, id, request, None, CancellationToken::new()).await;
        let trace = run.trace.id.clone();
        inner.keep_trace(run.trace);
        match run.outcome {
            Ok(HookAnswer::Validate(made)) => {
                admission::revalidate(template, record, made).map_err(Problem::fields)
            }
            Ok(_) => Ok(()),
            Err(error) if error.kind == crate::hook::HookErrorKind::Invalid => {
                Err(Problem::field(error.field.clone().unwrap_or_else(|| "params".to_owned()), error.message))
            }
            Err(error) => Err(from_hook(Hook::Validate, &error, Some(&trace))),
        }
    }

    /// Refuses a start whose backend is known to be down.
    async fn check_health(&self, template: &Template) -> Result<(), Problem> {
        let Some(backend) = self.inner.backend(template) else {
            return Err(Problem::new(
                ErrorCode::TemplateBroken,
                format!(
                    "the template {} uses the backend {}, which this launcher does not have",
                    template.name, template.backend
                ),
            ));
        };
        match self.health(&*backend).await.outcome {
            Ok(()) => Ok(()),
            Err(why) => Err(Problem::new(
                ErrorCode::Unavailable,
                format!("{} is not available now: {why}", template.scheduler),
            )
            .hint("nothing was started; try again later")
            .retry_after(HEALTH.as_secs())),
        }
    }

    /// Refuses a start whose hooks fail again and again, but for one try now and then.
    fn check_breakers(&self, template: &Template) -> Result<(), Problem> {
        let which = (template.name.as_str(), template.version.as_str());
        self.inner.breakers(|breakers| breakers.admit_submit(which, Instant::now())).map_err(
            |(hook, left)| {
                Problem::new(
                    ErrorCode::Unavailable,
                    format!(
                        "the `{}` hook of the template {} fails again and again and is not asked for a while",
                        hook.as_str(),
                        template.name
                    ),
                )
                .hint("nothing was started; `wharf template list` tells why and when it is tried again")
                .retry_after(left.as_secs() + 1)
            },
        )
    }

    pub(crate) async fn health(&self, backend: &dyn crate::backend::Backend) -> Health {
        let lock = || self.inner.health.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = lock().get(backend.name()).cloned();
        if let Some(known) = known.filter(|known| known.at.elapsed() < HEALTH) {
            return known;
        }
        let began = Instant::now();
        let outcome = tokio::time::timeout(Duration::from_secs(5), backend.probe())
            .await
            .unwrap_or_else(|_| Err("it does not answer".to_owned()));
        let health = Health { at: Instant::now(), took: began.elapsed(), outcome };
        lock().insert(backend.name().to_owned(), health.clone());
        health
    }

    fn check_limits(&self, template: &Template) -> Result<(), Problem> {
        let inner = &self.inner;
        let too_many = |most: u32, of: &str| {
            Problem::new(
                ErrorCode::RateLimited,
                format!("there are {most} live sessions{of} already, the most allowed"),
            )
            .hint("end one that you no longer need")
            .retry_after(30)
        };
        let (of_template, of_all) = inner.sessions.count(&template.name);
        for most in [template.limits.total, template.limits.per_user].into_iter().flatten() {
            if of_template >= most as usize {
                return Err(too_many(most, &format!(" of the template {}", template.name)));
            }
        }
        if let Some(most) = inner.settings().sessions.filter(|most| of_all >= *most as usize) {
            return Err(too_many(most, ""));
        }
        let mut starts = inner.starts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while starts.front().is_some_and(|(at, _)| at.elapsed() > Duration::from_secs(60)) {
            starts.pop_front();
        }
        let recent = starts.iter().filter(|(_, name)| *name == template.name).count();
        let over = template.limits.starts_per_minute.is_some_and(|most| recent >= most as usize)
            || inner.settings().starts_per_minute.is_some_and(|most| starts.len() >= most as usize);
        if over {
            let wait =
                starts.front().map_or(60, |(at, _)| 60u64.saturating_sub(at.elapsed().as_secs()).max(1));
            return Err(
                Problem::new(ErrorCode::RateLimited, "too many starts in the last minute").retry_after(wait)
            );
        }
        starts.push_back((Instant::now(), template.name.clone()));
        Ok(())
    }
}

fn check_key(key: &str) -> Result<(), Problem> {
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    if visible && (1..=255).contains(&key.len()) {
        Ok(())
    } else {
        Err(Problem::field("Idempotency-Key", "has to be 1 to 255 visible ASCII characters"))
    }
}
