//! A real Slurm of four nodes with accounting, one for all tests of a run.
//!
//! The first test brings it up (`tests/slurm/up`), the next ones find it up; a keeper ends it when no test has used it
//! for a while. Each test holds a lock for as long as it uses the cluster: shared, or alone when it is going to break
//! something that others would feel.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::FlockOperation;

use crate::wait::{Probe, until};
use crate::{Home, Template};

/// The cluster, while a test uses it.
#[derive(Debug)]
pub struct Slurm {
    dir: PathBuf,
    _users: File,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("slurm").join(name)
}

fn lock_file(path: &Path) -> File {
    let opened = fs::OpenOptions::new().create(true).append(true).open(path);
    opened.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn hold(path: &Path, how: FlockOperation) -> File {
    let file = lock_file(path);
    while let Err(error) = rustix::fs::flock(&file, how) {
        assert_eq!(error, rustix::io::Errno::INTR, "{} cannot be locked", path.display());
    }
    file
}

impl Slurm {
    /// Together with other tests.
    #[track_caller]
    pub fn shared() -> Self {
        Self::up(FlockOperation::LockShared)
    }

    /// Without any other test.
    #[track_caller]
    pub fn alone() -> Self {
        Self::up(FlockOperation::LockExclusive)
    }

    #[track_caller]
    fn up(how: FlockOperation) -> Self {
        let base = std::env::temp_dir().join("wharf-slurm");
        fs::create_dir_all(&base).expect("the system's temporary directory takes directories");
        let users = hold(&base.join("users"), how);
        let slurm = Self { dir: base.join("cluster"), _users: users };
        let starting = hold(&base.join("starting"), FlockOperation::LockExclusive);
        slurm.repair();
        // It closes what it inherits of ours, and leaves at once where there is one already.
        let mut keeper = Command::new("setsid");
        keeper.arg(script("keep")).arg(&base);
        let keeper = keeper.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut keeper = keeper.expect("the keeper can be started");
        std::thread::spawn(move || keeper.wait());
        drop(starting);
        slurm
    }

    /// Brings up what is not up.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn repair(&self) {
        let log = self.dir.with_extension("log");
        let file = File::create(&log).expect("the system's temporary directory takes files");
        let status = Command::new(script("up"))
            .arg(&self.dir)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("descriptors are few"))
            .stderr(file)
            .status();
        let said = || fs::read_to_string(&log).unwrap_or_default();
        assert!(status.is_ok_and(|status| status.success()), "Slurm does not come up:\n{}", said());
    }

    /// `SLURM_CONF`.
    pub fn conf(&self) -> String {
        self.dir.join("etc/slurm.conf").display().to_string()
    }

    /// A template that extends the shipped one for this cluster: `config` are lines of its `[config]`.
    pub fn template(&self, name: &str, config: &str) -> Template {
        self.template_with(name, config, "")
    }

    /// With lines of `[hooks]` too.
    pub fn template_with(&self, name: &str, config: &str, hooks: &str) -> Template {
        Template::new(name).toml(&format!(
            "api = 1\nextends = \"slurm\"\n[config]\n{config}\n[timeouts]\npoll = \"1s\"\nsettle = \"4s\"\n\
             submit = \"10s\"\n[hooks]\nenv = {{ SLURM_CONF = \"{}\" }}\n{hooks}\n",
            self.conf()
        ))
    }

    /// A program that stands in for one of Slurm's: `real` runs the real one. Each call adds a line to `FILE.calls`.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn wrapper(&self, home: &Home, name: &str, body: &str) -> PathBuf {
        let path = home.path().join(format!("{name}-wrapper"));
        let real = std::env::var("PATH").unwrap_or_default();
        let real = real.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.is_file());
        let real = real.unwrap_or_else(|| panic!("{name} is not installed"));
        let text = format!(
            "#!/bin/sh\necho \"$$\" >> '{calls}'\nreal() {{ '{real}' \"$@\"; }}\n{body}\n",
            calls = path.with_extension("calls").display(),
            real = real.display(),
        );
        fs::write(&path, text).expect("our own directory takes files");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("it is ours");
        path
    }

    /// How often a wrapper was called.
    pub fn calls(wrapper: &Path) -> usize {
        fs::read_to_string(wrapper.with_extension("calls")).unwrap_or_default().lines().count()
    }

    /// Runs one of Slurm's commands; whether it succeeded, and what it said.
    ///
    /// # Panics
    /// When it is not installed.
    #[track_caller]
    pub fn command(&self, argv: &[&str]) -> (bool, String) {
        let output = Command::new(argv[0])
            .args(&argv[1..])
            .env("SLURM_CONF", self.conf())
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{argv:?}: {error}"));
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }

    /// As [`Self::command`], which has to succeed.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn run(&self, argv: &[&str]) -> String {
        let (good, text) = self.command(argv);
        assert!(good, "{argv:?}: {text}");
        text
    }

    /// Every job that ever carried this name: id and state, alive or not.
    #[track_caller]
    pub fn jobs(&self, name: &str) -> Vec<(String, String)> {
        let name = format!("--name={name}");
        let text = self.run(&["squeue", "--noheader", "--states=all", &name, "--format=%i %T"]);
        let rows = text.lines().filter_map(|line| line.trim().split_once(' '));
        rows.map(|(id, state)| (id.to_owned(), state.to_owned())).collect()
    }

    /// Waits until the only job of that name is in one of these states; its id.
    #[track_caller]
    pub fn await_job(&self, name: &str, states: &[&str]) -> String {
        until(&format!("job {name} is {states:?}"), Duration::from_secs(40), || {
            match self.jobs(name).as_slice() {
                [(id, state)] if states.contains(&state.as_str()) => Probe::Ready(id.clone()),
                other => Probe::NotYet(format!("{other:?}")),
            }
        })
    }

    /// Ends the controller and waits until it is gone.
    #[track_caller]
    pub fn stop_controller(&self) {
        self.end("slurmctld", rustix::process::Signal::TERM);
    }

    /// Ends a node's daemon as a crash would; what runs there lives on, and nobody answers for it.
    #[track_caller]
    pub fn kill_node(&self, node: &str) {
        self.end(&format!("slurmd.{node}"), rustix::process::Signal::KILL);
    }

    #[track_caller]
    fn end(&self, daemon: &str, signal: rustix::process::Signal) {
        let file = self.dir.join(format!("run/{daemon}.pid"));
        let text = fs::read_to_string(&file).unwrap_or_default();
        let pid: i32 = text.trim().parse().unwrap_or_else(|_| panic!("{daemon} does not run: {text:?}"));
        crate::processes::send(pid, signal);
        until(&format!("{daemon} is gone"), Duration::from_secs(30), || {
            let gone = !Path::new(&format!("/proc/{pid}")).exists();
            Probe::when(gone, (), || format!("pid {pid}"))
        });
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        // Jobs whose launcher's home has been removed: nobody else will end them.
        let Ok(output) = Command::new("squeue")
            .args(["--noheader", "--format=%i %Z"])
            .env("SLURM_CONF", self.conf())
            .output()
        else {
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let left =
            text.lines().filter_map(|line| line.split_once(' ')).filter(|(_, dir)| !Path::new(dir).exists());
        let ids: Vec<&str> = left.map(|(id, _)| id).collect();
        if !ids.is_empty() {
            _ = Command::new("scancel").args(&ids).env("SLURM_CONF", self.conf()).status();
        }
    }
}
