//! A real Grid Engine on this host, one for all tests of a run: see [`crate::site`].

use rustix::fs::FlockOperation;

use crate::Template;
use crate::site::{Site, run_script, script};

/// Grid Engine, while a test uses it.
#[derive(Debug)]
pub struct GridEngine {
    _site: Site,
}

impl GridEngine {
    /// Together with other tests.
    #[track_caller]
    pub fn shared() -> Self {
        let site = Site::open(
            "gridengine",
            FlockOperation::LockShared,
            |base| run_script(&[script("gridengine/up").as_os_str()], &base.join("up.log")),
            |_| vec![script("gridengine/down").into()],
        );
        Self { _site: site }
    }

    /// A template that extends the shipped one for this host: `more` are further lines of it.
    pub fn template(&self, name: &str, more: &str) -> Template {
        Template::new(name).toml(&format!(
            "api = 1\nextends = \"gridengine\"\n{more}\n[timeouts]\npoll = \"1s\"\nsettle = \"6s\"\n\
             [hooks]\nenv = {{ SGE_ROOT = \"/var/lib/gridengine\", SGE_CELL = \"default\" }}\n"
        ))
    }
}
