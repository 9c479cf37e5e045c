//! The parts that a launcher is given: a datastore, hooks and links that the world's plan reaches.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use wharf_core::backend::{Backend, HostModule};
use wharf_core::clock::Clock as _;
use wharf_core::hook::{
    Found, Hook, HookAnswer, HookCall, HookError, HookErrorKind, HookRun, HookRuntime, JobReport, Submitted,
    User,
};
use wharf_core::link::ControlLink;
use wharf_core::record::{Record, Tombstone};
use wharf_core::store::{
    Change, KeyRecord, ListQuery, Live, Retention, Store, StoreError, TokenKey, TokenRecord,
};
use wharf_core::template::{
    Access, Catalog, CommandRule, Entry, SessionRules, Template, TemplateLimits, Timeouts,
};
use wharf_core::testing::memory::MemoryStore;
use wharf_core::{Parts, Settings};
use wharf_protocol::api::{HistoryEntry, LogStream, Trace};
use wharf_protocol::monitor::LauncherSays;
use wharf_protocol::template::TemplateState;
use wharf_protocol::{JobState, SessionId};

use crate::life::Script;
use crate::world::{Fault, Job, World};

pub(crate) fn parts(world: &Arc<World>, store: &Arc<Datastore>, data: &Path, script: Script) -> Parts {
    Parts {
        data_dir: data.to_owned(),
        node: "node".to_owned(),
        version: "1".to_owned(),
        owner: User {
            name: "alice".to_owned(),
            uid: 1,
            gid: 1,
            home: "/home/alice".to_owned(),
            groups: Vec::new(),
        },
        groups_of: |_| Vec::new(),
        store: Arc::clone(store) as Arc<dyn Store>,
        hooks: Arc::new(Hooks(Arc::clone(world))),
        catalog: Arc::new(OneTemplate(Arc::new(template(script)))),
        backends: vec![Arc::new(Plain)],
        clock: Arc::clone(world) as Arc<dyn wharf_core::clock::Clock>,
        monitor: "/monitor".into(),
        addresses: vec!["unix:/sock".to_owned()],
        settings: Settings::default(),
    }
}

fn template(script: Script) -> Template {
    let mut hooks: std::collections::BTreeSet<Hook> = [Hook::Submit, Hook::Status, Hook::Terminate].into();
    if script.find {
        hooks.insert(Hook::Find);
    }
    if script.prepare {
        hooks.insert(Hook::Prepare);
    }
    Template {
        name: "t".to_owned(),
        title: "T".to_owned(),
        description: None,
        documentation: None,
        backend: "shell".to_owned(),
        scheduler: "plain".to_owned(),
        instances: Vec::new(),
        select: None,
        disabled: None,
        access: Access::default(),
        command: CommandRule { default: vec!["true".to_owned()], overridable: true, tty: false, stop: None },
        params: BTreeMap::new(),
        job_cwd: None,
        job_enrol: None,
        job_env: BTreeMap::new(),
        job_before: Vec::new(),
        config: json!({}),
        endpoints: Vec::new(),
        timeouts: Timeouts { queue: Duration::from_secs(1800), ..Timeouts::default() },
        session: SessionRules::default(),
        limits: TemplateLimits::default(),
        hooks,
        version: "v".to_owned(),
    }
}

#[derive(Debug)]
struct OneTemplate(Arc<Template>);

impl Catalog for OneTemplate {
    fn list(&self) -> Vec<Entry> {
        self.get("t").into_iter().collect()
    }

    fn get(&self, name: &str) -> Option<Entry> {
        (name == "t").then(|| Entry {
            name: "t".to_owned(),
            state: TemplateState::Ok,
            origin: "builtin".to_owned(),
            message: None,
            findings: Vec::new(),
            template: Some(Arc::clone(&self.0)),
        })
    }

    fn reload(&self) {}

    fn is_current(&self, name: &str) -> bool {
        name == "t"
    }
}

#[derive(Debug)]
struct Plain;

#[async_trait]
impl Backend for Plain {
    fn name(&self) -> &str {
        "shell"
    }

    fn capabilities(&self) -> Vec<&'static str> {
        Vec::new()
    }

    fn requeues(&self) -> bool {
        false
    }

    async fn probe(&self) -> Result<(), String> {
        Ok(())
    }

    fn module(&self) -> Option<Arc<dyn HostModule>> {
        None
    }
}

#[derive(Debug)]
struct Hooks(Arc<World>);

fn error(fault: Fault) -> HookError {
    let kind = if fault == Fault::Refused { HookErrorKind::Unavailable } else { HookErrorKind::Timeout };
    HookError::new(kind, format!("{fault:?}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Hooks {
    /// The job that a submit would make.
    fn job(&self, request: &Value) -> Job {
        let file = text(&request["monitor"]["argv"][3]);
        let bootstrap = std::fs::read(&file).expect("the bootstrap file is there before the hook runs");
        Job {
            id: String::new(),
            tag: text(&request["session"]["id"]),
            taken: self.0.now(),
            alive: true,
            bootstrap: serde_json::from_slice(&bootstrap).expect("and it is whole"),
            resume: None,
            ended: false,
        }
    }

    async fn run(&self, call: &HookCall) -> Result<HookAnswer, HookError> {
        let world = &self.0;
        let name = call.hook.as_str();
        match call.hook {
            Hook::Submit => {
                let job = self.job(&call.request);
                let mut orphan = job.clone();
                orphan.id = "900".to_owned();
                world
                    .deed(name, Some(orphan), || {
                        let mut state = world.state();
                        let id = (100 + state.jobs.len()).to_string();
                        state.jobs.push(Job { id: id.clone(), ..job.clone() });
                        HookAnswer::Submit(Submitted { job_id: id, node: None, message: None, handle: None })
                    })
                    .await
            }
            Hook::Find => {
                let id: SessionId =
                    serde_json::from_value(call.request["sessions"][0]["id"].clone()).expect("a session");
                world
                    .deed(name, None, || {
                        let state = world.state();
                        let mine = state.jobs.iter().filter(|job| job.alive && job.tag == id.as_str());
                        let jobs: Vec<String> = mine.map(|job| job.id.clone()).collect();
                        let found = if jobs.is_empty() { Found::No } else { Found::Jobs(jobs) };
                        HookAnswer::Find([(id.clone(), found)].into())
                    })
                    .await
            }
            Hook::Status => {
                world
                    .deed(name, None, || {
                        let state = world.state();
                        let asked = call.request["jobs"].as_array().into_iter().flatten();
                        let reports = asked.map(|asked| {
                            let id = text(&asked["job_id"]);
                            let state = match state.jobs.iter().find(|job| job.id == id) {
                                Some(job) if job.alive => JobState::Running,
                                Some(_) => JobState::Ended,
                                None => JobState::Gone,
                            };
                            (id, JobReport { state, ..JobReport::default() })
                        });
                        HookAnswer::Status(reports.collect())
                    })
                    .await
            }
            Hook::Terminate => {
                let tag = text(&call.request["session"]["id"]);
                let named = call.request.get("job_id").map(text);
                world
                    .deed(name, None, || {
                        let mut state = world.state();
                        for job in state.jobs.iter_mut().filter(|job| {
                            job.tag == tag && named.as_ref().is_none_or(|named| *named == job.id)
                        }) {
                            job.alive = false;
                        }
                        HookAnswer::Done
                    })
                    .await
            }
            Hook::Prepare => world.deed(name, None, || HookAnswer::Done).await,
            _ => Ok(HookAnswer::Done),
        }
        .map_err(error)
    }
}

#[async_trait]
impl HookRuntime for Hooks {
    async fn call(&self, call: HookCall) -> HookRun {
        let started_at = self.0.now();
        tokio::time::sleep(Duration::from_millis(300)).await; // tidy: sleeps because a hook takes its time; nothing waits on its length
        let outcome = self.run(&call).await;
        let word = outcome.as_ref().map_or_else(|error| error.kind.as_str(), |_| "ok").to_owned();
        let trace = Trace {
            id: call.trace.to_string(),
            session_id: call.session,
            template: call.template,
            hook: call.hook.as_str().to_owned(),
            started_at,
            duration_ms: 300,
            outcome: word,
            detail: String::new(),
            log: String::new(),
            commands: Vec::new(),
        };
        HookRun { outcome, trace }
    }

    async fn end_leftovers(&self) -> usize {
        0
    }
}

fn now<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("memory does not wait")
}

/// A datastore in memory whose commits are deeds.
#[derive(Debug)]
pub(crate) struct Datastore {
    pub(crate) inner: MemoryStore,
    pub(crate) world: Arc<World>,
}

#[async_trait]
impl Store for Datastore {
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let outcome = self.world.deed("commit", None, || now(self.inner.commit(changes.clone()))).await;
        match outcome {
            Ok(outcome) => outcome,
            Err(Fault::Refused) => Err(StoreError::Full("planned".to_owned())),
            Err(_) => Err(StoreError::Failed("planned".to_owned())),
        }
    }

    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        self.inner.get(id).await
    }

    async fn live(&self) -> Result<Live, StoreError> {
        self.inner.live().await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Record>, StoreError> {
        self.inner.list(query).await
    }

    async fn history(&self, id: &SessionId) -> Result<Vec<HistoryEntry>, StoreError> {
        self.inner.history(id).await
    }

    async fn tombstone(&self, id: &SessionId) -> Result<Option<Tombstone>, StoreError> {
        self.inner.tombstone(id).await
    }

    async fn key(&self, owner: &str, key: &str) -> Result<Option<KeyRecord>, StoreError> {
        self.inner.key(owner, key).await
    }

    async fn trace(&self, id: &str) -> Result<Option<Trace>, StoreError> {
        self.inner.trace(id).await
    }

    async fn token(&self, key: TokenKey) -> Result<Option<TokenRecord>, StoreError> {
        self.inner.token(key).await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.inner.tokens().await
    }

    async fn meta(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.inner.meta(name).await
    }

    async fn metas(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        self.inner.metas(prefix).await
    }

    async fn sweep(&self, retention: Retention) -> Result<Vec<SessionId>, StoreError> {
        self.inner.sweep(retention).await
    }

    async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        self.inner.backup(to).await
    }
}

/// A monitor's end of its link.
#[derive(Debug, Default)]
pub(crate) struct Link {
    said: Mutex<Vec<LauncherSays>>,
    closed: Mutex<bool>,
}

impl Link {
    pub(crate) fn heard(&self) -> Vec<LauncherSays> {
        std::mem::take(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ControlLink for Link {
    fn say(&self, what: LauncherSays) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    async fn ping(&self, _within: Duration) -> bool {
        true
    }

    async fn logs(&self, _stream: LogStream, _limit: usize, _within: Duration) -> Option<Vec<u8>> {
        None
    }

    fn close(&self) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}
