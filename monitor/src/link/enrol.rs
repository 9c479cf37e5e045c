//! Enrolment: a one-use secret on standard input becomes a bootstrap file, on a node that has no file system in common with
//! the launcher.
//!
//! The secret is bound to our nonce at first contact. Nothing is taken from who cannot prove to hold the launcher's key.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use wharf_link::FrameError;
use wharf_protocol::monitor::{Enrolled, Enrolment, LauncherSays, LinkClaim, PROTOCOL};
use wharf_protocol::signed;

use super::Said;
use super::dial::{self, Refused};
use super::{MOST, proof, random, session};
use crate::{detach, picked, say};

/// Longest line that is read.
const MAX: u64 = 64 << 10;

/// A session's files on this node, in a directory of its own; removed with it.
#[derive(Debug)]
pub(crate) struct Files {
    directory: PathBuf,
}

impl Files {
    /// The bootstrap file.
    pub(crate) fn bootstrap(&self) -> PathBuf {
        self.directory.join("mount/bootstrap.json")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Reads the secret, spends it, and writes what came for it.
pub(crate) fn enrol() -> io::Result<Files> {
    let mut line = String::new();
    io::BufReader::new(io::stdin().lock().take(MAX)).read_line(&mut line)?;
    let bad = || io::Error::other("standard input does not begin with an enrolment of this release");
    let text = signed::decode(line.trim()).ok_or_else(bad)?;
    let enrolment: Enrolment = serde_json::from_slice(&text).map_err(|_| bad())?;
    if enrolment.version != PROTOCOL {
        return Err(bad());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Enrolled { bootstrap, addresses, .. } = runtime.block_on(spend(&enrolment))?;
    let files = Files { directory: picked::make()? };
    let mount = files.directory.join("mount");
    std::fs::DirBuilder::new().mode(0o700).create(&mount)?;
    let lines: String = addresses.iter().map(|address| format!("{address}\n")).collect();
    write(&mount.join(&bootstrap.addresses), lines.as_bytes())?;
    write(&files.bootstrap(), &serde_json::to_vec(&bootstrap)?)?;
    Ok(files)
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)
}

/// Dials until a launcher has answered.
async fn spend(enrolment: &Enrolment) -> io::Result<Enrolled> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    let (job_id, restarts) = detach::job();
    let claim = LinkClaim {
        protocol: PROTOCOL,
        session: enrolment.session.clone(),
        attempt: enrolment.attempt,
        restarts,
        number: None,
        resume: None,
        nonce: signed::encode(&nonce),
        job_id,
    };
    let papers = format!("Enrol {}", enrolment.secret);
    let mut next = Duration::from_secs(1);
    let mut said = Said::default();
    loop {
        let mut wait = random(next);
        let mut words = Vec::new();
        for address in &enrolment.addresses {
            let shown = dial::show(address, &papers, &claim, &enrolment.keys);
            let dialled = tokio::time::timeout(dial::PATIENCE, shown).await;
            match dialled.unwrap_or_else(|_| Err(Refused::Unreachable("no answer in time".to_owned()))) {
                Ok(link) => match tokio::time::timeout(session::GREETING, receive(link)).await {
                    Ok(Ok(enrolled)) if proof::is_proof(&enrolled.proof, &claim.nonce, &enrolment.keys) => {
                        return Ok(enrolled);
                    }
                    Ok(Ok(_)) => say("who answered does not hold the launcher's key: hung up"),
                    Ok(Err(_)) | Err(_) => {}
                },
                Err(Refused::Never) => {
                    return Err(io::Error::other(
                        "the launcher does not take this secret: it was used before, or a newer attempt has its own",
                    ));
                }
                Err(Refused::Over) => return Err(io::Error::other("the session is over")),
                Err(Refused::Later(after)) => wait = wait.max(after),
                Err(Refused::Unreachable(why)) => words.push(format!("{address}: {why}")),
            }
        }
        if !words.is_empty() {
            said.unreached(words.join("; "));
        }
        tokio::time::sleep(wait).await;
        next = (next * 2).min(MOST);
    }
}

async fn receive(link: dial::Link) -> Result<Enrolled, FrameError> {
    let mut acceptor = session::acceptor(link);
    let (mut reader, _writer) = session::control(&mut acceptor).await?;
    match reader.recv_json::<LauncherSays>().await? {
        LauncherSays::Enrolled(enrolled) => Ok(*enrolled),
        _ => Err(FrameError::Bad("not what a secret is given for")),
    }
}
