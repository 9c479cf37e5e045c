//! `doctor`: looks for what keeps a launcher from working here, and says what to do.
//!
//! Looks only: it leaves nothing behind, changes nothing and needs no launcher. Findings are `ok`, `warn` (it works, but) and
//! `fail` (it does not); any `fail` gives exit code 6.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use wharf_protocol::template::TemplateState;

use super::Context;
use crate::args::Format;
use crate::assemble::places::{MONITOR, check_monitor};
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::output::escape;
use crate::{config, paths};

/// Less room than this on the data directory's file system is worth a word.
const ROOM: u64 = 256 << 20;
/// Fewer open files than this run out with a few hundred sessions.
const FILES: u64 = 1024;
/// What a finding gives when something fails.
const FAILED: u8 = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Ok,
    Warn,
    Fail,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    what: &'static str,
    level: Level,
    detail: String,
    hint: Option<String>,
}

impl Finding {
    fn ok(what: &'static str, detail: impl Into<String>) -> Self {
        Self { what, level: Level::Ok, detail: detail.into(), hint: None }
    }

    fn warn(what: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what, level: Level::Warn, detail: detail.into(), hint: Some(hint.into()) }
    }

    fn fail(what: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what, level: Level::Fail, detail: detail.into(), hint: Some(hint.into()) }
    }
}

pub(super) async fn run(context: &Context) -> Outcome {
    let data_dir = paths::data_dir(&context.global)?;
    let mut findings = vec![configuration(context)];
    findings.extend(data_directory(&data_dir));
    findings.push(sockets(&data_dir));
    let own = config::load(&context.global).ok();
    let own = own.and_then(|(config, _)| config.monitor.path.get(std::env::consts::ARCH).cloned());
    findings.push(own.map_or_else(|| monitor(&data_dir), |path| configured_monitor(&path)));
    findings.push(cgroup());
    findings.push(open_files());
    findings.extend(launcher(context).await);
    print(context, &findings)?;
    Ok(if findings.iter().any(|finding| finding.level == Level::Fail) { FAILED } else { 0 })
}

fn print(context: &Context, findings: &[Finding]) -> Outcome<()> {
    let output = &context.output;
    if output.format != Format::Table {
        let all: Vec<Value> = findings
            .iter()
            .map(|finding| {
                json!({
                    "id": finding.what,
                    "level": finding.level.as_str(),
                    "detail": finding.detail,
                    "hint": finding.hint,
                })
            })
            .collect();
        return output.list(&all, String::new);
    }
    for finding in findings {
        let word = finding.level.as_str();
        let colour = match finding.level {
            Level::Ok => "32",
            Level::Warn => "33",
            Level::Fail => "31",
        };
        let shown = if output.colour() {
            format!("\u{1b}[{colour}m{word:<4}\u{1b}[0m")
        } else {
            format!("{word:<4}")
        };
        output.line(&format!("{shown}  {:<14}  {}", finding.what, escape::line(&finding.detail)))?;
        if let Some(hint) = &finding.hint {
            output.line(&format!("{:22}{}", "", escape::line(hint)))?;
        }
    }
    Ok(())
}

fn configuration(context: &Context) -> Finding {
    match config::load(&context.global) {
        Ok((_, Some(file))) => Finding::ok("configuration", file.display().to_string()),
        Ok((_, None)) => Finding::ok("configuration", "none: the defaults are in force"),
        Err(Failure::Problem(problem) | Failure::Coded(problem, _)) => {
            Finding::fail("configuration", problem.detail, problem.hint.unwrap_or_default())
        }
        Err(Failure::Unread) => Finding::fail("configuration", "it cannot be read", ""),
    }
}

/// Room and rights of DATA, or of where it will be made.
fn data_directory(data_dir: &Path) -> Vec<Finding> {
    const WHAT: &str = "data directory";
    let shown = data_dir.display();
    let Some(existing) = data_dir.ancestors().find(|path| path.is_dir()) else {
        return vec![Finding::fail(WHAT, format!("{shown} cannot be made"), "name another with --data-dir")];
    };
    let mut findings = Vec::new();
    if rustix::fs::access(existing, rustix::fs::Access::WRITE_OK).is_err() {
        findings.push(Finding::fail(
            WHAT,
            format!("{} is not writable for you", existing.display()),
            "change its rights, or name another with --data-dir",
        ));
    } else if existing != data_dir {
        findings.push(Finding::ok(WHAT, format!("{shown} will be made at the first start")));
    } else {
        findings.push(rights(data_dir));
    }
    if let Ok(found) = rustix::fs::statvfs(existing) {
        let left = found.f_bavail.saturating_mul(found.f_frsize);
        if left < ROOM {
            let detail = format!("{} MiB are left for {shown}", left >> 20);
            findings.push(Finding::warn("disk", detail, "a full disk refuses starts: make room"));
        }
    }
    findings
}

fn rights(data_dir: &Path) -> Finding {
    const WHAT: &str = "data directory";
    let shown = data_dir.display();
    match std::fs::metadata(data_dir) {
        Ok(found) if found.uid() != rustix::process::geteuid().as_raw() => {
            Finding::fail(WHAT, format!("{shown} belongs to somebody else"), "name another with --data-dir")
        }
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            let detail = format!("others may look into {shown}");
            Finding::warn(WHAT, detail, format!("chmod 700 {shown}; a launcher does so at its start"))
        }
        Ok(_) => Finding::ok(WHAT, shown.to_string()),
        Err(error) => Finding::fail(WHAT, format!("{shown}: {error}"), "name another with --data-dir"),
    }
}

/// Some file systems take no sockets.
fn sockets(data_dir: &Path) -> Finding {
    let run = data_dir.join("run");
    if !run.is_dir() {
        return Finding::ok("sockets", "will be made at the first start");
    }
    let path = run.join(format!(".doctor-{}", std::process::id()));
    let bound = crate::client::transport::Reachable::new(&path)
        .and_then(|reachable| std::os::unix::net::UnixListener::bind(reachable.path()));
    let _ = std::fs::remove_file(&path);
    match bound {
        Ok(_) => Finding::ok("sockets", run.display().to_string()),
        Err(error) => Finding::fail(
            "sockets",
            format!("{} takes no sockets: {error}", run.display()),
            "name a data directory on a local disk with --data-dir",
        ),
    }
}

/// The one that the configuration names for this host instead of the built-in one.
fn configured_monitor(path: &Path) -> Finding {
    const WHAT: &str = "monitor";
    match check_monitor(path) {
        Ok(path) => Finding::ok(WHAT, path.display().to_string()),
        Err(error) => Finding::fail(
            WHAT,
            error.to_string(),
            "[monitor] path in wharf.toml names it; without that key the built-in one is used",
        ),
    }
}

/// The monitor has to run where sessions will.
fn monitor(data_dir: &Path) -> Finding {
    const WHAT: &str = "monitor";
    let hint = "is the file system mounted noexec? Name another data directory, or [monitor] path";
    let written = std::fs::read_dir(data_dir.join("monitor"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("wharf-monitor"))
        .find(|path| std::fs::read(path).is_ok_and(|bytes| bytes == MONITOR));
    let (path, _directory) = match written {
        Some(path) => (path, None),
        None => match written_for_a_moment() {
            Ok((path, directory)) => (path, Some(directory)),
            Err(error) => return Finding::fail(WHAT, format!("it cannot be written: {error}"), hint),
        },
    };
    match Command::new(&path).arg("--version").output() {
        Ok(output) if output.status.success() => {
            Finding::ok(WHAT, String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        Ok(output) => Finding::fail(WHAT, format!("{} ends with {}", path.display(), output.status), hint),
        Err(error) => Finding::fail(WHAT, format!("{} does not run: {error}", path.display()), hint),
    }
}

fn written_for_a_moment() -> std::io::Result<(PathBuf, tempfile::TempDir)> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("wharf-monitor");
    std::fs::write(&path, MONITOR)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))?;
    Ok((path, directory))
}

/// Where a cgroup of our own can be made, nothing that a session starts gets away.
fn cgroup() -> Finding {
    const WHAT: &str = "cgroup";
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    match wharf_protocol::cgroup::directory(&read("cgroup"), &read("mountinfo")) {
        Some(path) if rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).is_ok() => {
            Finding::ok(WHAT, format!("each local session gets its own, below {}", path.display()))
        }
        Some(_) | None => {
            // Nothing to mend: a session's processes are then found by their group and their parents.
            Finding::ok(
                WHAT,
                "none that is writable: local sessions are held together by their monitor alone",
            )
        }
    }
}

fn open_files() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    match limit.current {
        Some(most) if most < FILES => {
            let detail = format!("{most} open files at most");
            Finding::warn("limits", detail, "raise it with `ulimit -n` before `wharf serve`")
        }
        Some(most) => Finding::ok("limits", format!("{most} open files")),
        None => Finding::ok("limits", "any number of open files"),
    }
}

/// The launcher, and what it says of its templates and backends.
async fn launcher(context: &Context) -> Vec<Finding> {
    const WHAT: &str = "launcher";
    let client = match context.client() {
        Ok(client) => client,
        Err(failure) => return vec![unreachable(context, failure)],
    };
    let nodes = match client.nodes().await {
        Ok(nodes) => nodes,
        Err(failure) => return vec![unreachable(context, failure)],
    };
    let mut findings = Vec::new();
    for node in &nodes {
        let node = &node.value;
        let detail =
            format!("{} at {}, release {}, {} links", node.name, client.address, node.version, node.links);
        findings.push(if node.version == env!("CARGO_PKG_VERSION") {
            Finding::ok(WHAT, detail)
        } else {
            Finding::warn(WHAT, detail, format!("this program is release {}", env!("CARGO_PKG_VERSION")))
        });
    }
    findings.extend(templates_and_backends(&client).await);
    findings
}

fn unreachable(context: &Context, failure: Failure) -> Finding {
    const WHAT: &str = "launcher";
    let (detail, hint) = match failure {
        Failure::Problem(problem) | Failure::Coded(problem, _) => {
            (problem.detail, problem.hint.unwrap_or_default())
        }
        Failure::Unread => (String::new(), String::new()),
    };
    // One that was named has to be there; your own may well not be running.
    if context.global.server.is_some() {
        Finding::fail(WHAT, detail, hint)
    } else {
        Finding::warn(WHAT, detail, hint)
    }
}

async fn templates_and_backends(client: &Client) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Ok(templates) = client.templates().await {
        let broken: Vec<String> = templates
            .iter()
            .filter(|reply| matches!(reply.value.state, TemplateState::Broken | TemplateState::Stale))
            .map(|reply| {
                format!("{} ({})", reply.value.name, reply.value.message.clone().unwrap_or_default())
            })
            .collect();
        findings.push(if broken.is_empty() {
            Finding::ok("templates", format!("{} can be used", templates.len()))
        } else {
            Finding::warn("templates", broken.join("; "), "see `wharf template show NAME`")
        });
    }
    if let Ok(backends) = client.backends().await {
        for backend in backends.iter().map(|reply| &reply.value) {
            let down = backend.healthy == Some(false);
            let words = backend.last_error.as_deref().or_else(|| down.then_some("it cannot be used"));
            let Some(words) = words else { continue };
            let hint = if down {
                "starts of its templates are refused meanwhile"
            } else {
                "it serves meanwhile; see `wharf backend list`"
            };
            findings.push(Finding::warn("backends", format!("{}: {words}", backend.name), hint));
        }
    }
    findings
}
