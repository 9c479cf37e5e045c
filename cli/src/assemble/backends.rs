//! Which backends there are, by the configuration: for launchers and for the bench alike.

use std::path::PathBuf;
use std::sync::Arc;

use wharf_backends::shell::Shell;
use wharf_backends::slurm::{Cluster, Slurm};
use wharf_core::backend::Backend;

use crate::config::Backends;

/// All of them.
pub(crate) fn all(config: &Backends) -> Vec<Arc<dyn Backend>> {
    let mut all: Vec<Arc<dyn Backend>> = vec![Arc::new(Shell)];
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
    };
    let usual = config.slurm.values().next().map_or_else(
        || Cluster {
            conf: std::env::var("SLURM_CONF").ok().filter(|conf| !conf.is_empty()),
            path: Vec::new(),
        },
        cluster,
    );
    let mut backends: Vec<Arc<dyn Backend>> = vec![Arc::new(Slurm::new("slurm", usual))];
    for (name, one) in &config.slurm {
        backends.push(Arc::new(Slurm::new(format!("slurm/{name}"), cluster(one))));
    }
    backends
}
