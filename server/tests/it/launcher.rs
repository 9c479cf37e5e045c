//! A launcher with a server, whose one template `fake` hands every job to nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use wharf_core::backend::{Backend, HostModule};
use wharf_core::clock::{Clock, SystemClock};
use wharf_core::hook::{
    Hook, HookAnswer, HookCall, HookError, HookErrorKind, HookRun, HookRuntime, Submitted, User,
};
use wharf_core::template::{Access, Catalog, CommandRule, Entry, Template};
use wharf_core::testing::memory::MemoryStore;
use wharf_core::{Launcher, Parts};
use wharf_protocol::Time;
use wharf_protocol::api::Trace;
use wharf_protocol::template::TemplateState;
use wharf_server::{Server, ServerConfig};

use crate::http::{Answer, send};

/// Answers for all hooks: a submit gives a job id.
#[derive(Debug)]
struct Hooks;

#[async_trait]
impl HookRuntime for Hooks {
    async fn call(&self, call: HookCall) -> HookRun {
        let outcome = match call.hook {
            Hook::Submit => Ok(HookAnswer::Submit(Submitted {
                job_id: "1".to_owned(),
                node: None,
                message: None,
                handle: None,
            })),
            Hook::Status => Ok(HookAnswer::Status(Default::default())),
            Hook::Terminate => Ok(HookAnswer::Done),
            _ => Err(HookError::new(HookErrorKind::Unsupported, "not in this test")),
        };
        let trace = Trace {
            id: call.trace.to_string(),
            session_id: call.session,
            template: call.template,
            hook: call.hook.as_str().to_owned(),
            started_at: SystemClock.now(),
            duration_ms: 0,
            outcome: "ok".to_owned(),
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

#[derive(Debug)]
struct Templates(Entry);

impl Catalog for Templates {
    fn list(&self) -> Vec<Entry> {
        vec![self.0.clone()]
    }

    fn get(&self, name: &str) -> Option<Entry> {
        (name == self.0.name).then(|| self.0.clone())
    }

    fn reload(&self) {}

    fn is_current(&self, name: &str) -> bool {
        name == self.0.name
    }
}

#[derive(Debug)]
struct Nodes;

#[async_trait]
impl Backend for Nodes {
    fn name(&self) -> &'static str {
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

fn template() -> Template {
    Template {
        name: "fake".to_owned(),
        title: "Fake".to_owned(),
        description: None,
        documentation: None,
        backend: "shell".to_owned(),
        scheduler: "shell".to_owned(),
        instances: Vec::new(),
        select: None,
        disabled: None,
        access: Access::default(),
        command: CommandRule { default: vec!["true".to_owned()], overridable: true, tty: true, stop: None },
        params: Default::default(),
        job_cwd: None,
        job_enrol: None,
        job_env: Default::default(),
        job_before: Vec::new(),
        config: Value::Null,
        endpoints: Vec::new(),
        timeouts: Default::default(),
        session: Default::default(),
        limits: Default::default(),
        hooks: [Hook::Submit, Hook::Status, Hook::Terminate].into(),
        version: "0".to_owned(),
    }
}

/// The time of day, moved on by the test.
#[derive(Debug, Default)]
pub struct MovedClock(AtomicU64);

impl Clock for MovedClock {
    fn now(&self) -> Time {
        SystemClock.now().after(Duration::from_secs(self.0.load(Ordering::Relaxed)))
    }
}

/// A launcher that serves. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    pub dir: tempfile::TempDir,
    pub launcher: Launcher,
    pub at: SocketAddr,
    pub full: String,
    clock: Arc<MovedClock>,
    stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Running {
    pub async fn begin() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::bind(ServerConfig {
            listen: vec!["http://127.0.0.1:0".parse().unwrap()],
            monitor_socket: dir.path().join("run/monitor/sock"),
            insecure_http: false,
            tls: None,
            web_domain: Some("wharf.example".to_owned()),
        })
        .await
        .unwrap();
        let address = server.addresses().remove(0);
        let at = address.strip_prefix("http://").unwrap().parse().unwrap();
        let clock = Arc::<MovedClock>::default();
        let owner =
            User { name: "alice".to_owned(), uid: 1000, gid: 1000, home: "/".to_owned(), groups: Vec::new() };
        let launcher = Launcher::open(Parts {
            data_dir: dir.path().to_owned(),
            node: "here".to_owned(),
            version: "0".to_owned(),
            owner,
            groups_of: |_| Vec::new(),
            store: Arc::new(MemoryStore::new()),
            hooks: Arc::new(Hooks),
            catalog: Arc::new(Templates(Entry {
                name: "fake".to_owned(),
                state: TemplateState::Ok,
                origin: "builtin".to_owned(),
                message: None,
                findings: Vec::new(),
                template: Some(Arc::new(template())),
            })),
            backends: vec![Arc::new(Nodes)],
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            monitor: "/nowhere/wharf-monitor".into(),
            addresses: vec![address],
            settings: Default::default(),
        })
        .await
        .unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(server.run(launcher.clone(), stop.clone()));
        let mut running = Self { dir, launcher, at, full: String::new(), clock, stop };
        running.full = running.token(json!({"scope": "full"})).await;
        running
    }

    /// So many seconds pass at once.
    pub fn pass(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Makes a token as the owner.
    pub async fn token(&self, request: Value) -> String {
        let request = serde_json::from_value(request).unwrap();
        let token = self.launcher.create_token(&self.launcher.owner_actor(), request).await.unwrap();
        token.token.unwrap()
    }

    /// A request with that token and a JSON body, or none.
    pub async fn with(&self, token: &str, line: &str, body: Option<Value>) -> Answer {
        let bearer = format!("Bearer {token}");
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        send(self.at, line, &[("Authorization", &bearer)], &body).await
    }

    /// A request of the owner's.
    pub async fn ask(&self, line: &str, body: Option<Value>) -> Answer {
        self.with(&self.full, line, body).await
    }

    /// Starts a session and waits until its job is known.
    pub async fn start(&self) -> String {
        let answer = self.ask("POST /api/v1/sessions", Some(json!({"template": "fake"}))).await;
        let id = answer.expect(201)["id"].as_str().unwrap().to_owned();
        let line = format!("GET /api/v1/sessions/{id}?wait=submitted&timeout=10s");
        assert_eq!(self.ask(&line, None).await.expect(200)["phase"], "submitted");
        id
    }

    /// Asks until it is as wanted, for at most ten seconds.
    pub async fn until(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let session = self.ask(&format!("GET /api/v1/sessions/{id}"), None).await.expect(200);
            if wanted(&session) {
                return session;
            }
            assert!(tokio::time::Instant::now() < deadline, "it stays so: {session}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
