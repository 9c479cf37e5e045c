//! One task drives one session: everything else only sends it mail.
//!
//! ```text
//! mail or moment ─▶ step (pure) ─▶ store.commit ─▶ publish ─▶ effects (tasks of their own) ─▶ mail
//!                                      │ fails
//!                                      └─ a user's change: refused; a fact: kept and written again until it goes
//! ```
//!
//! Nothing is acknowledged, published or carried out before it is durable. The task never waits for a hook or a
//! monitor; it waits only for the store.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, error, info, warn};
use wharf_protocol::monitor::{LauncherSays, LinkClaim, Welcome};
use wharf_protocol::{Phase, SessionId, Time};

use crate::changes::{history, purge_changes};
use crate::hook::{HookError, JobReport};
use crate::inner::Inner;
use crate::last_words;
use crate::launcher::{LinkId, Refusal};
use crate::leftover::Duty;
use crate::link::ControlLink;
use crate::over;
use crate::record::{LinkState, Record, Stage};
use crate::registry::{Handle, View};
use crate::requests;
use crate::state::{Due, Effect, Event, Session, step};
use crate::store::{Change, StoreError};
use crate::telling;

mod registration;

/// Mail.
#[derive(Debug)]
pub(crate) enum Command {
    /// A fact, with what else is to be written down with it.
    Fact(Event, Vec<Change>),
    /// The scheduler was heard, asked at that time.
    Reported(String, Time, JobReport),
    /// A user's change.
    Ask(Event, oneshot::Sender<Result<Arc<Record>, StoreError>>),
    /// A user wants the end; the verdict of a terminate hook comes later, if one runs.
    Terminate { event: Event, reply: oneshot::Sender<Result<Terminating, StoreError>> },
    /// A genuine monitor wants in.
    Register {
        claim: LinkClaim,
        link: Arc<dyn ControlLink>,
        reply: oneshot::Sender<Result<(LinkId, Box<Welcome>), Refusal>>,
    },
    /// A word of the monitor of that link.
    Said(u64, Event),
    /// Forget the session, if its link is still as it was probed.
    Purge {
        /// The link that did not answer; `None`: there was none.
        silent: Option<u64>,
        reply: oneshot::Sender<Result<Purged, StoreError>>,
    },
    /// Publish again: what is not in the record has changed.
    Touch,
    /// Hand the monitor a new credential.
    Renew,
    /// The link there is now.
    Link(oneshot::Sender<Option<(u64, Arc<dyn ControlLink>)>>),
}

/// What came of a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purged {
    /// Forgotten.
    Done,
    /// Another link has come meanwhile: probe that.
    Changed,
    /// The session has ended meanwhile.
    Ended,
}

/// What a terminate set going.
#[derive(Debug)]
pub(crate) struct Terminating {
    /// A terminate hook's verdict.
    pub(crate) verdict: oneshot::Receiver<Result<(), HookError>>,
    /// A hook runs for a session that no monitor serves: the verdict is waited for in any case.
    pub(crate) awaited: bool,
}

/// Sends mail to a driver's own task, from the tasks that carry out its effects.
pub(crate) type Mail = mpsc::UnboundedSender<Command>;

/// Makes a driver for a record and starts it; `None` when the session has one.
pub(crate) fn start(inner: &Arc<Inner>, record: Record) -> Option<Handle> {
    let (mail, inbox) = mpsc::unbounded_channel();
    let view = View {
        record: Arc::new(record.clone()),
        link: LinkState::None,
        serial: None,
        linked_here: false,
        checked_at: None,
        gone: false,
    };
    let (publish, window) = watch::channel(view);
    let handle = Handle { mail: mail.clone(), view: window };
    if !inner.sessions.enter(&record.id, handle.clone()) {
        return None;
    }
    let span = tracing::info_span!("session", id = %record.id);
    let driver = Driver {
        session: Session {
            record,
            link: LinkState::None,
            acknowledged: false,
            boot: inner.boot,
            linked: false,
        },
        inner: Arc::clone(inner),
        mail,
        inbox,
        publish,
        link: None,
        dues: BTreeMap::new(),
        stuck: VecDeque::new(),
        verdicts: Vec::new(),
        running: Running::default(),
    };
    tokio::spawn(driver.run().instrument(span));
    Some(handle)
}

/// Hooks under way.
#[derive(Debug, Default)]
pub(crate) struct Running {
    pub(crate) prepare: Option<CancellationToken>,
    pub(crate) terminate: bool,
    pub(crate) find: bool,
    /// Submit hooks whose answer is still to come.
    pub(crate) submits: usize,
}

#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) inner: Arc<Inner>,
    pub(crate) session: Session,
    pub(crate) mail: Mail,
    pub(crate) link: Option<(u64, Arc<dyn ControlLink>)>,
    pub(crate) running: Running,
    inbox: mpsc::UnboundedReceiver<Command>,
    publish: watch::Sender<View>,
    dues: BTreeMap<Due, Instant>,
    /// Facts that could not be written yet, in their order.
    stuck: VecDeque<(Event, Vec<Change>)>,
    verdicts: Vec<oneshot::Sender<Result<(), HookError>>>,
}

impl Driver {
    pub(crate) fn id(&self) -> &SessionId {
        &self.session.record.id
    }

    async fn run(mut self) {
        loop {
            if self.session.record.is_ended() && self.stuck.is_empty() && self.running.submits == 0 {
                break;
            }
            let retry = (!self.stuck.is_empty()).then(|| Instant::now() + Duration::from_millis(500));
            let next = self.dues.iter().min_by_key(|(_, at)| **at).map(|(due, at)| (*due, *at));
            tokio::select! {
                mail = self.inbox.recv() => match mail {
                    Some(mail) => {
                        if self.take(mail).await {
                            return self.close();
                        }
                    }
                    None => return self.close(),
                },
                () = until(next.map(|(_, at)| at)) => {
                    if let Some((due, _)) = next {
                        self.dues.remove(&due);
                        if due == Due::Idle && self.inner.streams.count(self.id()) > 0 {
                            // Somebody is in it: the time begins anew when the last one leaves.
                            continue;
                        }
                        if due == Due::Retry && let Some(left) = self.held() {
                            self.dues.insert(due, Instant::now() + left);
                            continue;
                        }
                        self.fact(Event::Due(due), Vec::new()).await;
                    }
                }
                () = until(retry) => self.unstick().await,
            }
        }
        // No job comes any more that would need it.
        let (inner, id) = (Arc::clone(&self.inner), self.id().clone());
        tokio::spawn(async move { over::cut_down(&inner, &id).await });
        self.close();
    }

    /// How long a submit that was put off has to wait longer, because the template's hooks fail again and again; never
    /// past the time at which it is given up.
    fn held(&self) -> Option<Duration> {
        let record = &self.session.record;
        let Stage::Pending { phase: Phase::Recorded, .. } = record.stage else { return None };
        let until = record.created_at.after(record.rules.queue).since(self.inner.clock.now());
        let template = self.inner.template(&record.template)?;
        let which = (template.name.as_str(), template.version.as_str());
        let admitted =
            self.inner.breakers(|breakers| breakers.admit_submit(which, std::time::Instant::now()));
        admitted.err().map(|(_, left)| left.min(until)).filter(|left| !left.is_zero())
    }

    /// Leaves the registry; mail that came too late is dropped, and who waits for an answer looks again.
    fn close(mut self) {
        self.inner.sessions.leave(self.id(), &self.mail);
        self.inbox.close();
    }

    /// Handles one piece of mail; `true` when the session was purged.
    async fn take(&mut self, mail: Command) -> bool {
        match mail {
            Command::Fact(event, changes) => self.fact(event, changes).await,
            Command::Reported(job, asked, report) => {
                let now = self.inner.clock.now();
                self.publish.send_modify(|view| view.checked_at = Some(now));
                self.fact(Event::Reported { job, asked, report }, Vec::new()).await;
            }
            Command::Ask(event, reply) => {
                let outcome = match self.unstuck().await {
                    Ok(()) => self.apply(&event, &[]).await,
                    Err(error) => Err(error),
                };
                let _ = reply.send(outcome.map(|()| Arc::new(self.session.record.clone())));
            }
            Command::Terminate { event, reply } => {
                let outcome = match self.unstuck().await {
                    Ok(()) => self.apply(&event, &[]).await,
                    Err(error) => Err(error),
                };
                let _ = reply.send(outcome.map(|()| {
                    let (send, verdict) = oneshot::channel();
                    let awaited = self.running.terminate
                        && matches!(self.session.record.stage, Stage::Pending { .. })
                        && self.session.link != LinkState::Connected;
                    if !self.session.record.is_ended() {
                        self.verdicts.push(send);
                    }
                    Terminating { verdict, awaited }
                }));
            }
            Command::Register { claim, link, reply } => {
                let _ = reply.send(self.register(&claim, link).await);
            }
            Command::Said(serial, event) => {
                if self.link.as_ref().is_some_and(|(current, _)| *current == serial) {
                    if event == Event::LinkLost {
                        self.link = None;
                    }
                    self.fact(event, Vec::new()).await;
                }
            }
            Command::Purge { silent, reply } => {
                let outcome = self.purge(silent).await;
                let done = matches!(outcome, Ok(Purged::Done));
                let _ = reply.send(outcome);
                return done;
            }
            Command::Touch => {
                self.published();
                if let Some(idle) = self.session.record.rules.idle
                    && self.inner.streams.count(self.id()) == 0
                {
                    self.arm(Due::Idle, self.inner.clock.now().after(idle));
                }
            }
            Command::Link(reply) => {
                let _ = reply.send(self.link.clone());
            }
            Command::Renew => {
                if let Some((_, link)) = &self.link {
                    let keys = self.inner.keys();
                    let credential =
                        requests::credential(&self.session.record, &keys, self.inner.clock.now());
                    link.say(LauncherSays::Credential { credential, keys: keys.pins() });
                }
            }
        }
        false
    }

    /// Applies a fact; one that cannot be written down is kept until it can.
    async fn fact(&mut self, event: Event, changes: Vec<Change>) {
        if self.unstuck().await.is_err() {
            self.stuck.push_back((event, changes));
            return;
        }
        if let Err(error) = self.apply(&event, &changes).await {
            warn!(%error, "a change cannot be written down; trying again");
            self.stuck.push_back((event, changes));
        }
    }

    async fn unstick(&mut self) {
        let _ = self.unstuck().await;
    }

    /// Writes what could not be written before.
    async fn unstuck(&mut self) -> Result<(), StoreError> {
        while let Some((event, changes)) = self.stuck.front().cloned() {
            self.apply(&event, &changes).await?;
            self.stuck.pop_front();
        }
        Ok(())
    }

    /// One turn: decide, write down, publish, act.
    async fn apply(&mut self, event: &Event, more: &[Change]) -> Result<(), StoreError> {
        self.settle_hooks(event);
        let effects = self.decide(event, more).await?;
        self.act(effects);
        if let Event::TerminateAnswered { outcome, .. } = event {
            for waiting in self.verdicts.drain(..) {
                let _ = waiting.send(outcome.clone());
            }
        }
        Ok(())
    }

    /// A hook that has answered is no longer under way, also when its answer cannot be written down yet.
    fn settle_hooks(&mut self, event: &Event) {
        match event {
            Event::Prepared(_) => self.running.prepare = None,
            Event::SubmitAnswered { .. } => self.running.submits = self.running.submits.saturating_sub(1),
            Event::FindAnswered { .. } => self.running.find = false,
            Event::TerminateAnswered { .. } => self.running.terminate = false,
            Event::Resume
            | Event::Progress(_)
            | Event::Reported { .. }
            | Event::Registered { .. }
            | Event::Acknowledged
            | Event::LinkLost
            | Event::Exited(_)
            | Event::Terminate { .. }
            | Event::Due(_)
            | Event::Edit { .. } => {}
        }
    }

    /// Decides and writes down; the effects are the caller's.
    async fn decide(&mut self, event: &Event, more: &[Change]) -> Result<Vec<Effect>, StoreError> {
        let now = self.inner.clock.now();
        let mut step = step(&self.session, event, now);
        let changed = step.touch || step.session.record != self.session.record;
        let mut changes: Vec<Change> = Vec::with_capacity(1 + step.notes.len() + more.len());
        if changed {
            let was = self.session.record.rev;
            step.session.record.rev = was + 1;
            changes.push(Change::Update { was, record: Box::new(step.session.record.clone()) });
        }
        for note in &step.notes {
            changes.push(history(self.id(), now, note.event, &note.actor, &note.detail, None));
        }
        for effect in &step.effects {
            if let Effect::Tell(hook) = effect
                && telling::listens(&self.inner, &step.session.record.template, *hook)
            {
                let record = &step.session.record;
                changes.push(telling::Word::new(&record.id, *hook, None, record.rev).noted());
            }
        }
        changes.extend_from_slice(more);
        if !changes.is_empty() {
            match self.inner.store.commit(changes).await {
                Ok(()) => {}
                Err(StoreError::Conflict) => {
                    // Nobody else writes this record: were it so, going on would make it worse.
                    error!("the record was changed behind the driver's back");
                    return Err(StoreError::Conflict);
                }
                Err(error) => return Err(error),
            }
        }
        for note in &step.notes {
            info!(event = note.event, actor = note.actor, detail = %note.detail.escape_debug());
        }
        let ended = !self.session.record.is_ended() && step.session.record.is_ended();
        if last_words::are_wanted(&self.session.record, &step.session.record) {
            last_words::keep(&self.inner, step.session.record.clone());
        }
        let visible = changed || step.session.link != self.session.link;
        self.session = step.session;
        if ended && let Stage::Ended { end, .. } = &self.session.record.stage {
            let cause = end.cause;
            self.inner.count(|counters| *counters.ends.entry(cause).or_default() += 1);
        }
        if visible {
            self.published();
        }
        Ok(step.effects)
    }

    /// Shows the session as it is.
    fn published(&mut self) {
        let view = View {
            record: Arc::new(self.session.record.clone()),
            link: self.session.link,
            serial: self.link.as_ref().map(|(serial, _)| *serial),
            linked_here: self.publish.borrow().linked_here || self.link.is_some(),
            checked_at: self.publish.borrow().checked_at,
            gone: false,
        };
        let session = self.inner.present(&view);
        self.inner.feed.publish(self.id(), Some((Arc::clone(&view.record), session)));
        self.publish.send_replace(view);
    }

    pub(crate) fn arm(&mut self, due: Due, at: Time) {
        let wait = at.since(self.inner.clock.now());
        self.dues.insert(due, Instant::now() + wait);
    }
    async fn purge(&mut self, silent: Option<u64>) -> Result<Purged, StoreError> {
        match &self.session.record.stage {
            Stage::Ended { .. } => return Ok(Purged::Ended),
            Stage::Pending { .. } => {}
            Stage::Running { .. } => {
                if self.link.as_ref().map(|(serial, _)| *serial) != silent {
                    return Ok(Purged::Changed);
                }
            }
        }
        let now = self.inner.clock.now();
        let left = Duty::of(&self.inner, &self.session.record);
        // Before the purge is written: afterwards a crash would leave it to nobody. A job yet to come has it written anew.
        if over::is_spent(&self.inner, &self.session.record) {
            over::cut_down(&self.inner, self.id()).await;
        }
        let mut changes = purge_changes(&self.session.record, now);
        changes.extend(left.as_ref().map(Duty::noted));
        self.inner.store.commit(changes).await?;
        info!(event = "purged");
        if let Some(left) = left {
            tokio::spawn(left.fulfil(Arc::clone(&self.inner)));
        }
        if let Some(prepare) = self.running.prepare.take() {
            prepare.cancel();
        }
        if let Some((_, link)) = self.link.take() {
            link.close();
        }
        self.inner.sessions.leave(self.id(), &self.mail);
        self.inner.feed.publish(self.id(), None);
        self.publish.send_modify(|view| view.gone = true);
        debug!("its driver goes");
        Ok(Purged::Done)
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
