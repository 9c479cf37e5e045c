//! What a container needs of the launcher where its engine does not see the launcher's directories: the monitor and the
//! session's files, written into the container between create and start.
//!
//! ```text
//! /run/wharf/           every user of the image may write here
//!   bin/wharf-monitor
//!   session/            bootstrap and addresses: copies, so only addresses that stay good are among them
//! ```
//!
//! It can be done twice: a launcher that died between create and start does it again. What is brought is found by the
//! session's id below the launcher's own directory, never by what the engine says of the container.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use bollard::body_full;
use bollard::query_parameters::UploadToContainerOptions;
use wharf_core::backend::HostError;
use wharf_core::hook::HookErrorKind;
use wharf_protocol::SessionId;

use super::engine::Engine;
use super::spec::PLACE;

/// Where the launcher keeps what is brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The monitor program.
    pub monitor: PathBuf,
    /// Monitors for hosts of other architectures, by Rust's names of those (`aarch64`).
    pub others: BTreeMap<String, PathBuf>,
    /// The directory of the sessions' directories.
    pub sessions: PathBuf,
}

impl Source {
    /// The monitor that a host runs whose engine says this of it; an engine that says nothing is taken for our like.
    fn for_host(&self, told: Option<&str>) -> Result<PathBuf, HostError> {
        let Some(told) = told else { return Ok(self.monitor.clone()) };
        // In Go's words.
        let name = match told {
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            "386" => "x86",
            "ppc64le" => "powerpc64",
            other => other,
        };
        if name == std::env::consts::ARCH {
            return Ok(self.monitor.clone());
        }
        self.others.get(name).cloned().ok_or_else(|| {
            HostError::new(
                HookErrorKind::Misconfigured,
                format!(
                    "the engine's host is of the architecture {name}, the launcher has a monitor for {} only: name one \
                     in [monitor] path.{name} of wharf.toml",
                    std::env::consts::ARCH
                ),
            )
        })
    }
}

/// Writes all of it into a container that has not started.
pub(super) async fn bring(engine: &Engine, session: &SessionId, container: &str) -> Result<(), HostError> {
    let source = engine.source.clone().ok_or_else(|| {
        HostError::new(HookErrorKind::Misconfigured, "only a launcher can upload a monitor, and this is none")
    })?;
    let dir = source.sessions.join(session.as_str());
    let monitor = source.for_host(engine.architecture().await?.as_deref())?;
    let archive = tokio::task::spawn_blocking(move || archive(&monitor, &dir)).await;
    let archive = archive.map_err(io::Error::other).flatten().map_err(|error| {
        HostError::new(HookErrorKind::Misconfigured, format!("the monitor cannot be packed: {error}"))
    })?;
    let options = UploadToContainerOptions { path: "/".to_owned(), ..Default::default() };
    let client = engine.client().await?;
    client
        .upload_to_container(container, Some(options), body_full(archive.into()))
        .await
        .map_err(|error| engine.told("the monitor cannot be uploaded", error))
}

fn archive(monitor: &Path, dir: &Path) -> io::Result<Vec<u8>> {
    let place = Path::new(PLACE.trim_start_matches('/'));
    let program = std::fs::read(monitor)?;
    let bootstrap = std::fs::read(dir.join("mount/bootstrap.json"))?;
    let addresses = addresses(dir)?.join("\n") + "\n";
    let mut archive = tar::Builder::new(Vec::with_capacity(program.len() + bootstrap.len() + (16 << 10)));
    for (name, mode) in [("", 0o1777), ("bin", 0o755), ("session", 0o755)] {
        let mut head = head(tar::EntryType::Directory, mode, 0);
        archive.append_data(&mut head, place.join(name), io::empty())?;
    }
    for (name, mode, content) in [
        ("bin/wharf-monitor", 0o755, program.as_slice()),
        // Whoever the image's user is has to read it; nobody else is in there.
        ("session/bootstrap.json", 0o644, &bootstrap),
        ("session/addresses", 0o644, addresses.as_bytes()),
    ] {
        let mut head = head(tar::EntryType::Regular, mode, content.len());
        archive.append_data(&mut head, place.join(name), content)?;
    }
    archive.into_inner()
}

fn head(kind: tar::EntryType, mode: u32, size: usize) -> tar::Header {
    let mut head = tar::Header::new_ustar();
    head.set_entry_type(kind);
    head.set_mode(mode);
    head.set_uid(0);
    head.set_gid(0);
    head.set_mtime(0);
    head.set_size(u64::try_from(size).unwrap_or(u64::MAX));
    head
}

/// The launcher's addresses that are good on another host.
fn addresses(dir: &Path) -> io::Result<Vec<String>> {
    let text = std::fs::read_to_string(dir.join("mount/addresses"))?;
    Ok(text.lines().map(str::trim).filter(|line| is_reachable(line)).map(str::to_owned).collect())
}

fn is_reachable(address: &str) -> bool {
    let Some((_, rest)) = address.split_once("://").filter(|(scheme, _)| scheme.starts_with("http")) else {
        return false;
    };
    let place = rest.split('/').next().unwrap_or(rest);
    let host = match place.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => place.split(':').next().unwrap_or(place),
    };
    let nowhere = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    host != "localhost" && !host.parse().is_ok_and(nowhere)
}

/// Whether a container on another host could find the launcher.
pub(super) fn check_addresses(dir: &Path) -> Result<(), HostError> {
    let told = |message: String| HostError::new(HookErrorKind::Misconfigured, message);
    let found = addresses(dir).map_err(|error| told(format!("the session's addresses: {error}")))?;
    if found.is_empty() {
        return Err(told(
            "the engine is on another host, and the launcher has no address that is good there: \
             name one in [monitor] advertise of wharf.toml"
                .to_owned(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
