//! What all parts of a monitor share.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use wharf_protocol::monitor::{Bootstrap, EndpointDeclared, ExitReport};
use wharf_protocol::signed::KeyPin;

use crate::output::Output;
use crate::reaper::Reaper;
use crate::spawn::Environment;
use crate::terminal::Terminal;

/// Endpoints that a session may declare.
const MAX_ENDPOINTS: usize = 64;

/// What a launcher has given us, in memory only.
#[derive(Debug, Clone)]
pub(crate) struct Papers {
    pub(crate) credential: String,
    pub(crate) snapshot: String,
    pub(crate) keys: Vec<KeyPin>,
    pub(crate) number: Option<u64>,
    pub(crate) resume: Option<String>,
}

/// An order to end, and who gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The launcher, with that grace.
    Launcher(Duration),
    /// The launcher, for a session that is over: nobody waits for a report.
    Over,
    /// No launcher was there for too long.
    Orphaned,
}

/// A monitor.
#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) bootstrap: Bootstrap,
    pub(crate) addresses: PathBuf,
    pub(crate) reaper: Reaper,
    pub(crate) env: Environment,
    pub(crate) cwd: Option<String>,
    pub(crate) output: Output,
    pub(crate) terminal: OnceLock<Terminal>,
    pub(crate) pid: OnceLock<u32>,
    /// The command's end, once it is over and its descendants are gone.
    pub(crate) exited: watch::Sender<Option<ExitReport>>,
    /// The launcher has kept the report, or wants none.
    pub(crate) released: watch::Sender<bool>,
    /// A launcher is there.
    pub(crate) linked: watch::Sender<bool>,
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    pub(crate) papers: RwLock<Papers>,
    pub(crate) nonce: String,
    pub(crate) job: Option<String>,
    pub(crate) restarts: u32,
    /// The monitor itself was told to end: its report is not offered for long.
    pub(crate) hurry: AtomicBool,
    /// The command is over: nothing new is started in the session.
    pub(crate) closing: AtomicBool,
    endpoints: Mutex<Vec<EndpointDeclared>>,
    pub(crate) endpoints_changed: watch::Sender<u64>,
}

impl Monitor {
    #[expect(clippy::too_many_arguments, reason = "each is made by another part, once")]
    pub(crate) fn new(
        bootstrap: Bootstrap,
        addresses: PathBuf,
        reaper: Reaper,
        env: Environment,
        cwd: Option<String>,
        endpoints: Vec<EndpointDeclared>,
        orders: mpsc::UnboundedSender<Order>,
        nonce: String,
        job: (Option<String>, u32),
    ) -> Self {
        let papers = Papers {
            credential: bootstrap.credential.clone(),
            snapshot: bootstrap.snapshot.clone(),
            keys: bootstrap.keys.clone(),
            number: None,
            resume: None,
        };
        Self {
            bootstrap,
            addresses,
            reaper,
            env,
            cwd,
            output: Output::new(),
            terminal: OnceLock::new(),
            pid: OnceLock::new(),
            exited: watch::channel(None).0,
            released: watch::channel(false).0,
            linked: watch::channel(false).0,
            orders,
            papers: RwLock::new(papers),
            nonce,
            job: job.0,
            restarts: job.1,
            hurry: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            endpoints: Mutex::new(endpoints),
            endpoints_changed: watch::channel(0).0,
        }
    }

    /// The endpoints there are now.
    pub(crate) fn endpoints(&self) -> Vec<EndpointDeclared> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds one, or replaces the one of that name; `false` when there are too many.
    pub(crate) fn declare(&self, endpoint: EndpointDeclared) -> bool {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        endpoints.retain(|known| known.name != endpoint.name);
        if endpoints.len() >= MAX_ENDPOINTS {
            return false;
        }
        endpoints.push(endpoint);
        drop(endpoints);
        self.endpoints_changed.send_modify(|count| *count += 1);
        true
    }

    pub(crate) fn papers(&self) -> Papers {
        self.papers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn keep(&self, change: impl FnOnce(&mut Papers)) {
        change(&mut self.papers.write().unwrap_or_else(PoisonError::into_inner));
    }
}
