//! What a docker template's `[config]` allows beyond the least, for the check to point at; and what of it the backend
//! could not read at a start.
//!
//! Wide is no error: the administrator may want it, and has to see what it means.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use wharf_protocol::template::{Finding, Severity};

use super::node::{At, Kind, Node};

/// What is allowed by one word, and what that means.
const SWITCHES: [(&str, &str); 3] = [
    ("privileged", "whoever may start a session of this template is root on the engine's host"),
    ("host_network", "sessions may join the host's own network, and reach what listens on its loopback"),
    ("new_privileges", "programs in a session may gain rights, by set-user-id for instance"),
];
/// Capabilities that reach beyond a container's namespaces: to the kernel, to all files or to the clock of its host.
const BEYOND: [&str; 13] = [
    "ALL",
    "AUDIT_CONTROL",
    "BPF",
    "DAC_READ_SEARCH",
    "MAC_ADMIN",
    "PERFMON",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_MODULE",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_TIME",
];
/// Words that people know from engines and their clients, and that mean nothing to the backend.
const FOREIGN: [&str; 22] = [
    "binds",
    "cap_add",
    "cap_drop",
    "cgroup_parent",
    "cgroupns_mode",
    "device_requests",
    "devices",
    "gpus",
    "ipc",
    "ipc_mode",
    "network_mode",
    "pid",
    "pid_mode",
    "ports",
    "runtime",
    "security_opt",
    "sysctls",
    "ulimits",
    "userns",
    "userns_mode",
    "uts_mode",
    "volumes",
];
/// Places of the host with which, or with anything below which, a session has a hold on it.
const HOLDS: [&str; 9] =
    ["/boot", "/dev", "/proc", "/root", "/run", "/sys", "/var/lib/containerd", "/var/lib/docker", "/var/run"];
/// Others that nobody mounts as a whole without giving away what is in them.
const WHOLE: [&str; 2] = ["/etc", "/home"];
/// Where the monitor lies in a container.
const PLACE: &str = "/run/wharf";

/// Says where a container may do more than it has to, and what is of the wrong type.
pub(super) fn check(config: &Node, out: &mut Vec<Finding>) {
    let Kind::Table(members) = &config.kind else { return };
    for (name, means) in SWITCHES {
        if let Some((_, node)) = members.get(name) {
            match node.kind {
                Kind::Bool(true) => out.push(wide(node, format!("`{name}`: {means}"))),
                Kind::Bool(false) => {}
                _ => out.push(wrong(node, name, "true or false")),
            }
        }
    }
    for name in FOREIGN {
        if let Some((at, _)) = members.get(name) {
            let message = format!(
                "`{name}` is no setting of the docker backend: only what a hook makes of it counts, and can be wide"
            );
            out.push(at.finding(Severity::Warning, "wide", message));
        }
    }
    texts(members, "images", out);
    if let Some((_, node)) = members.get("pull")
        && !matches!(&node.kind, Kind::String(when) if ["missing", "always", "never"].contains(&when.as_str()))
    {
        out.push(wrong(node, "pull", "\"missing\", \"always\" or \"never\""));
    }
    let joins_host =
        members.get("host_network").is_some_and(|(_, node)| matches!(node.kind, Kind::Bool(true)));
    for (node, name) in texts(members, "networks", out) {
        if name == "host" && !joins_host {
            let message = "`networks`: the host's own network is joined only with `host_network = true`";
            out.push(node.at.finding(Severity::Warning, "no_effect", message));
        }
    }
    for (node, name) in texts(members, "capabilities", out) {
        let upper = name.to_ascii_uppercase();
        let means = if BEYOND.contains(&upper.trim_start_matches("CAP_")) {
            "reaches beyond the container, to the engine's host"
        } else {
            "is a right of root within the container"
        };
        out.push(wide(node, format!("`capabilities`: sessions keep {name}, which {means}")));
    }
    match members.get("mounts") {
        Some((_, Node { kind: Kind::Table(mounts), .. })) => {
            for (name, (_, node)) in mounts {
                mount(name, node, out);
            }
        }
        Some((_, node)) => out.push(wrong(node, "mounts", "tables [config.mounts.NAME]")),
        None => {}
    }
}

fn wide(node: &Node, message: String) -> Finding {
    node.at.finding(Severity::Warning, "wide", message)
}

fn wrong(node: &Node, name: &str, wanted: &str) -> Finding {
    node.at.error("type", format!("`{name}` of [config] has to be {wanted}, not {}", node.word()))
}

/// The texts of a list.
fn texts<'a>(
    members: &'a BTreeMap<String, (At, Node)>,
    name: &str,
    out: &mut Vec<Finding>,
) -> Vec<(&'a Node, &'a str)> {
    let Some((_, node)) = members.get(name) else { return Vec::new() };
    let Kind::Array(items) = &node.kind else {
        out.push(wrong(node, name, "a list of texts"));
        return Vec::new();
    };
    let mut read = Vec::new();
    for item in items {
        match &item.kind {
            Kind::String(text) => read.push((item, text.as_str())),
            _ => out.push(wrong(item, name, "a list of texts")),
        }
    }
    read
}

/// One `[config.mounts.NAME]`.
fn mount(name: &str, node: &Node, out: &mut Vec<Finding>) {
    let called = format!("mounts.{name}");
    let Kind::Table(members) = &node.kind else { return out.push(wrong(node, &called, "a table")) };
    let mut always = false;
    for (key, (at, node)) in members {
        match (key.as_str(), &node.kind) {
            ("source" | "target", Kind::String(path)) if !path.starts_with('/') => {
                out.push(node.at.error("path", format!("`{called}.{key}` has to be an absolute path")));
            }
            ("target", Kind::String(path)) if is_taken(path) => {
                let message = format!("`{called}.target`: what Wharf needs in a container lies at {PLACE}");
                out.push(node.at.error("path", message));
            }
            ("source" | "target", Kind::String(_)) | ("read_only", Kind::Bool(_)) => {}
            ("always", Kind::Bool(value)) => always = *value,
            ("source" | "target", _) => out.push(wrong(node, &format!("{called}.{key}"), "a path")),
            ("read_only" | "always", _) => {
                out.push(wrong(node, &format!("{called}.{key}"), "true or false"));
            }
            _ => out.push(
                at.error("unknown", format!("a mount has source, target, read_only and always; not `{key}`")),
            ),
        }
    }
    for key in ["source", "target"] {
        if !members.contains_key(key) {
            out.push(node.at.error("missing", format!("[config.{called}] needs `{key}`")));
        }
    }
    if let Some((_, node)) = members.get("read_only")
        && matches!(node.kind, Kind::Bool(false))
    {
        let who = if always { "every session" } else { "every session that asks for it" };
        out.push(wide(node, format!("the mount `{name}` can be written to by {who}")));
    }
    if let Some((_, node)) = members.get("source")
        && let Kind::String(source) = &node.kind
        && let Some(means) = of_the_host(source)
    {
        out.push(wide(node, format!("the mount `{name}` gives sessions {means}")));
    }
}

fn is_taken(target: &str) -> bool {
    let target = plain(target);
    target.starts_with(PLACE) || Path::new(PLACE).starts_with(&target) && target != Path::new("/run")
}

/// What a session has a hold on by this directory or file of the host.
fn of_the_host(source: &str) -> Option<&'static str> {
    let source = plain(source);
    let socket = source.extension().is_some_and(|end| end == "sock" || end == "socket");
    let above = |place: &&str| Path::new(place).starts_with(&source);
    let below = |place: &&str| source.starts_with(place);
    if socket || source == Path::new("/") {
        Some("the host itself")
    } else if source.starts_with("/dev") {
        Some("devices of the host")
    } else if HOLDS.iter().any(|place| above(place) || below(place)) || WHOLE.iter().any(above) {
        Some("what is the host's own")
    } else {
        None
    }
}

/// A path without what does not matter in it.
fn plain(path: &str) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::Normal(name) => plain.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    plain
}
