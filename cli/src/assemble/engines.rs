//! The backends there are. Docker's engines are those of the configuration, else the one that every client would use.

use std::sync::Arc;

use wharf_backends::docker::{Address, Docker, Tls};
use wharf_backends::shell::Shell;
use wharf_core::backend::Backend;

use crate::config;

/// All of them.
pub(crate) fn backends(config: &config::Backends) -> Vec<Arc<dyn Backend>> {
    let mut backends: Vec<Arc<dyn Backend>> = vec![Arc::new(Shell)];
    backends.extend(docker(config));
    backends
}

/// One backend for each engine.
fn docker(config: &config::Backends) -> Vec<Arc<dyn Backend>> {
    if config.docker.is_empty() {
        return vec![Arc::new(Docker::new("docker", Address::standard()))];
    }
    let backend = |(name, engine): (&String, &config::Docker)| -> Arc<dyn Backend> {
        Arc::new(Docker::new(format!("docker/{name}"), address(engine)))
    };
    config.docker.iter().map(backend).collect()
}

fn address(engine: &config::Docker) -> Address {
    if engine.host.is_empty() {
        return Address::standard();
    }
    let tls = (!engine.tls_cert.as_os_str().is_empty()).then(|| Tls {
        ca: engine.tls_ca.clone(),
        cert: engine.tls_cert.clone(),
        key: engine.tls_key.clone(),
    });
    Address { host: engine.host.clone(), tls }
}
