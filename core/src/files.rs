//! Session directories: `DATA/sessions/ID/`, and what a monitor finds in them.
//!
//! ```text
//! addresses           0644   where the launcher listens now; sessions have links to it
//! sessions/ID/        0700   the launcher's and its hooks'
//!   enrolment         0600   the hash of a one-use secret, and which monitor has spent it
//!   mount/            0755   what a container gets to see
//!     bootstrap.json  0644   reached by no other user of the host: the directories above are ours alone
//!     addresses       0644   read again before each dial: a launcher may move
//! logs/ID/            0700   what an ended session had printed
//! ```
//!
//! A directory outlives the session's end and a purge: whoever comes late has to be told to end, or comes back. Of a session
//! that is over the bootstrap file says that and nothing else; see `over`.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};
use wharf_protocol::SessionId;
use wharf_protocol::api::LogStream;
use wharf_protocol::monitor::Bootstrap;
use wharf_protocol::over::Over;

/// The launcher's files below its data directory.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    data: PathBuf,
    /// Two that come with the same secret come one after the other.
    spending: Arc<Mutex<()>>,
    /// The lines of the common file of addresses.
    common: Arc<OnceLock<String>>,
}

/// A one-use secret, as far as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct OneUse {
    /// SHA-256, base64url.
    hash: String,
    /// Of the monitor that has spent it: asked again, it gets the same answer.
    nonce: Option<String>,
}

/// What a monitor gets for its secret.
#[derive(Debug, PartialEq)]
pub(crate) enum Spent {
    /// All it needs.
    On(Box<Bootstrap>),
    /// The word that its session is over.
    Over,
}

/// A whole file or none: written beside, then named. `durable` also survives a crash of the host.
pub(crate) fn write(path: &Path, mode: u32, content: &[u8], durable: bool) -> io::Result<()> {
    let draft = path.with_extension("new");
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&draft)?;
    fill(file, mode, content, durable)?;
    fs::rename(&draft, path)
}

/// The same for one that nobody knows of yet: written in its place where there is none.
fn write_first(path: &Path, mode: u32, content: &[u8], durable: bool) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
        Ok(file) => fill(file, mode, content, durable),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => write(path, mode, content, durable),
        Err(error) => Err(error),
    }
}

fn fill(mut file: fs::File, mode: u32, content: &[u8], durable: bool) -> io::Result<()> {
    if is_taken_from(mode) {
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    file.write_all(content)?;
    if durable { file.sync_data() } else { Ok(()) }
}

/// Whether a strict umask takes something away from it.
const fn is_taken_from(mode: u32) -> bool {
    mode & 0o077 != 0
}

pub(crate) fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Ok(()) if is_taken_from(mode) => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
        other => other,
    }
}

impl Files {
    /// Below that data directory.
    pub(crate) fn new(data: &Path) -> Self {
        Self { data: data.to_owned(), spending: Arc::default(), common: Arc::default() }
    }

    /// The data directory itself.
    pub(crate) fn place(&self) -> &Path {
        &self.data
    }

    /// A session's directory.
    pub(crate) fn session(&self, id: &SessionId) -> PathBuf {
        self.data.join("sessions").join(id.as_str())
    }

    /// A session's bootstrap file.
    pub(crate) fn bootstrap(&self, id: &SessionId) -> PathBuf {
        self.session(id).join("mount/bootstrap.json")
    }

    /// Writes all that a monitor needs.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn write_session(
        &self,
        id: &SessionId,
        bootstrap: &Bootstrap,
        addresses: &[String],
    ) -> io::Result<()> {
        let dir = self.session(id);
        if let Err(error) = make_dir(&dir, 0o700) {
            // The first session of all.
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            make_dir(&self.data.join("sessions"), 0o700)?;
            make_dir(&dir, 0o700)?;
        }
        make_dir(&dir.join("mount"), 0o755)?;
        self.put_addresses(&dir.join("mount/addresses"), &lines(addresses))?;
        let text = serde_json::to_vec_pretty(bootstrap).map_err(io::Error::other)?;
        // Another user of the host cannot come by the directory above; one inside a container has to read it.
        write_first(&dir.join("mount/bootstrap.json"), 0o644, &text, true)
    }

    /// Keeps the hash of a session's one-use secret, unspent; one of an earlier attempt is worth nothing from now on.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn write_enrolment(&self, id: &SessionId, hash: String) -> io::Result<()> {
        let _alone = self.spending.lock().unwrap_or_else(PoisonError::into_inner);
        let text = serde_json::to_vec(&OneUse { hash, nonce: None }).map_err(io::Error::other)?;
        write(&self.session(id).join("enrolment"), 0o600, &text, true)
    }

    /// Spends the secret of that hash for the monitor of that nonce, durably, and gives what it is to get; `None` for a
    /// wrong secret, and for one that another monitor has spent.
    ///
    /// # Errors
    /// The file system's: nothing is given then.
    pub(crate) fn enrol(&self, id: &SessionId, hash: &str, nonce: &str) -> io::Result<Option<Spent>> {
        let _alone = self.spending.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.session(id).join("enrolment");
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut kept: OneUse = serde_json::from_slice(&text).map_err(io::Error::other)?;
        if kept.hash != hash || kept.nonce.as_ref().is_some_and(|by| by != nonce) {
            return Ok(None);
        }
        if kept.nonce.is_none() {
            kept.nonce = Some(nonce.to_owned());
            write(&path, 0o600, &serde_json::to_vec(&kept).map_err(io::Error::other)?, true)?;
        }
        let text = fs::read(self.bootstrap(id))?;
        if Over::is(&text) {
            return Ok(Some(Spent::Over));
        }
        serde_json::from_slice(&text).map(|whole| Some(Spent::On(whole))).map_err(io::Error::other)
    }

    /// Puts a session's file of addresses in its place: a link to the common one, whose change is one file's; a file of
    /// its own where that cannot be. Every launcher that starts does it anew: nothing is lost with the host.
    fn put_addresses(&self, place: &Path, lines: &str) -> io::Result<()> {
        if self.common.get().is_some_and(|common| common == lines) {
            let common = self.data.join("addresses");
            let draft = place.with_extension("new");
            match fs::hard_link(&common, place) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let _ = fs::remove_file(&draft);
                    if fs::hard_link(&common, &draft).and_then(|()| fs::rename(&draft, place)).is_ok() {
                        // It stays where both were the same file.
                        let _ = fs::remove_file(&draft);
                        return Ok(());
                    }
                }
                // Too many links, or a file system without them.
                Err(_) => {}
            }
        }
        write(place, 0o644, lines.as_bytes(), false)
    }

    /// Writes the launcher's present addresses for every session that has a directory, and for those to come.
    pub(crate) fn write_addresses(&self, addresses: &[String]) -> io::Result<usize> {
        let lines = lines(addresses);
        write(&self.data.join("addresses"), 0o644, lines.as_bytes(), false)?;
        let _ = self.common.set(lines.clone());
        let mut count = 0;
        let entries = match fs::read_dir(self.data.join("sessions")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        for entry in entries.filter_map(Result::ok) {
            let mount = entry.path().join("mount");
            if mount.is_dir() {
                self.put_addresses(&mount.join("addresses"), &lines)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Directories that nobody wrote to for so long.
    pub(crate) fn old_sessions(&self, age: std::time::Duration) -> Vec<SessionId> {
        let Ok(entries) = fs::read_dir(self.data.join("sessions")) else { return Vec::new() };
        entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let bootstrap =
                    fs::metadata(entry.path().join("mount/bootstrap.json")).or_else(|_| entry.metadata());
                let old = bootstrap.ok()?.modified().ok()?.elapsed().is_ok_and(|elapsed| elapsed > age);
                old.then(|| entry.file_name().to_str()?.parse().ok()).flatten()
            })
            .collect()
    }

    /// Leaves nothing in the bootstrap file but the word that the session is over.
    ///
    /// In its place, as many sessions may end together: what a reader could meet meanwhile is no bootstrap file either, and
    /// what is lost with the host is done again at the next start.
    pub(crate) fn end_session(&self, id: &SessionId) -> io::Result<()> {
        let mut file = match fs::OpenOptions::new().write(true).open(self.bootstrap(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let word = serde_json::to_vec(&Over::of(id)).map_err(io::Error::other)?;
        if file.metadata()?.len() != word.len() as u64 {
            file.write_all(&word)?;
            file.set_len(word.len() as u64)?;
        }
        Ok(())
    }

    /// Sessions whose bootstrap file does not say that they are over.
    pub(crate) fn open_sessions(&self) -> Vec<SessionId> {
        let Ok(entries) = fs::read_dir(self.data.join("sessions")) else { return Vec::new() };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|id| fs::read(self.bootstrap(id)).is_ok_and(|text| !Over::is(&text)))
            .collect()
    }

    /// Removes what a job and its monitor have printed into the session's directory.
    pub(crate) fn remove_words(&self, id: &SessionId) -> io::Result<()> {
        let entries = match fs::read_dir(self.session(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() && entry.file_name() != "enrolment" {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes a session's directory.
    pub(crate) fn remove_session(&self, id: &SessionId) -> io::Result<()> {
        remove(&self.session(id))
    }

    fn log(&self, id: &SessionId, stream: LogStream) -> PathBuf {
        let name = match stream {
            LogStream::All => "all",
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
            LogStream::Hook => "hook",
        };
        self.data.join("logs").join(id.as_str()).join(name)
    }

    /// Keeps what an ended session had printed.
    pub(crate) fn write_log(&self, id: &SessionId, stream: LogStream, content: &[u8]) -> io::Result<()> {
        let path = self.log(id, stream);
        make_dir(&self.data.join("logs"), 0o700)?;
        make_dir(&self.data.join("logs").join(id.as_str()), 0o700)?;
        write(&path, 0o600, content, true)
    }

    /// What an ended session had printed; empty when nothing was kept.
    pub(crate) fn read_log(&self, id: &SessionId, stream: LogStream) -> io::Result<Vec<u8>> {
        match fs::read(self.log(id, stream)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other,
        }
    }

    /// Removes what an ended session had printed.
    pub(crate) fn remove_logs(&self, id: &SessionId) -> io::Result<()> {
        remove(&self.data.join("logs").join(id.as_str()))
    }
}

fn lines(addresses: &[String]) -> String {
    addresses.iter().map(|address| format!("{address}\n")).collect()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
