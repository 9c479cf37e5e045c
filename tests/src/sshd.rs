//! A real sshd of a test's own, on loopback: another host for whoever only knows it by ssh, with a home of its own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::wait::{Probe, until};
use crate::{Template, processes};

/// It runs until it is dropped or stopped.
#[derive(Debug)]
pub struct Sshd {
    root: tempfile::TempDir,
    child: Option<Child>,
}

#[track_caller]
fn run(argv: &[&str]) {
    let output = Command::new(argv[0]).args(&argv[1..]).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{argv:?}: {error}"));
    assert!(output.status.success(), "{argv:?}: {output:?}");
}

impl Sshd {
    /// Starts one; its clients are told by [`Self::template`].
    ///
    /// # Panics
    /// When it does not start: the packages openssh-server and openssh-client are needed, and root.
    #[track_caller]
    pub fn start() -> Self {
        let root = tempfile::Builder::new().prefix("wharf-sshd-").tempdir();
        let root = root.expect("the system's temporary directory takes directories");
        let at = |name: &str| root.path().join(name).display().to_string();
        for key in ["host", "user"] {
            run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &at(key)]);
        }
        let home = at("home");
        fs::create_dir(&home).expect("our own directory takes directories");
        // Another home than the one of this host's user, also for copies.
        let login = at("login");
        fs::write(
            &login,
            format!("cd '{home}' && export HOME='{home}' && exec sh -c \"$SSH_ORIGINAL_COMMAND\"\n"),
        )
        .expect("our own directory takes files");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let server = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nPermitRootLogin yes\nPidFile none\nMaxStartups 100\n\
             ForceCommand sh {login}\nSubsystem sftp /usr/lib/openssh/sftp-server\n",
            at("host"),
            at("user.pub"),
        );
        fs::write(at("sshd_config"), server).expect("our own directory takes files");
        let client = format!(
            "Host vis1 vis2\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {}\n  IdentitiesOnly yes\n\
             \x20 UserKnownHostsFile {}\n  StrictHostKeyChecking accept-new\n",
            at("user"),
            at("known"),
        );
        fs::write(at("ssh_config"), client).expect("our own directory takes files");
        fs::create_dir_all("/run/sshd").expect("root may make sshd's own empty directory");
        let mut sshd = Self { root, child: None };
        sshd.resume();
        sshd
    }

    /// Starts it again at the same place.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn resume(&mut self) {
        let log = fs::File::create(self.path("log")).expect("our own directory takes files");
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(self.path("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sshd is installed: openssh-server");
        self.child = Some(child);
        until("sshd listens", Duration::from_secs(10), || {
            let said = fs::read_to_string(self.path("log")).unwrap_or_default();
            Probe::when(said.contains("Server listening"), (), || said)
        });
    }

    /// Ends it; connections that are open go on.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            processes::send(child.id().cast_signed(), Signal::TERM);
            let _ = child.wait();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The home that it gives.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// A template that extends the shipped one for this host under two names.
    pub fn template(&self, name: &str) -> Template {
        let config = self.path("ssh_config");
        Template::new(name).toml(&format!(
            "api = 1\nextends = \"ssh\"\n[config]\nhosts = [\"vis1\", \"vis2\"]\noptions = [\"-F\", \"{}\"]\n\
             [timeouts]\npoll = \"1s\"\nsettle = \"4s\"\n",
            Path::new(&config).display()
        ))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}
