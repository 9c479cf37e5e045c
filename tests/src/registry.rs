//! A registry of images of a test's own, on loopback: engines take it without certificates.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::http::{Address, Http};
use crate::wait::{Probe, until};

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(20);

/// A registry that runs, or has been ended by the test.
#[derive(Debug)]
pub struct Registry {
    root: tempfile::TempDir,
    port: u16,
    /// Whether it asks who is there.
    private: bool,
    child: Option<Child>,
}

impl Registry {
    /// An empty one.
    ///
    /// # Panics
    /// When it does not start: the package docker-registry is needed.
    #[track_caller]
    pub fn start() -> Self {
        Self::with(false)
    }

    /// One that serves only the user of [`Self::login`].
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn private() -> Self {
        Self::with(true)
    }

    #[track_caller]
    fn with(private: bool) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = free.expect("loopback has a free port").port();
        let root = tempfile::tempdir().expect("the system's temporary directory takes directories");
        let mut registry = Self { root, port, private, child: None };
        registry.restart();
        registry
    }

    /// What `docker login` leaves in a directory, for a client of a private one.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn login(&self, directory: &Path) {
        std::fs::create_dir_all(directory).expect("the test's own directory takes directories");
        // `alice:open-sesame`.
        let login = json!({"auths": {self.host(): {"auth": "YWxpY2U6b3Blbi1zZXNhbWU="}}});
        std::fs::write(directory.join("config.json"), login.to_string()).expect("it takes files");
    }

    /// `HOST:PORT`, the first part of its images' names.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it again, with the images that it had.
    ///
    /// # Panics
    /// When it does not answer.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "the registry runs already");
        let at = |name: &str| self.root.path().join(name);
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {}\n",
            at("images").display(),
            self.host()
        ) + &self.asks();
        std::fs::write(at("config.yml"), config).expect("our own directory takes files");
        let log = std::fs::File::create(at("log")).expect("our own directory takes files");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(at("config.yml")).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a descriptor can be doubled")).stderr(log);
        self.child =
            Some(command.spawn().expect("docker-registry, of the package of that name, can be started"));
        let http = Http::new(Address::Tcp(self.host()));
        until("the registry answers", START, || match http.try_raw("GET", "/v2/", Vec::new()) {
            Ok(answer) if [200, 401].contains(&answer.status) => Probe::Ready(()),
            other => Probe::NotYet(format!("{other:?}")),
        });
    }

    fn asks(&self) -> String {
        if !self.private {
            return String::new();
        }
        let file = self.root.path().join("users");
        // The same user and password, in the only form that it takes.
        let users = "alice:$2b$04$LjwqHdyCy2K7/2AKZDTfDePT3qyy1YQSM2ac6v9OIm.I99aRykXO2\n";
        std::fs::write(&file, users).expect("our own directory takes files");
        format!("auth:\n  htpasswd:\n    realm: tests\n    path: {}\n", file.display())
    }

    /// Ends it at once.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            _ = child.kill();
            _ = child.wait();
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.kill9();
    }
}
