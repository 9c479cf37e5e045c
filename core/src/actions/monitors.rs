//! Monitors: who may link, who is taken in, what they say.
//!
//! A monitor belongs to its user and may be hostile. All that is believed of one is what a launcher has signed, and
//! how its own session's command ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use wharf_protocol::SessionId;
use wharf_protocol::monitor::{Credential, Hello, LinkClaim, MonitorSays, Snapshot, Welcome};
use wharf_protocol::signed::Purpose;

use crate::changes::history;
use crate::driver::Command;
use crate::launcher::{Admitted, Launcher, LinkId, Refusal};
use crate::link::ControlLink;
use crate::record::{JobRecord, Record, Rules, Stage};
use crate::state::Event;
use crate::state::monitor::is_same_kind;
use crate::store::{Change, StoreError};
use crate::template::Template;

/// A word of a monitor is at most so long.
const MAX_TEXT: usize = 4096;

impl Launcher {
    /// Checks a credential, before anything is upgraded.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn admit(&self, credential: &str, claim: &LinkClaim) -> Result<Admitted, Refusal> {
        let inner = &self.inner;
        let credential: Credential =
            inner.keys().verify(Purpose::Credential, credential).ok_or(Refusal::Unauthorized)?;
        if credential.id != claim.session || credential.attempt != claim.attempt {
            return Err(Refusal::Unauthorized);
        }
        let expired = inner.clock.now() >= credential.not_after;
        let id = credential.id.clone();
        let admitted = Admitted { session: id.clone(), credential, claim: claim.clone(), expired };
        if inner.sessions.get(&id).is_some() {
            return Ok(admitted);
        }
        match inner.store.get(&id).await {
            Ok(Some(record)) if record.is_ended() => Err(Refusal::Over("the session has ended".to_owned())),
            Ok(Some(_)) => Ok(admitted),
            Ok(None) => {
                self.check_tombstone(&id).await?;
                if expired { Err(Refusal::Unauthorized) } else { Ok(admitted) }
            }
            Err(error) => Err(Refusal::Later(Duration::from_secs(5), error.to_string())),
        }
    }

    /// What a monitor that is told to end may believe ([`Refusal::Over`]).
    pub fn over(&self, claim: &LinkClaim) -> String {
        self.inner.keys().sign_as_known(Purpose::Over, &claim.nonce)
    }

    /// Refuses a session that is over or is to end.
    pub(crate) async fn may_still_begin(&self, id: &SessionId) -> Result<(), Refusal> {
        match self.inner.store.get(id).await {
            Ok(Some(record)) if record.is_ended() || record.wish.is_some() => {
                Err(Refusal::Over("the session has ended, or is to end".to_owned()))
            }
            Ok(Some(_)) => Ok(()),
            Ok(None) => self.check_tombstone(id).await.map(drop),
            Err(error) => Err(Refusal::Later(Duration::from_secs(5), error.to_string())),
        }
    }

    /// Refuses a session that was over when it was purged; else the shares that do not come back.
    async fn check_tombstone(&self, id: &SessionId) -> Result<Vec<wharf_protocol::ShareId>, Refusal> {
        match self.inner.store.tombstone(id).await {
            Ok(Some(tombstone)) if tombstone.over => {
                Err(Refusal::Over("the session was terminated or had ended before it was purged".to_owned()))
            }
            Ok(Some(tombstone)) => Ok(tombstone.withdrawn),
            Ok(None) => Ok(Vec::new()),
            Err(error) => Err(Refusal::Later(Duration::from_secs(5), error.to_string())),
        }
    }

    /// Takes a monitor in: durable before it is welcomed.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn register(
        &self,
        admitted: Admitted,
        hello: Hello,
        link: Arc<dyn ControlLink>,
    ) -> Result<(LinkId, Welcome), Refusal> {
        if hello.claim != admitted.claim {
            return Err(Refusal::Unauthorized);
        }
        let id = &admitted.session;
        // A purge may come between look and mail, and a return between purge and look: look again.
        for _ in 0..32 {
            let handle = match self.inner.sessions.get(id) {
                Some(handle) => handle,
                None => match self.reappear(&admitted, &hello).await? {
                    Some(handle) => handle,
                    None => {
                        tokio::task::yield_now().await;
                        continue;
                    }
                },
            };
            let (reply, answer) = oneshot::channel();
            let claim = hello.claim.clone();
            if handle.mail.send(Command::Register { claim, link: Arc::clone(&link), reply }).is_err() {
                tokio::task::yield_now().await;
                continue;
            }
            match answer.await {
                Ok(answer) => return answer.map(|(link, welcome)| (link, *welcome)),
                Err(_) => tokio::task::yield_now().await,
            }
        }
        Err(Refusal::Later(Duration::from_secs(1), "the session's record comes and goes".to_owned()))
    }

    /// A session without a record: it was purged, or the datastore was lost. It comes back as its snapshot says.
    async fn reappear(
        &self,
        admitted: &Admitted,
        hello: &Hello,
    ) -> Result<Option<crate::registry::Handle>, Refusal> {
        let inner = &self.inner;
        let id = &admitted.session;
        let stored = inner.store.get(id).await;
        match stored {
            Ok(Some(record)) if record.is_ended() => {
                return Err(Refusal::Over("the session has ended".to_owned()));
            }
            // Its driver is on its way in or out.
            Ok(Some(_)) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                return Ok(None);
            }
            Ok(None) => {}
            Err(error) => return Err(Refusal::Later(Duration::from_secs(5), error.to_string())),
        }
        let withdrawn = self.check_tombstone(id).await?;
        if admitted.expired {
            return Err(Refusal::Unauthorized);
        }
        let snapshot: Snapshot =
            inner.keys().verify(Purpose::Snapshot, &hello.snapshot).ok_or(Refusal::Unauthorized)?;
        let credential = &admitted.credential;
        if snapshot.id != *id
            || snapshot.owner != credential.owner
            || snapshot.template != credential.template
        {
            return Err(Refusal::Unauthorized);
        }
        let now = inner.clock.now();
        let template = inner.template(&snapshot.template);
        let record = from_snapshot(snapshot, template.as_deref(), admitted, &withdrawn, now);
        let changes = vec![
            Change::Create(Box::new(record.clone())),
            history(id, now, "reappeared", "monitor", "its monitor returned after it had been purged", None),
        ];
        match inner.store.commit(changes).await {
            Ok(()) => {}
            Err(StoreError::Conflict) => return Ok(None),
            Err(error) => return Err(Refusal::Later(Duration::from_secs(5), error.to_string())),
        }
        Ok(crate::driver::start(inner, record))
    }

    /// Hears a monitor.
    pub async fn monitor_says(&self, link: &LinkId, says: MonitorSays) {
        let Some(handle) = self.inner.sessions.get(&link.session) else { return };
        let event = match says {
            MonitorSays::Ending => Event::Acknowledged,
            MonitorSays::Exited(mut report) => {
                if let Some(message) = &mut report.message {
                    *message = message.chars().take(MAX_TEXT).collect();
                }
                let (reply, answer) = oneshot::channel();
                if handle.mail.send(Command::Link(reply)).is_ok()
                    && let Ok(Some((serial, control))) = answer.await
                    && serial == link.serial
                {
                    super::keep_logs(&self.inner, &link.session, &*control).await;
                }
                Event::Exited(report)
            }
            MonitorSays::Hello(_)
            | MonitorSays::Pong { .. }
            | MonitorSays::Endpoints { .. }
            | MonitorSays::Other => return,
        };
        let _ = handle.mail.send(Command::Said(link.serial, event));
    }

    /// A link is gone.
    pub async fn link_lost(&self, link: &LinkId) {
        if let Some(handle) = self.inner.sessions.get(&link.session) {
            let _ = handle.mail.send(Command::Said(link.serial, Event::LinkLost));
        }
    }
}

fn from_snapshot(
    snapshot: Snapshot,
    template: Option<&Template>,
    admitted: &Admitted,
    withdrawn: &[wharf_protocol::ShareId],
    now: wharf_protocol::Time,
) -> Record {
    let rules = match template {
        Some(template) => {
            Rules { limits: snapshot.limits.clone(), ..crate::admission::rules(template, false) }
        }
        None => Rules {
            limits: snapshot.limits.clone(),
            register: Duration::from_secs(600),
            queue: Duration::from_secs(7 * 24 * 3600),
            settle: Duration::from_secs(60),
            prepare: false,
            find: false,
            status: false,
            requeue: false,
            max_lifetime: None,
            idle: None,
        },
    };
    let job = match (snapshot.job.clone(), admitted.claim.job_id.clone()) {
        (Some(known), Some(seen)) if !is_same_kind(&known, &seen) => Some(known),
        (known, seen) => seen.or(known),
    };
    Record {
        rev: snapshot.rev + 1,
        name: snapshot.name,
        owner: snapshot.owner,
        template: snapshot.template,
        backend: snapshot.backend,
        scheduler: snapshot.scheduler,
        placed: snapshot.placed,
        command: snapshot.command,
        tty: snapshot.tty,
        params: snapshot.params,
        secrets: template
            .map(|template| {
                template.params.iter().filter(|(_, spec)| spec.secret).map(|(name, _)| name.clone()).collect()
            })
            .unwrap_or_default(),
        params_rev: snapshot.params_rev,
        tags: snapshot.tags,
        env: std::collections::BTreeMap::new(),
        shares: snapshot.shares.into_iter().filter(|share| !withdrawn.contains(&share.id)).collect(),
        withdrawn: withdrawn.to_vec(),
        created_at: snapshot.created_at,
        submitted_at: None,
        started_at: snapshot.started_at.or(Some(now)),
        stage: Stage::Running { interrupted: None },
        wish: None,
        attempt: snapshot.attempt.max(admitted.claim.attempt),
        job: job.map(|id| JobRecord {
            id,
            handle: snapshot.handle,
            node: None,
            state: wharf_protocol::JobState::Unknown,
            raw: None,
            reason: None,
            position: None,
            starts_at: None,
            ends_at: None,
            warned: None,
            running_since: None,
            restarts: admitted.claim.restarts,
            since: now,
        }),
        strays: Vec::new(),
        incarnation: None,
        reason: None,
        rules,
        id: snapshot.id,
    }
}
