//! The harness of the black-box tests: it runs the built programs the way users do, in directories
//! of their own, and looks at them through the doors that users have.
//!
//! It builds nothing and knows nothing of the programs' insides. Read [`launcher`] first, then
//! [`templates`] (schedulers that misbehave on demand) and [`wait`] (the only place that sleeps).
//!
//! ```text
//! test ── Launcher::start ──▶ wharf serve (own HOME, own DATA, cleared environment)
//!   ├──── http / tcp / websocket / events ──▶ its listeners
//!   ├──── cli ──▶ wharf …, as a user of the same home
//!   ├──── templates' journals ◀── hooks write what they were asked
//!   └──── processes ──▶ /proc
//! ```

pub mod address;
pub mod application;
pub mod browser;
pub mod cli;
pub mod dockerd;
pub mod engine;
pub mod events;
pub mod gridengine;
pub mod http;
pub mod images;
pub mod launcher;
pub mod link;
pub mod podman;
pub mod processes;
pub mod program;
pub mod proxy;
pub mod registry;
pub(crate) mod site;
pub mod slurm;
pub mod sshd;
pub mod templates;
pub mod terminal;
pub mod wait;
pub mod websocket;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::runtime::Runtime;

pub use address::FarAddress;
pub use browser::{Browser, Look};
pub use cli::Output;
pub use dockerd::Dockerd;
pub use engine::Engine;
pub use gridengine::GridEngine;
pub use http::{Address, Answer, Http};
pub use launcher::{Home, Launcher};
pub use podman::Podman;
pub use proxy::Proxy;
pub use registry::Registry;
pub use slurm::Slurm;
pub use sshd::Sshd;
pub use templates::Template;
pub use terminal::Terminal;
pub use wait::{Probe, until};

/// Where the harness's own sockets are driven; tests themselves are plain threads.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime needs only a few descriptors")
    })
}

/// Held by tests that measure time, so that they do not measure each other. The nextest profile does the
/// same across processes.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether everything is asked for (`./test --campaign`), not one representative of each claim.
pub fn campaign() -> bool {
    std::env::var_os("WHARF_CAMPAIGN").is_some_and(|value| value == "1")
}

/// A number for this run's random choices; printed, and repeated with `WHARF_SEED`.
pub fn seed() -> u64 {
    std::env::var("WHARF_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).expect("the system has random bytes");
        u64::from_le_bytes(bytes)
    })
}

/// A small repeatable source of numbers (xorshift); good enough to choose moments, for nothing else.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Begins at a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number from 0 up to, not including, `below`.
    pub fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below.max(1)
    }
}
