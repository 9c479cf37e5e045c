//! One launcher on one data directory: a lock that the kernel keeps, and a file that says whose it is.
//!
//! The lock decides on one host. A network file system may not carry locks between hosts, so the owner also beats:
//! `DATA/owner.json` is written every five seconds, and one of another host without a beat for a minute is taken over.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use wharf_protocol::Time;
use wharf_protocol::process::ProcessId;

const BEAT: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(60);

/// Whose data directory it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The host's name.
    pub host: String,
    /// The host's boot id.
    pub boot_id: String,
    /// The launcher's process id.
    pub pid: i32,
    /// Its start time, in clock ticks after boot.
    pub start: u64,
    /// The last beat.
    pub beat_at: Time,
}

/// Why the data directory cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// Another launcher has it.
    #[error("another launcher works on this data directory: process {pid} on {host}", pid = .0.pid, host = .0.host)]
    Taken(Box<Owner>),
    /// A file.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The data directory is ours while this lives.
#[derive(Debug)]
pub struct Ownership {
    /// Who had it before and went without a word: worth a warning.
    pub taken_over: Option<Owner>,
    /// Ends the beats when it is dropped.
    _stop: mpsc::Sender<()>,
    path: PathBuf,
    _lock: File,
}

impl Ownership {
    /// Takes a data directory.
    ///
    /// # Errors
    /// `Taken` while another launcher has it.
    pub fn claim(data_dir: &Path) -> Result<Self, OwnerError> {
        let lock_path = data_dir.join("owner.lock");
        let path = data_dir.join("owner.json");
        let io = |source| OwnerError::Io { path: lock_path.clone(), source };
        let lock = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(io)?;
        let before = read(&path);
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(OwnerError::Taken(Box::new(before.unwrap_or_else(unknown))));
            }
            Err(error) => return Err(io(error.into())),
        }
        let me = this_process();
        if let Some(before) = &before
            && is_alive(before, &me)
        {
            return Err(OwnerError::Taken(Box::new(before.clone())));
        }
        write(&path, &me).map_err(|source| OwnerError::Io { path: path.clone(), source })?;
        let (stop, stopped) = mpsc::channel::<()>();
        let beaten = path.clone();
        thread::Builder::new()
            .name("owner".to_owned())
            .spawn(move || {
                let mut owner = me;
                while stopped.recv_timeout(BEAT) == Err(mpsc::RecvTimeoutError::Timeout) {
                    owner.beat_at = now();
                    // A full disk must not end the launcher; the lock still holds here.
                    let _ = write(&beaten, &owner);
                }
            })
            .map_err(io)?;
        Ok(Self { taken_over: before, _stop: stop, path, _lock: lock })
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn now() -> Time {
    jiff::Timestamp::now().into()
}

fn unknown() -> Owner {
    Owner { host: "this host".to_owned(), boot_id: String::new(), pid: 0, start: 0, beat_at: now() }
}

fn read(path: &Path) -> Option<Owner> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn write(path: &Path, owner: &Owner) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&serde_json::to_vec(owner)?)?;
    fs::rename(&draft, path)
}

fn start_of(pid: i32) -> Option<u64> {
    ProcessId::start_of(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn this_process() -> Owner {
    let pid = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
    Owner {
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
        pid,
        start: start_of(pid).unwrap_or_default(),
        beat_at: now(),
    }
}

/// Whether that owner may still be at work.
fn is_alive(owner: &Owner, me: &Owner) -> bool {
    if owner.host == me.host {
        // We hold the lock: whoever wrote this on this host is gone, or it is another namespace's process.
        return owner.boot_id == me.boot_id
            && owner.pid != me.pid
            && start_of(owner.pid) == Some(owner.start);
    }
    now().since(owner.beat_at) < SILENCE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(beat_at: Time) -> Owner {
        Owner { host: "another-host".to_owned(), boot_id: "b".to_owned(), pid: 4242, start: 1, beat_at }
    }

    #[test]
    fn a_second_claim_is_refused_and_names_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = Ownership::claim(dir.path()).unwrap();
        let refused = Ownership::claim(dir.path()).unwrap_err().to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(first);
        Ownership::claim(dir.path()).unwrap();
    }

    #[test]
    fn another_hosts_beat_counts_for_a_minute() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("owner.json"), &foreign(now())).unwrap();
        let refused = Ownership::claim(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("another-host"), "{refused}");
        let old = Time::from_millis(now().millis() - 61_000);
        write(&dir.path().join("owner.json"), &foreign(old)).unwrap();
        let taken = Ownership::claim(dir.path()).unwrap();
        assert_eq!(taken.taken_over.as_ref().map(|owner| owner.host.as_str()), Some("another-host"));
    }

    #[test]
    fn one_of_this_host_that_is_gone_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let gone = Owner { pid: i32::MAX - 1, ..this_process() };
        write(&dir.path().join("owner.json"), &gone).unwrap();
        assert!(Ownership::claim(dir.path()).unwrap().taken_over.is_some());
    }
}
