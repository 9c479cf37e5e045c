//! A real Slurm of four nodes with accounting, one for all tests of a run.
//!
//! `tests/slurm/up` brings it up; how tests share it is in [`crate::site`].

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::FlockOperation;

use crate::site::{Site, run_script, script};
use crate::wait::{Probe, until};
use crate::{Home, Template};

/// The cluster, while a test uses it.
#[derive(Debug)]
pub struct Slurm {
    dir: PathBuf,
    kind: Kind,
    _site: Site,
}

/// The clusters that the tests have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Four nodes on loopback, with accounting.
    Near,
    /// One node in a network namespace of its own.
    Far,
    /// One node on loopback, without accounting.
    Small,
    /// One node of another cluster, which the accounting of the first one knows.
    Second,
}

#[track_caller]
fn bring_up(dir: &Path, kind: Kind) {
    let up = script("slurm/up");
    let mut argv = vec![up.as_os_str(), dir.as_os_str()];
    let more: &[&str] = match kind {
        Kind::Near => &[],
        Kind::Far => &["26850", "far"],
        Kind::Small => &["26870", "small"],
        Kind::Second => &["26890", "second", "26831"],
    };
    argv.extend(more.iter().map(std::ffi::OsStr::new));
    run_script(&argv, &dir.with_extension("log"));
}

impl Slurm {
    /// Together with other tests.
    #[track_caller]
    pub fn shared() -> Self {
        Self::up(FlockOperation::LockShared, Kind::Near)
    }

    /// Without any other test.
    #[track_caller]
    pub fn alone() -> Self {
        Self::up(FlockOperation::LockExclusive, Kind::Near)
    }

    /// Another cluster, whose node is in a network namespace of its own and reaches this host at [`Self::FAR`].
    #[track_caller]
    pub fn far() -> Self {
        Self::up(FlockOperation::LockExclusive, Kind::Far)
    }

    /// A small one without any other test, for what takes long and would hold others up.
    #[track_caller]
    pub fn small() -> Self {
        Self::up(FlockOperation::LockExclusive, Kind::Small)
    }

    /// Another cluster of one node, named `wharfsecond`, that the commands of this one reach with `-M`; ended with its test.
    #[track_caller]
    pub fn second(&self) -> Self {
        assert_eq!(self.kind, Kind::Near, "the one with accounting");
        Self::up(FlockOperation::LockExclusive, Kind::Second)
    }

    /// Whether jobs of the small one are held to their memory.
    pub fn limits_memory(&self) -> bool {
        self.run(&["scontrol", "show", "config"]).contains("task/cgroup")
    }

    /// This host, as that node sees it.
    pub const FAR: &str = "10.97.0.1";

    #[track_caller]
    fn up(how: FlockOperation, kind: Kind) -> Self {
        let dir = |base: &Path| base.join("cluster");
        let site = Site::open(
            match kind {
                Kind::Near => "slurm",
                Kind::Far => "slurm-far",
                Kind::Small => "slurm-small",
                Kind::Second => "slurm-second",
            },
            how,
            |base| bring_up(&dir(base), kind),
            |base| vec![script("slurm/down").into(), dir(base).into()],
        );
        Self { dir: dir(site.base()), kind, _site: site }
    }

    /// Brings up what is not up.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn repair(&self) {
        bring_up(&self.dir, self.kind);
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

    /// Where slurmrestd listens, `HOST:PORT`, and its socket; it wants tokens at both.
    pub fn rest(&self) -> (String, PathBuf) {
        assert_eq!(self.kind, Kind::Near, "the one with tokens");
        ("127.0.0.1:26840".to_owned(), self.dir.join("run/restd/sock"))
    }

    /// The configuration's lines for this cluster under the name `near`, with the address of a REST interface or none, and
    /// a directory of commands that come before Slurm's own.
    pub fn instance(&self, rest: &str, path: &Path) -> String {
        let (conf, path) = (self.conf(), path.display());
        format!("[backends.slurm.near]\nconf = \"{conf}\"\npath = [\"{path}\"]\nrest = \"{rest}\"\n")
    }

    /// A template that extends the shipped one for `near`: `config` are lines of its `[config]`.
    pub fn instance_template(name: &str, config: &str) -> Template {
        Template::new(name).toml(&format!(
            "api = 1\nextends = \"slurm\"\ninstance = \"near\"\n[config]\n{config}\n[timeouts]\npoll = \"1s\"\n\
             settle = \"4s\"\nsubmit = \"10s\"\n",
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
            "#!/bin/sh\ndate +%s%N >> '{calls}'\nreal() {{ '{real}' \"$@\"; }}\n{body}\n",
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

    /// When a wrapper was called, since 1970.
    pub fn call_times(wrapper: &Path) -> Vec<Duration> {
        let text = fs::read_to_string(wrapper.with_extension("calls")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).map(Duration::from_nanos).collect()
    }

    /// Waits for the next calls of a wrapper; when each was.
    #[track_caller]
    pub fn next_calls(wrapper: &Path, count: usize, within: Duration) -> Vec<Duration> {
        let before = Self::calls(wrapper);
        until(&format!("{count} more calls"), within, || {
            let times = Self::call_times(wrapper);
            let more = times.get(before..).unwrap_or_default();
            Probe::when(more.len() >= count, more.to_vec(), || format!("{} of them", more.len()))
        })
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
        if self.kind == Kind::Second {
            // It hangs on the first one's accounting.
            _ = Command::new(script("slurm/down")).arg(&self.dir).status();
        }
    }
}
