//! Which backends there are, by the configuration: for launchers and for the bench alike.

use std::path::PathBuf;
use std::sync::Arc;

use wharf_backends::docker::{Address, Docker, Source, Tls};
use wharf_backends::shell::Shell;
use wharf_backends::slurm::{Cluster, Slurm};
use wharf_core::backend::Backend;

use crate::config::{self, Backends};

/// All of them. A bench has no monitor and no sessions to bring to other hosts: it names no source.
pub(crate) fn all(config: &Backends, source: Option<&Source>) -> Vec<Arc<dyn Backend>> {
    let mut all: Vec<Arc<dyn Backend>> = vec![Arc::new(Shell)];
    all.extend(docker(config, source));
    all.extend(slurm(config));
    all
}

/// Every cluster under its name, and one that serves templates which name none: the first of them, else what the
/// launcher's own surroundings say.
fn slurm(config: &Backends) -> Vec<Arc<dyn Backend>> {
    let text = |path: &PathBuf| path.display().to_string();
    let cluster = |config: &crate::config::Slurm| Cluster {
        conf: (!config.conf.as_os_str().is_empty()).then(|| text(&config.conf)),
        path: config.path.iter().map(text).collect(),
        rest: config.rest.0.clone(),
    };
    let usual = config.slurm.values().next().map_or_else(
        || Cluster {
            conf: std::env::var("SLURM_CONF").ok().filter(|conf| !conf.is_empty()),
            ..Cluster::default()
        },
        cluster,
    );
    let mut backends: Vec<Arc<dyn Backend>> = vec![Arc::new(Slurm::new("slurm", usual))];
    for (name, one) in &config.slurm {
        backends.push(Arc::new(Slurm::new(format!("slurm/{name}"), cluster(one))));
    }
    backends
}

/// Every engine under its name; without any, the one that every client of Docker would use.
fn docker(config: &Backends, source: Option<&Source>) -> Vec<Arc<dyn Backend>> {
    if config.docker.is_empty() {
        return vec![Arc::new(Docker::new("docker", Address::standard(), source.cloned()))];
    }
    let backend = |(name, engine): (&String, &config::Docker)| -> Arc<dyn Backend> {
        Arc::new(Docker::new(format!("docker/{name}"), address(name, engine), source.cloned()))
    };
    config.docker.iter().map(backend).collect()
}

fn address(name: &str, engine: &config::Docker) -> Address {
    let node = Some(engine.nodes.first().map_or_else(|| name.to_owned(), Clone::clone));
    if engine.host.is_empty() {
        return Address { node, upload: engine.upload, ..Address::standard() };
    }
    let tls = (!engine.tls_cert.as_os_str().is_empty()).then(|| Tls {
        ca: engine.tls_ca.clone(),
        cert: engine.tls_cert.clone(),
        key: engine.tls_key.clone(),
    });
    Address { host: engine.host.clone(), tls, upload: engine.upload, node }
}
