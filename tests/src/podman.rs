//! Podman's socket for Docker's API, of a test's own: its own images, containers and configuration.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::dockerd::import_usual;
use crate::wait::{Probe, until};
use crate::{Output, cli, processes};

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(30);
/// How long a client may take.
const COMMAND: Duration = Duration::from_secs(60);

/// Podman that serves.
#[derive(Debug)]
pub struct Podman {
    root: tempfile::TempDir,
    child: Child,
}

impl Podman {
    /// One with the same images as [`Dockerd::start`](crate::Dockerd::start).
    ///
    /// # Panics
    /// When it does not start: the packages podman, catatonit, runc and docker.io (for its client) are needed, and root.
    #[track_caller]
    pub fn start() -> Self {
        let root = tempfile::Builder::new().prefix("wharf-podman-").rand_bytes(8).tempdir();
        let root = root.expect("the system's temporary directory takes directories");
        let at = |name: &str| root.path().join(name).to_string_lossy().into_owned();
        // Limits that also a host without CAP_SYS_RESOURCE grants, and nothing that needs systemd.
        let containers = "[containers]\ndefault_ulimits = [\"nofile=20000:20000\", \"nproc=20000:20000\"]\n\
             init_path = \"/usr/bin/catatonit\"\n[engine]\ncgroup_manager = \"cgroupfs\"\nruntime = \"runc\"\n\
             events_logger = \"file\"\n";
        fs::write(root.path().join("containers.conf"), containers).expect("our own directory takes files");
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = {:?}\nrunroot = {:?}\n",
            at("graph"),
            at("run")
        );
        fs::write(root.path().join("storage.conf"), storage).expect("our own directory takes files");
        let log = fs::File::create(root.path().join("log")).expect("our own directory takes files");
        let mut command = Command::new("podman");
        command
            .args(["system", "service", "--time=0"])
            .arg(format!("unix://{}", at("sock")))
            .env("CONTAINERS_CONF", at("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", at("storage.conf"))
            // It leaves a word where it was started when a container runs out of memory.
            .current_dir(root.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor can be doubled"))
            .stderr(log);
        let child = command.spawn().expect("podman, of the package of that name, can be started");
        let podman = Self { root, child };
        until("podman answers", START, || {
            let output = podman.run(&["version"]);
            Probe::when(output.status == 0, (), || format!("{output}\n{}", podman.log()))
        });
        import_usual(&podman, podman.root.path());
        podman
    }

    fn log(&self) -> String {
        fs::read_to_string(self.root.path().join("log")).unwrap_or_default()
    }

    /// What a client's `DOCKER_HOST` is.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.root.path().join("sock")
    }

    /// Runs Docker's client on it.
    pub fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new("docker");
        command.args(args).env("DOCKER_HOST", self.host()).env("HOME", self.root.path());
        cli::run(command, b"", COMMAND)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let all = self.run(&["ps", "-aq"]).stdout;
        let ids: Vec<&str> = all.split_whitespace().collect();
        if !ids.is_empty() {
            _ = self.run(&[&["rm", "-f"], ids.as_slice()].concat());
        }
        processes::send(i32::try_from(self.child.id()).expect("a process id fits"), Signal::TERM);
        cli::finish(&mut self.child, Duration::from_secs(10));
        let root = self.root.path().to_string_lossy().into_owned();
        processes::end_all(&root);
        let mut command = Command::new("umount");
        command.arg("-l").arg(self.root.path().join("graph/overlay"));
        _ = cli::run(command, b"", COMMAND);
    }
}
