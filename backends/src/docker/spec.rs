//! What a session's container is: the monitor in front, and as little else as can be.
//!
//! ```text
//! /run/wharf/               a small tmpfs, writable for every user of the image
//!   bin/wharf-monitor   ◀── DATA/monitor/HASH/wharf-monitor        read-only
//!   session/            ◀── DATA/sessions/ID/mount                 read-only: bootstrap and addresses
//!   link/               ◀── DATA/run/monitor                       read-only: the directory of the socket
//! ```
//!
//! The directory of the socket is mounted, not the socket: a launcher that is started again makes a new one in it. So
//! the link needs no network, and the launcher may come and go. An engine that does not see these directories gets the
//! first two by [`upload`](super::upload), and the container links by URL.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, Mount, RestartPolicy, RestartPolicyNameEnum,
};
use wharf_core::backend::HostError;
use wharf_core::hook::HookErrorKind;

use super::arguments::{Create, Monitor};
use super::policy::{Policy, bind};
use super::upload;

/// The label that makes a container a session's.
pub(super) const LABEL: &str = "io.wharf.session";
/// Bytes that the container was promised, told by one list call for all of them.
pub(super) const MEMORY: &str = "io.wharf.memory";
/// Where all that is ours lies in a container.
pub(super) const PLACE: &str = "/run/wharf";
/// Where containers find the launcher's socket, as it stands in the addresses of every session.
pub const SOCKET: &str = "/run/wharf/link/sock";
/// Least memory that an engine takes.
const LEAST_MEMORY: i64 = 6 << 20;

fn wrong(message: impl Into<String>) -> HostError {
    HostError::new(HookErrorKind::Invalid, message)
}

/// The directory of the launcher's socket, from the session's addresses.
fn link_dir(session_dir: &str) -> Result<String, HostError> {
    let file = Path::new(session_dir).join("mount/addresses");
    let text = std::fs::read_to_string(&file).map_err(|error| {
        HostError::new(HookErrorKind::Misconfigured, format!("{}: {error}", file.display()))
    })?;
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("unix:"))
        .find(|path| *path != SOCKET)
        .and_then(|path| Path::new(path).parent()?.to_str())
        .map(str::to_owned)
        .ok_or_else(|| HostError::new(HookErrorKind::Misconfigured, "the launcher has no local socket"))
}

/// What a container gets of the launcher's own directories.
fn launcher_mounts(monitor: &Monitor) -> Result<Vec<Mount>, HostError> {
    let program = monitor.argv.first().ok_or_else(|| wrong("monitor has to be the request's monitor"))?;
    Ok(vec![
        bind(program, &format!("{PLACE}/bin/wharf-monitor"), true),
        bind(&format!("{}/mount", monitor.dir), &format!("{PLACE}/session"), true),
        bind(&link_dir(&monitor.dir)?, &format!("{PLACE}/link"), true),
    ])
}

/// The whole description for the engine; `uploads` when it does not see the launcher's directories.
pub(super) fn body(
    create: &Create,
    policy: &Policy,
    uploads: bool,
) -> Result<ContainerCreateBody, HostError> {
    policy.check_image(&create.image)?;
    let network = create.network.as_deref().unwrap_or("none");
    policy.check_network(network)?;
    let monitor = &create.monitor;
    let mut mounts = if uploads {
        upload::check_addresses(Path::new(&monitor.dir))?;
        Vec::new()
    } else {
        launcher_mounts(monitor)?
    };
    mounts.extend(policy.mounts(&create.mounts)?);
    if create.memory.is_some_and(|memory| memory < LEAST_MEMORY) {
        return Err(wrong("memory has to be 6MiB or more"));
    }
    let cpus = create.cpus.unwrap_or(0.0);
    if !(0.0..=4096.0).contains(&cpus) {
        return Err(wrong("cpus has to be a number of processors"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked to be small")]
    let nano_cpus = (cpus * 1e9).round() as i64;
    let env = monitor.env.iter().chain(&create.env).map(|(name, value)| format!("{name}={value}"));
    let env = env.chain([format!("WHARF_JOB_ID={}", create.id)]);
    let mut labels: HashMap<String, String> = create.labels.clone().into_iter().collect();
    labels.insert(LABEL.to_owned(), create.id.to_string());
    // Said in any case: an image has labels too.
    labels.insert(MEMORY.to_owned(), create.memory.unwrap_or(0).to_string());
    let tmpfs = HashMap::from([(PLACE.to_owned(), "rw,nosuid,nodev,noexec,mode=1777,size=1m".to_owned())]);
    let host = HostConfig {
        mounts: Some(mounts),
        // It would hide what is uploaded.
        tmpfs: (!uploads).then_some(tmpfs),
        memory: create.memory,
        // The same as the memory: none beyond it.
        memory_swap: create.memory,
        nano_cpus: Some(nano_cpus).filter(|nano| *nano > 0),
        pids_limit: create.pids.filter(|pids| *pids > 0),
        shm_size: create.shm,
        network_mode: Some(network.to_owned()),
        privileged: Some(policy.privileged),
        cap_drop: (!policy.privileged).then(|| vec!["ALL".to_owned()]),
        cap_add: (!policy.capabilities.is_empty()).then(|| policy.capabilities.clone()),
        security_opt: (!policy.new_privileges).then(|| vec!["no-new-privileges".to_owned()]),
        // The monitor is the first process and reaps.
        init: Some(false),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        ..HostConfig::default()
    };
    Ok(ContainerCreateBody {
        image: Some(create.image.clone()),
        entrypoint: Some(vec![format!("{PLACE}/bin/wharf-monitor")]),
        cmd: Some(vec![
            "run".to_owned(),
            "--bootstrap".to_owned(),
            format!("{PLACE}/session/bootstrap.json"),
        ]),
        env: Some(env.collect()),
        labels: Some(labels),
        user: create.user.clone(),
        hostname: create.hostname.clone(),
        // Both are the image's words about its own command, which does not run here.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        stop_signal: Some("SIGTERM".to_owned()),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    })
}
