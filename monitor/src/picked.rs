//! Places of endpoints that their template leaves to us: free ports, and Unix sockets in a directory of the session's own.
//!
//! A socket is what others on the host cannot reach. Its directory is made here and nowhere else: a name below `/tmp` that
//! somebody else could have made before would be theirs.

mod port;

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use wharf_protocol::api::EndpointKind;
use wharf_protocol::monitor::{Bootstrap, EndpointDeclared};

/// Where endpoints are.
#[derive(Debug)]
pub(crate) struct Picked {
    /// All of them, with a place each.
    pub(crate) endpoints: Vec<EndpointDeclared>,
    /// What tells the command of the picked ones.
    pub(crate) variables: Vec<(String, String)>,
    /// Ours as long as the session lasts.
    ports: Vec<port::Claimed>,
    directory: Option<PathBuf>,
}

impl Picked {
    /// Picks.
    pub(crate) fn new(bootstrap: &Bootstrap) -> io::Result<Self> {
        let mut picked = Self {
            endpoints: bootstrap.endpoints.clone(),
            variables: Vec::new(),
            ports: Vec::new(),
            directory: None,
        };
        for endpoint in &mut picked.endpoints {
            let name = endpoint.name.to_ascii_uppercase().replace('-', "_");
            if endpoint.port == Some(0) {
                let claimed = port::pick()?;
                let port = claimed.port;
                picked.ports.push(claimed);
                endpoint.port = Some(port);
                picked.variables.push((format!("WHARF_PORT_{name}"), port.to_string()));
            }
            if endpoint.kind == EndpointKind::Http {
                // Where a browser finds it when it shares an origin with others.
                let prefix = format!("/s/{}/{}", bootstrap.session, endpoint.name);
                picked.variables.push((format!("WHARF_PREFIX_{name}"), prefix));
            }
            let Some(socket) = &mut endpoint.socket else { continue };
            if !socket.starts_with('/') {
                let directory = match picked.directory.take() {
                    Some(directory) => directory,
                    None => make()?,
                };
                let path = directory.join(Path::new(socket).file_name().unwrap_or("socket".as_ref()));
                picked.directory = Some(directory);
                *socket = path.display().to_string();
            }
            picked.variables.push((format!("WHARF_SOCKET_{name}"), socket.clone()));
        }
        Ok(picked)
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        if let Some(directory) = &self.directory {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

/// A new directory that nobody else can look into.
pub(crate) fn make() -> io::Result<PathBuf> {
    let mut random = [0; 9];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let name = format!("wharf-{}", wharf_protocol::signed::encode(&random));
    // A socket address holds 107 bytes: a long TMPDIR is of no use.
    let below = ["XDG_RUNTIME_DIR", "TMPDIR"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for below in below.filter(|below| below.as_os_str().len() <= 40).chain([PathBuf::from("/tmp")]) {
        let directory = below.join(&name);
        match std::fs::DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => return Ok(directory),
            Err(error) => failed = error,
        }
    }
    Err(io::Error::new(failed.kind(), format!("no directory for sockets can be made: {failed}")))
}
