//! A Docker engine of a test's own: its own data, socket and containerd, no bridge, images without a registry.
//!
//! Each test that needs one starts one, which takes about a second: engines are killed and restarted here, and no test
//! may do that to another. When it is dropped its containers, processes and mounts go with it.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{fs, io};

use rustix::process::Signal;

use crate::wait::{Probe, until};
use crate::{Engine, Output, cli, processes};

/// How long an engine may take until it answers.
const START: Duration = Duration::from_secs(30);
/// How long its client may take.
const COMMAND: Duration = Duration::from_secs(60);

/// An engine that runs, or has been ended by the test.
#[derive(Debug)]
pub struct Dockerd {
    root: tempfile::TempDir,
    /// Where its images and containers lie.
    data: PathBuf,
    live_restore: bool,
    /// The port of loopback where it is also reached, by those who have a certificate.
    tls: Option<u16>,
    networks: Vec<String>,
    /// Runs on when the engine is killed, as it does where a service manager looks after both.
    containerd: Child,
    child: Option<Child>,
}

impl Dockerd {
    /// One with the images `busybox` (a shell and its tools), `bare` (one static program, `/sleep`) and `other`
    /// (busybox with the user 1234).
    ///
    /// # Panics
    /// When it does not start: the packages docker.io and busybox-static are needed, and root.
    #[track_caller]
    pub fn start() -> Self {
        Self::with(None, false, None).with_usual_images()
    }

    /// One whose containers outlive it.
    #[track_caller]
    pub fn live_restore() -> Self {
        Self::with(None, true, None).with_usual_images()
    }

    /// One that is also reached by TCP with a client's certificate: see [`Self::tls_host`], [`Self::certificate`].
    #[track_caller]
    pub fn tls() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = free.expect("loopback has a free port").port();
        Self::with(None, false, Some(port)).with_usual_images()
    }

    /// One on a data directory that outlives it, with the images that are there. Nobody else may use it meanwhile.
    #[track_caller]
    pub(crate) fn kept(data: &Path) -> Self {
        Self::with(Some(data), false, None)
    }

    #[track_caller]
    fn with(data: Option<&Path>, live_restore: bool, tls: Option<u16>) -> Self {
        let root = tempfile::Builder::new().prefix("wharf-dockerd-").rand_bytes(8).tempdir();
        let root = root.expect("the system's temporary directory takes directories");
        let containerd = containerd(root.path());
        if tls.is_some() {
            certificates(root.path());
        }
        let data = data.map_or_else(|| root.path().join("data"), Path::to_owned);
        let mut engine =
            Self { root, data, live_restore, tls, networks: Vec::new(), containerd, child: None };
        engine.restart();
        engine
    }

    #[track_caller]
    fn with_usual_images(self) -> Self {
        import_usual(&self, self.root.path());
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// What a client's `DOCKER_HOST` is.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path("sock").display())
    }

    /// Where it is reached by TCP.
    ///
    /// # Panics
    /// When it was not started with [`Self::tls`].
    pub fn tls_host(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.tls.expect("it was started with TLS"))
    }

    /// A file of its certificates: `ca`, `client` or `client-key`.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.pem"))
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.path("sock")
    }

    /// Makes a network of that name whose containers reach this host at the address that is returned, and nothing
    /// beyond it.
    #[track_caller]
    pub fn network(&mut self, name: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // One of 1,024 nets of a range that is for tests of networks alone.
        let number = (std::process::id() * 2 + NEXT.fetch_add(1, Ordering::Relaxed)) % 1024;
        let net = format!("198.{}.{}", 18 + number / 512, number / 2 % 256);
        let host = number % 2 * 128;
        self.run(&["network", "create", "--subnet", &format!("{net}.{host}/25"), name]).exits(0);
        self.networks.push(name.to_owned());
        format!("{net}.{}", host + 1)
    }

    /// Starts it (again) and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "the engine runs already");
        let log = log_file(self.root.path());
        let mut command = Command::new("dockerd");
        command
            .arg("--data-root")
            .arg(&self.data)
            .arg("--exec-root")
            .arg(self.path("exec"))
            .arg("--pidfile")
            .arg(self.path("pid"))
            .arg("--containerd")
            .arg(self.path("containerd.sock"))
            .args(["--host", &self.host(), "--bridge=none", "--iptables=false", "--ip6tables=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor can be doubled"))
            .stderr(log);
        if self.live_restore {
            command.arg("--live-restore");
        }
        if self.tls.is_some() {
            command.args(["--host", &self.tls_host(), "--tlsverify"]);
            for (option, file) in [("--tlscacert", "ca"), ("--tlscert", "server"), ("--tlskey", "server-key")]
            {
                command.arg(option).arg(self.certificate(file));
            }
        }
        self.child = Some(command.spawn().expect("dockerd, of the package docker.io, can be started"));
        until("the engine answers", START, || {
            let ended = self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            if ended {
                return Probe::Never(self.log_tail());
            }
            Probe::when(self.run(&["version"]).status == 0, (), || self.log_tail())
        });
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.path("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Ends it at once, as a crash would.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            _ = child.kill();
            _ = child.wait();
        }
        // A file that is left says that an engine runs.
        _ = fs::remove_file(self.path("pid"));
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            processes::send(i32::try_from(child.id()).expect("a process id fits"), Signal::TERM);
            cli::finish(&mut child, Duration::from_secs(30));
        }
    }

    /// Where its own client finds its logins to registries.
    pub fn login_directory(&self) -> PathBuf {
        self.path(".docker")
    }

    /// Runs its own client.
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_within(args, COMMAND)
    }

    /// As [`Self::run`], for what takes longer.
    pub fn run_within(&self, args: &[&str], within: Duration) -> Output {
        let mut command = Command::new("docker");
        command.args(args).env("DOCKER_HOST", self.host()).env("HOME", self.root.path());
        // The builder that is part of the engine.
        command.env("DOCKER_BUILDKIT", "0");
        cli::run(command, b"", within)
    }

    /// As [`Self::run`] over TCP with the client's certificate.
    pub fn run_tls(&self, args: &[&str]) -> Output {
        let mut command = Command::new("docker");
        command.args(["--host", &self.tls_host(), "--tlsverify"]);
        for (option, file) in [("--tlscacert", "ca"), ("--tlscert", "client"), ("--tlskey", "client-key")] {
            command.arg(option).arg(self.certificate(file));
        }
        command.args(args).env("HOME", self.root.path());
        cli::run(command, b"", COMMAND)
    }

    /// Makes the image `busybox` anew with so many bytes beside it that cannot be packed.
    #[track_caller]
    pub fn big_image(&self, name: &str, bytes: u64) {
        import(self, self.root.path(), name, &["ENV PATH=/bin"], |root| {
            busybox(root)?;
            let random = fs::File::open("/dev/urandom")?;
            io::copy(&mut io::Read::take(random, bytes), &mut fs::File::create(root.join("big"))?).map(drop)
        });
    }
}

/// The images that tests use on every engine.
#[track_caller]
pub(crate) fn import_usual(engine: &dyn Engine, place: &Path) {
    import(engine, place, "busybox", &["ENV PATH=/bin"], busybox);
    import(engine, place, "bare", &[], |root| fs::copy("/bin/busybox", root.join("sleep")).map(drop));
    import(engine, place, "other", &["ENV PATH=/bin", "USER 1234"], busybox);
}

/// Makes the image `odd` of busybox, with these instructions of a Dockerfile.
#[track_caller]
pub fn odd_image(engine: &dyn Engine, instructions: &[&str]) {
    let place = tempfile::tempdir().expect("the system's temporary directory takes directories");
    let text = format!("FROM busybox\n{}\n", instructions.join("\n"));
    fs::write(place.path().join("Dockerfile"), text).expect("our own directory takes files");
    engine.run(&["build", "--quiet", "--tag", "odd", &place.path().to_string_lossy()]).exits(0);
}

/// Makes the image `wordy`: busybox with a label of so many bytes, which no builder takes.
#[track_caller]
pub fn wordy_image(engine: &dyn Engine, bytes: usize) {
    let place = tempfile::tempdir().expect("the system's temporary directory takes directories");
    let at = |name: &str| place.path().join(name);
    let tar = |args: &[&str]| {
        let mut command = Command::new("tar");
        command.args(args).current_dir(place.path());
        cli::run(command, b"", COMMAND).exits(0);
    };
    engine.run(&["save", "--output", &at("saved.tar").to_string_lossy(), "busybox"]).exits(0);
    fs::create_dir(at("image")).expect("our own directory takes directories");
    tar(&["-C", "image", "-xf", "saved.tar"]);
    let read = |path: &Path| -> serde_json::Value {
        let text = fs::read(path).expect("an image has it");
        serde_json::from_slice(&text).expect("it is JSON")
    };
    let write = |path: &Path, document: &serde_json::Value| {
        fs::write(path, document.to_string()).expect("our own directory takes files");
    };
    let mut manifest = read(&at("image/manifest.json"));
    let config = at("image").join(manifest[0]["Config"].as_str().expect("it names its description"));
    let mut description = read(&config);
    description["config"]["Labels"] = serde_json::json!({ "words": "x".repeat(bytes) });
    write(&at("image/wordy.json"), &description);
    manifest[0]["Config"] = "wordy.json".into();
    manifest[0]["RepoTags"] = serde_json::json!(["wordy:latest"]);
    write(&at("image/manifest.json"), &manifest);
    fs::remove_file(at("image/repositories")).ok();
    tar(&["-C", "image", "-cf", "wordy.tar", "."]);
    engine.run(&["load", "--quiet", "--input", &at("wordy.tar").to_string_lossy()]).exits(0);
}

/// Makes an image of a directory, without any registry.
#[track_caller]
fn import(
    engine: &dyn Engine,
    place: &Path,
    name: &str,
    changes: &[&str],
    fill: impl FnOnce(&Path) -> io::Result<()>,
) {
    let archive = archive(place, name, fill);
    let mut args = vec!["import"];
    for change in changes {
        args.extend(["--change", change]);
    }
    let archive = archive.to_string_lossy();
    args.extend([&*archive, name]);
    engine.run(&args).exits(0);
}

/// Packs a directory that is to become an image.
#[track_caller]
fn archive(place: &Path, name: &str, fill: impl FnOnce(&Path) -> io::Result<()>) -> PathBuf {
    let root = place.join(format!("image-{name}"));
    fs::create_dir(&root).expect("our own directory takes directories");
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).expect("it is ours");
    fill(&root).expect("/bin/busybox, of the package busybox-static, can be copied");
    let archive = place.join(format!("{name}.tar"));
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".");
    cli::run(tar, b"", COMMAND).exits(0);
    archive
}

fn log_file(root: &Path) -> fs::File {
    let log = fs::OpenOptions::new().create(true).append(true).open(root.join("log"));
    log.expect("our own directory takes files")
}

/// An authority, and one certificate from it for the engine and one for its clients.
fn certificates(root: &Path) {
    let openssl = |args: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(args).current_dir(root);
        cli::run(command, b"", COMMAND).exits(0);
    };
    let key = |name: &str| format!("{name}-key.pem");
    let fresh =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let made = |name: &str, more: &[&str]| {
        let (out, key, subject) = (format!("{name}.pem"), key(name), format!("/CN={name}"));
        let mut args = fresh.to_vec();
        args.extend(["-subj", &subject, "-keyout", &key, "-out", &out]);
        args.extend(more);
        openssl(&args);
    };
    made("ca", &["-addext", "keyUsage=keyCertSign"]);
    let signed =
        ["-CA", "ca.pem", "-CAkey", "ca-key.pem", "-addext", "basicConstraints=critical,CA:FALSE", "-addext"];
    for (name, what) in [
        ("server", ["extendedKeyUsage=serverAuth", "-addext", "subjectAltName=IP:127.0.0.1"].as_slice()),
        ("client", &["extendedKeyUsage=clientAuth"]),
    ] {
        made(name, &[&signed, what].concat());
    }
}

/// The engine's own runtime.
fn containerd(root: &Path) -> Child {
    let at = |name: &str| root.join(name).to_string_lossy().into_owned();
    let config = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\naddress = {:?}\n[plugins.\"io.containerd.internal.v1.opt\"]\npath = {:?}\n",
        at("containerd"),
        at("containerd-state"),
        at("containerd.sock"),
        at("opt"),
    );
    fs::write(root.join("containerd.toml"), config).expect("our own directory takes files");
    let mut command = Command::new("containerd");
    command.arg("--config").arg(root.join("containerd.toml")).stdin(Stdio::null());
    let log = log_file(root);
    command.stdout(log.try_clone().expect("a descriptor can be doubled")).stderr(log);
    command.spawn().expect("containerd, of the package containerd, can be started")
}

/// A shell and the tools that tests use.
fn busybox(root: &Path) -> io::Result<()> {
    for name in ["bin", "etc", "tmp", "root"] {
        fs::create_dir(root.join(name))?;
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::copy("/bin/busybox", root.join("bin/busybox"))?;
    for name in ["sh", "sleep", "cat", "echo", "id", "ls", "env", "head", "tail", "dd", "stty", "tr", "true"]
    {
        symlink("busybox", root.join("bin").join(name))?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nother:x:1234:1234::/tmp:/bin/sh\n")
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        if self.child.is_some() {
            let all = self.run(&["ps", "-aq"]).stdout;
            let mut args = vec!["rm", "-f"];
            args.extend(all.split_whitespace());
            if args.len() > 2 {
                _ = self.run(&args);
            }
            for network in &self.networks {
                _ = self.run(&["network", "rm", network]);
            }
        }
        self.stop();
        processes::send(i32::try_from(self.containerd.id()).expect("a process id fits"), Signal::TERM);
        cli::finish(&mut self.containerd, Duration::from_secs(10));
        let root = self.root.path().to_string_lossy().into_owned();
        processes::end_all(&root);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let data = self.data.to_string_lossy().into_owned();
        let is_ours = |at: &&str| at.starts_with(&root) || at.starts_with(&data);
        let ours = mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(is_ours);
        for mount in ours.collect::<Vec<_>>().into_iter().rev() {
            let mut command = Command::new("umount");
            command.args(["-l", mount]);
            _ = cli::run(command, b"", COMMAND);
        }
    }
}
