//! A real scheduler that all tests of a run share.
//!
//! The first test brings it up, the next ones find it up; a keeper (`tests/keep`) ends it when no test has used it for a
//! while. Each test holds a lock for as long as it uses it: shared, or alone when it is going to break something that
//! others would feel. Tests of several checkouts on one host share it too.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::FlockOperation;

/// A scheduler, while a test uses it.
#[derive(Debug)]
pub(crate) struct Site {
    base: PathBuf,
    _users: File,
}

/// A script of this directory's parent.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Runs a script that has to succeed.
#[track_caller]
pub(crate) fn run_script(argv: &[&OsStr], log: &Path) {
    let file = File::create(log).expect("the system's temporary directory takes files");
    let status = Command::new(argv[0])
        .args(&argv[1..])
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("descriptors are few"))
        .stderr(file)
        .status();
    let said = || fs::read_to_string(log).unwrap_or_default();
    assert!(status.is_ok_and(|status| status.success()), "{argv:?} failed:\n{}", said());
}

pub(crate) fn hold(path: &Path, how: FlockOperation) -> File {
    let opened = fs::OpenOptions::new().create(true).append(true).open(path);
    let file = opened.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    while let Err(error) = rustix::fs::flock(&file, how) {
        assert_eq!(error, rustix::io::Errno::INTR, "{} cannot be locked", path.display());
    }
    file
}

impl Site {
    /// Brings it up where it is not; `down` is the command that ends it.
    #[track_caller]
    pub(crate) fn open(
        name: &str,
        how: FlockOperation,
        up: impl Fn(&Path),
        down: impl Fn(&Path) -> Vec<OsString>,
    ) -> Self {
        let base = std::env::temp_dir().join(format!("wharf-{name}"));
        fs::create_dir_all(&base).expect("the system's temporary directory takes directories");
        let users = hold(&base.join("users"), how);
        let starting = hold(&base.join("starting"), FlockOperation::LockExclusive);
        up(&base);
        // It leaves at once where there is one already.
        let keeper = Command::new("setsid")
            .arg(script("keep"))
            .arg(&base)
            .args(down(&base))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut keeper = keeper.expect("the keeper can be started");
        std::thread::spawn(move || keeper.wait());
        drop(starting);
        Self { base, _users: users }
    }

    /// Where its files lie.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }
}
