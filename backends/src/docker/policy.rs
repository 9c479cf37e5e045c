//! What a template's `[config]` allows: images, networks, mounts, and anything wider than the default.
//!
//! Users and scripts choose among what stands there; nothing that they say is believed beyond it.

use std::collections::BTreeMap;

use bollard::models::{Mount, MountType};
use serde::Deserialize;
use wharf_core::backend::{HostContext, HostError};
use wharf_core::hook::HookErrorKind;

/// The members of `[config]` that this backend knows; others are the site's own.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Policy {
    /// Patterns of images, `*` for any text; none given: any image.
    images: Vec<String>,
    /// Networks that may be joined; none given: any but the host's own and those of other containers.
    networks: Vec<String>,
    /// Directories of the host that a session may ask for by name.
    mounts: BTreeMap<String, Declared>,
    /// Capabilities that are kept; all others are dropped.
    pub(super) capabilities: Vec<String>,
    /// All of the host.
    pub(super) privileged: bool,
    /// The host's own network may be joined.
    host_network: bool,
    /// Programs may gain rights, by set-user-id for instance.
    pub(super) new_privileges: bool,
}

/// One `[config.mounts.NAME]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    source: String,
    target: String,
    #[serde(default = "yes")]
    read_only: bool,
    /// Mounted without being asked for.
    #[serde(default)]
    always: bool,
}

fn yes() -> bool {
    true
}

fn denied(message: String) -> HostError {
    HostError::new(HookErrorKind::Denied, message)
}

impl Policy {
    /// Of the template that calls.
    pub(super) fn of(context: &HostContext) -> Result<Self, HostError> {
        if context.config.is_null() {
            return Ok(Self::default());
        }
        serde_json::from_value(context.config.clone()).map_err(|error| {
            HostError::new(HookErrorKind::Misconfigured, format!("[config] of the template: {error}"))
        })
    }

    /// Whether that image may run.
    pub(super) fn check_image(&self, image: &str) -> Result<(), HostError> {
        if image.is_empty() || image.chars().any(|sign| sign.is_whitespace() || sign.is_control()) {
            return Err(HostError::new(HookErrorKind::Invalid, "this is no name of an image"));
        }
        if self.images.is_empty() {
            return Ok(());
        }
        for pattern in &self.images {
            let pattern = format!("^{}$", regex::escape(pattern).replace("\\*", ".*"));
            let pattern = regex::Regex::new(&pattern).map_err(|error| {
                HostError::new(HookErrorKind::Misconfigured, format!("[config] images: {error}"))
            })?;
            if pattern.is_match(image) {
                return Ok(());
            }
        }
        let allowed = self.images.join(", ");
        Err(denied(format!("the image {image} is not among those that may run here: {allowed}")))
    }

    /// Whether that network may be joined.
    pub(super) fn check_network(&self, network: &str) -> Result<(), HostError> {
        let foreign = network.contains([':', '/']) || network.chars().any(char::is_whitespace);
        let host = network == "host";
        let listed = self.networks.iter().any(|one| one == network);
        let allowed = if host { self.host_network } else { !foreign && (self.networks.is_empty() || listed) };
        if allowed { Ok(()) } else { Err(denied(format!("the network {network} may not be joined"))) }
    }

    /// The declared mounts of those names, and those that always are.
    pub(super) fn mounts(&self, names: &[String]) -> Result<Vec<Mount>, HostError> {
        if let Some(unknown) = names.iter().find(|name| !self.mounts.contains_key(*name)) {
            let there: Vec<&str> = self.mounts.keys().map(String::as_str).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            return Err(denied(format!("there is no mount {unknown:?} here; declared are: {there}")));
        }
        let wanted = |(name, mount): &(&String, &Declared)| mount.always || names.contains(name);
        Ok(self
            .mounts
            .iter()
            .filter(wanted)
            .map(|(_, mount)| bind(&mount.source, &mount.target, mount.read_only))
            .collect())
    }
}

/// A directory or file of the host in the container; it has to be there.
pub(super) fn bind(source: &str, target: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        ..Mount::default()
    }
}
