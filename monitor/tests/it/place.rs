//! A session's directory, and the monitor that runs in it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use ed25519_dalek::{Signer as _, SigningKey};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixListener;
use wharf_protocol::id::SessionId;
use wharf_protocol::monitor::{Bootstrap, Credential, Limits, OnOrphan, PROTOCOL, Snapshot};
use wharf_protocol::signed::{self, KeyPin, Purpose};
use wharf_protocol::time::{Dur, Time};

use crate::launcher::Link;

/// For anything that has to happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The program.
pub fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_wharf-monitor"));
    for own in ["WHARF_JOB_ID", "WHARF_MONITOR_SOCKET", "SLURM_JOB_ID", "SLURM_RESTART_COUNT"] {
        program.env_remove(own);
    }
    program
}

/// A session's directory, with a launcher's socket in it.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub key: SigningKey,
    pub bootstrap: Bootstrap,
    pub listener: Option<UnixListener>,
}

impl Place {
    /// For that command, with a grace of one second.
    pub fn new(command: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("mount")).unwrap();
        let key = SigningKey::from_bytes(&[7; 32]);
        let session = SessionId::from_random([3; 20]);
        let mut place = Self {
            bootstrap: Bootstrap {
                version: PROTOCOL,
                addresses: PathBuf::from("addresses"),
                credential: String::new(),
                snapshot: String::new(),
                keys: vec![pin(&key)],
                command: command.iter().map(ToString::to_string).collect(),
                stop: None,
                tty: false,
                env: BTreeMap::from([("WHARF_SESSION_ID".to_owned(), session.to_string())]),
                cwd: Some(dir.path().to_str().unwrap().to_owned()),
                limits: Limits { grace: Dur(Duration::from_secs(1)), on_orphan: OnOrphan::Run },
                endpoints: Vec::new(),
                run_dir: None,
                session,
            },
            dir,
            key,
            listener: None,
        };
        place.bootstrap.credential = place.credential(Duration::from_secs(3600));
        place.bootstrap.snapshot = place.snapshot(1);
        place.listen();
        place
    }

    /// With a terminal.
    pub fn tty(mut self) -> Self {
        self.bootstrap.tty = true;
        self
    }

    /// Changes the bootstrap file that will be written.
    pub fn with(mut self, change: impl FnOnce(&mut Bootstrap)) -> Self {
        change(&mut self.bootstrap);
        self
    }

    /// Opens the launcher's socket, in the place of the one before.
    pub fn listen(&mut self) {
        let path = self.path("launcher.sock");
        let _ = std::fs::remove_file(&path);
        self.listener = Some(UnixListener::bind(&path).unwrap());
    }

    /// The launcher goes away.
    pub fn leave(&mut self) {
        self.listener = None;
        let _ = std::fs::remove_file(self.path("launcher.sock"));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn sign(&self, purpose: Purpose, value: &impl serde::Serialize) -> String {
        sign(&self.key, purpose, value)
    }

    pub fn credential(&self, good_for: Duration) -> String {
        let credential = Credential {
            id: self.bootstrap.session.clone(),
            owner: "ada".to_owned(),
            template: "shell".to_owned(),
            attempt: 2,
            not_after: Time::from(jiff::Timestamp::now()).after(good_for),
        };
        self.sign(Purpose::Credential, &credential)
    }

    pub fn snapshot(&self, rev: u64) -> String {
        let snapshot = Snapshot {
            placed: None,
            rev,
            id: self.bootstrap.session.clone(),
            owner: "ada".to_owned(),
            name: "test".to_owned(),
            template: "shell".to_owned(),
            backend: "shell".to_owned(),
            scheduler: "none".to_owned(),
            command: self.bootstrap.command.clone(),
            tty: self.bootstrap.tty,
            params: BTreeMap::new(),
            params_rev: 0,
            tags: BTreeMap::new(),
            shares: Vec::new(),
            limits: self.bootstrap.limits.clone(),
            job: None,
            handle: None,
            attempt: 2,
            created_at: Time::from_millis(0),
            started_at: None,
        };
        self.sign(Purpose::Snapshot, &snapshot)
    }

    /// Writes the bootstrap file and the addresses.
    pub fn write(&self) -> PathBuf {
        let address = format!("unix:{}\n", self.path("launcher.sock").display());
        std::fs::write(self.path("mount/addresses"), address).unwrap();
        let path = self.path("mount/bootstrap");
        std::fs::write(&path, serde_json::to_vec(&self.bootstrap).unwrap()).unwrap();
        path
    }

    /// Starts the monitor.
    pub fn run(&self) -> Job {
        self.run_with(|program| program)
    }

    /// Starts the monitor, with changes to how.
    pub fn run_with(&self, change: impl FnOnce(&mut Command) -> &mut Command) -> Job {
        let mut program = program();
        program.arg("run").arg("--bootstrap").arg(self.write()).stdin(Stdio::null());
        Job(change(&mut program).spawn().unwrap())
    }

    /// Takes the monitor's next dial and says welcome.
    pub async fn link(&self) -> Link {
        let mut link = Link::accept(self).await;
        link.welcome(self).await;
        link
    }
}

/// A session that only waits.
pub async fn idle() -> (Place, Job, Link) {
    let place = Place::new(&["sleep", "1000"]);
    let job = place.run();
    let link = place.link().await;
    (place, job, link)
}

/// Signs.
pub fn sign(key: &SigningKey, purpose: Purpose, value: &impl serde::Serialize) -> String {
    let payload = serde_json::to_vec(value).unwrap();
    signed::join(&payload, "k1", &key.sign(&signed::message(purpose, &payload)).to_bytes())
}

/// The public part of a key.
pub fn pin(key: &SigningKey) -> KeyPin {
    KeyPin { id: "k1".to_owned(), public: signed::encode(key.verifying_key().as_bytes()) }
}

/// The monitor's process; told to end when dropped.
pub struct Job(Child);

impl Job {
    pub fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    pub fn is_over(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// How it ended.
    pub async fn end(&mut self) -> ExitStatus {
        until("the monitor ends", || self.0.try_wait().unwrap()).await
    }

    /// Its exit code.
    pub async fn code(&mut self) -> i32 {
        let status = self.end().await;
        status.code().unwrap_or_else(|| panic!("ended by signal {:?}", status.signal()))
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(None)) {
            return;
        }
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let children = format!("/proc/{0}/task/{0}/children", self.0.id());
        let give_up = Instant::now() + Duration::from_secs(5);
        // Once nothing of its session is left it would only wait for a launcher.
        while Instant::now() < give_up
            && std::fs::read_to_string(&children).is_ok_and(|left| !left.is_empty())
        {
            // tidy: sleeps because a drop cannot await; it polls, with a deadline.
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Polls until there is something.
pub async fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < give_up, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// That in time, or not at all.
pub async fn within<T>(what: impl Debug, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("not in time: {what:?}"))
}

/// Whether a process lives; one that only waits to be reaped does not.
pub fn lives(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| Some(!stat.rsplit_once(')')?.1.trim_start().starts_with(['Z', 'X'])))
        .unwrap_or(false)
}

/// The process id that a program of the session has written into that file.
pub async fn pid_in(file: &Path) -> i32 {
    until("a process id is written", || {
        std::fs::read_to_string(file).ok()?.strip_suffix('\n')?.trim().parse().ok()
    })
    .await
}
