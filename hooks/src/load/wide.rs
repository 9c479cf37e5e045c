//! What a docker template's `[config]` allows beyond the least, for the check to point at.
//!
//! Nothing of it is an error: the administrator may want it, and has to see what it means.

use wharf_protocol::template::{Finding, Severity};

use super::node::{Kind, Node};

/// Says where a container may do more than it has to, and names of the wrong type.
pub(super) fn check(config: &Node, out: &mut Vec<Finding>) {
    let Kind::Table(members) = &config.kind else { return };
    let mut warn =
        |node: &Node, message: String| out.push(node.at.finding(Severity::Warning, "wide", message));
    for (name, means) in [
        ("privileged", "whoever may start a session of this template is root on the engine's host"),
        ("host_network", "sessions may join the host's own network, and reach what listens on its loopback"),
        ("new_privileges", "programs in a session may gain rights, by set-user-id for instance"),
    ] {
        if let Some((_, node)) = members.get(name)
            && !matches!(node.kind, Kind::Bool(false))
        {
            warn(node, format!("`{name}`: {means}"));
        }
    }
    if let Some((_, node)) = members.get("capabilities")
        && let Kind::Array(kept) = &node.kind
        && !kept.is_empty()
    {
        warn(
            node,
            "`capabilities`: sessions keep rights of root, within what each of these gives".to_owned(),
        );
    }
    let Some((_, Node { kind: Kind::Table(mounts), .. })) = members.get("mounts") else { return };
    for (name, (_, mount)) in mounts {
        let Kind::Table(mount) = &mount.kind else { continue };
        if let Some((_, node)) = mount.get("read_only")
            && matches!(node.kind, Kind::Bool(false))
        {
            warn(node, format!("the mount `{name}` can be written to by every session that asks for it"));
        }
        if let Some((_, node)) = mount.get("source")
            && let Kind::String(source) = &node.kind
            && (source.ends_with(".sock") || source == "/")
        {
            warn(node, format!("the mount `{name}` gives sessions the host itself"));
        }
    }
}
