//! One launcher on one data directory: a lock that the kernel keeps, and a file that says whose it is.
//!
//! ```text
//! owner.lock taken by another process ──▶ refused, naming owner.json's
//! ours ──▶ owner.json of this host: is its process alive? ──▶ refused, or taken over
//!      └─▶ owner.json of another host: a beat within 60 s? ──▶ refused, or taken over
//! ```
//!
//! The lock decides on one host. A network file system may not carry locks between hosts, so the owner also beats:
//! `DATA/owner.json` is written every five seconds. Clocks of two hosts may differ, so a beat that only our own clock
//! calls old, while the file system calls it new, is watched for a moment before it is believed.
//!
//! An owner that was stopped for longer than that, as a laptop's lid does, and finds another's name in the file, has
//! lost the directory: [`Ownership::lost`].

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Timespec, Timestamps, UTIME_NOW};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::warn;
use wharf_protocol::Time;
use wharf_protocol::process::ProcessId;

#[cfg(test)]
mod tests;

/// The intervals of the protocol between owners.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Between two beats.
    beat: Duration,
    /// Without a beat for so long, an owner on another host is gone.
    silence: Duration,
    /// How long a doubtful beat is watched: longer than a beat.
    watch: Duration,
    /// Between two looks.
    look: Duration,
}

/// How long a lock may outlive its holder.
const LINGER: Duration = Duration::from_secs(2);

const PACE: Pace = Pace {
    beat: Duration::from_secs(5),
    silence: Duration::from_secs(60),
    watch: Duration::from_secs(7),
    look: Duration::from_millis(50),
};

/// Whose data directory it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The host's name.
    pub host: String,
    /// The host's boot id.
    pub boot_id: String,
    /// The launcher's process id; 0 when it is not known.
    pub pid: i32,
    /// Its start time, in clock ticks after boot.
    pub start: u64,
    /// The last beat.
    pub beat_at: Time,
}

impl Owner {
    /// Whether both are the same process, whatever its last beat.
    fn is(&self, other: &Self) -> bool {
        (self.pid, self.start, &self.boot_id, &self.host)
            == (other.pid, other.start, &other.boot_id, &other.host)
    }
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
    lost: watch::Receiver<Option<Owner>>,
    beats: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
    path: PathBuf,
    me: Owner,
    /// Released by the kernel when it is closed, whatever happens to us.
    _lock: File,
}

impl Ownership {
    /// Takes a data directory. May watch a doubtful owner of another host for some seconds.
    ///
    /// # Errors
    /// `Taken` while another launcher has it.
    pub fn claim(data_dir: &Path) -> Result<Self, OwnerError> {
        Self::claim_at(data_dir, PACE)
    }

    fn claim_at(data_dir: &Path, pace: Pace) -> Result<Self, OwnerError> {
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
        let me = this_process();
        let began = Instant::now();
        loop {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    // A child that a killed launcher was just starting holds the lock until it executes.
                    let holder = holder(&path, pace);
                    let here = holder.host == me.host && holder.boot_id == me.boot_id;
                    let gone = here && start_of(holder.pid) != Some(holder.start);
                    if !gone || began.elapsed() > LINGER {
                        return Err(OwnerError::Taken(Box::new(holder)));
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                Err(error) => return Err(io(error.into())),
            }
        }
        let before = read(&path);
        if let Some(before) = &before
            && is_alive(before, &me, &path, &lock, pace)
        {
            return Err(OwnerError::Taken(Box::new(before.clone())));
        }
        write(&path, &me).map_err(|source| OwnerError::Io { path: path.clone(), source })?;
        let (found, lost) = watch::channel(None);
        let (stop, stopped) = mpsc::channel();
        let (beaten, owner) = (path.clone(), me.clone());
        let beats = thread::Builder::new()
            .name("owner".to_owned())
            .spawn(move || beat(&beaten, owner, pace, &stopped, &found))
            .map_err(io)?;
        Ok(Self { taken_over: before, lost, beats: Some((stop, beats)), path, me, _lock: lock })
    }

    /// Waits until another launcher has taken the directory from us: then all work on it must stop at once.
    pub async fn lost(&self) -> Owner {
        let mut lost = self.lost.clone();
        loop {
            if let Some(owner) = &*lost.borrow_and_update() {
                return owner.clone();
            }
            if lost.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        if let Some((stop, beats)) = self.beats.take() {
            drop(stop);
            let _ = beats.join();
        }
        // The lock file stays: one that is removed while another process waits for it locks nothing.
        if read(&self.path).is_some_and(|owner| owner.is(&self.me)) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes beats until it is told to stop, or finds another's name.
fn beat(
    path: &Path,
    mut owner: Owner,
    pace: Pace,
    stopped: &mpsc::Receiver<()>,
    lost: &watch::Sender<Option<Owner>>,
) {
    while stopped.recv_timeout(pace.beat) == Err(mpsc::RecvTimeoutError::Timeout) {
        if let Some(other) = read(path).filter(|found| !found.is(&owner)) {
            warn!(host = other.host, pid = other.pid, "another launcher has taken the data directory");
            let _ = lost.send(Some(other));
            return;
        }
        owner.beat_at = now();
        if let Err(error) = write(path, &owner).or_else(|_| overwrite(path, &owner)) {
            // No reason to end the launcher; on this host the lock still holds.
            warn!(path = %path.display(), %error, "the beat cannot be written");
        }
    }
}

fn now() -> Time {
    jiff::Timestamp::now().into()
}

/// Who holds the lock: its name may still be on its way.
fn holder(path: &Path, pace: Pace) -> Owner {
    let began = Instant::now();
    loop {
        if let Some(owner) = read(path) {
            return owner;
        }
        if began.elapsed() > pace.look * 20 {
            let host = this_process().host;
            return Owner { host, boot_id: String::new(), pid: 0, start: 0, beat_at: now() };
        }
        thread::sleep(pace.look);
    }
}

fn read(path: &Path) -> Option<Owner> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes the file as a whole: who reads it sees the one before or this one.
fn write(path: &Path, owner: &Owner) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    let written = file.write_all(&serde_json::to_vec(owner)?).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

/// On a full disk a new file finds no space, but the old one's block is there.
fn overwrite(path: &Path, owner: &Owner) -> io::Result<()> {
    let text = serde_json::to_vec(owner)?;
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(&text)?;
    file.set_len(text.len() as u64)
}

/// The start time of a process that lives; one that only waits to be reaped does not.
fn start_of(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let state = stat.rsplit_once(')')?.1.trim_start().chars().next()?;
    if matches!(state, 'Z' | 'X') { None } else { ProcessId::start_of(&stat) }
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
fn is_alive(owner: &Owner, me: &Owner, path: &Path, lock: &File, pace: Pace) -> bool {
    if owner.host == me.host {
        // We hold the lock, so it is gone, unless somebody removed the lock file below it.
        return owner.boot_id == me.boot_id
            && owner.pid != me.pid
            && start_of(owner.pid) == Some(owner.start);
    }
    // By the file system's own clock, which may be a server's.
    if age(path, lock).is_some_and(|age| age >= pace.silence) {
        return false;
    }
    if now().since(owner.beat_at) < pace.silence {
        return true;
    }
    let began = Instant::now();
    while began.elapsed() < pace.watch {
        thread::sleep(pace.look);
        // A file that is gone was taken away by its owner, on its way out.
        if read(path).is_some_and(|found| found != *owner) {
            return true;
        }
    }
    false
}

/// How much older than now the file is, both by the clock of its file system.
fn age(path: &Path, lock: &File) -> Option<Duration> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    rustix::fs::futimens(lock, &Timestamps { last_access: now, last_modification: now }).ok()?;
    let present = lock.metadata().ok()?.modified().ok()?;
    present.duration_since(fs::metadata(path).ok()?.modified().ok()?).ok()
}
