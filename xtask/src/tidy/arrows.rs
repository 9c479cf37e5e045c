//! Who may depend on whom.
//!
//! ```text
//! protocol ◀── core ◀── backends, hooks, store, server ◀── cli
//! protocol ◀── link ◀── server, monitor, cli
//! ```
//!
//! The four in the middle do not know each other, and the monitor knows nothing of core. Tests of a crate keep to
//! the same arrows. A new crate needs a line here, and a reason.

use std::path::Path;

use anyhow::Context as _;
use cargo_metadata::Metadata;

use super::{Fault, below, line_of};

/// Each crate with the crates of the workspace that it may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("wharf-protocol", &[]),
    ("wharf-core", &["wharf-protocol"]),
    ("wharf-link", &["wharf-protocol"]),
    ("wharf-backends", &["wharf-core", "wharf-protocol"]),
    ("wharf-hooks", &["wharf-core", "wharf-protocol"]),
    ("wharf-store", &["wharf-core", "wharf-protocol"]),
    ("wharf-server", &["wharf-core", "wharf-link", "wharf-protocol"]),
    ("wharf-monitor", &["wharf-link", "wharf-protocol"]),
    (
        "wharf",
        &[
            "wharf-backends",
            "wharf-core",
            "wharf-hooks",
            "wharf-link",
            "wharf-protocol",
            "wharf-server",
            "wharf-store",
        ],
    ),
    // They know the product by its doors: the words on the wire and the built programs.
    ("wharf-tests", &["wharf-protocol"]),
    ("xtask", &["wharf-protocol"]),
];

/// What a member uses of the workspace.
pub(super) struct Member<'a> {
    pub(super) name: &'a str,
    pub(super) manifest: &'a str,
    pub(super) text: &'a str,
    pub(super) uses: Vec<&'a str>,
}

pub(super) fn check(metadata: &Metadata, root: &Path) -> anyhow::Result<Vec<Fault>> {
    let members = metadata.workspace_packages();
    let mut faults = Vec::new();
    for package in &members {
        let path = package.manifest_path.as_std_path();
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let manifest = below(root, path);
        let uses = package
            .dependencies
            .iter()
            .map(|dependency| dependency.name.as_str())
            .filter(|name| *name != package.name.as_str())
            .filter(|name| members.iter().any(|member| member.name.as_str() == *name))
            .collect();
        let member = Member { name: package.name.as_str(), manifest: &manifest, text: &text, uses };
        faults.extend(judge(&member));
    }
    Ok(faults)
}

pub(super) fn judge(member: &Member<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let fault =
        |part: &str, message: String| Fault::new(member.manifest, line_of(member.text, part), message);
    match ARROWS.iter().find(|(name, _)| *name == member.name) {
        None => faults.push(fault("name =", format!("no arrow is drawn for the crate {}", member.name))),
        Some((_, allowed)) => {
            for name in member.uses.iter().filter(|name| !allowed.contains(name)) {
                faults.push(fault(name, format!("{} must not know {name}", member.name)));
            }
        }
    }
    let lints = member.text.split("[lints]").nth(1).is_some_and(|rest| {
        rest.lines().map(str::trim).find(|line| !line.is_empty()) == Some("workspace = true")
    });
    if !lints {
        faults.push(fault(
            "[lints]",
            "the workspace's lints are not taken: [lints] workspace = true".to_owned(),
        ));
    }
    faults
}
