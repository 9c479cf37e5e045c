//! A `PATH` on which executables find plain tools and nothing else: every other command is a stand-in that writes down
//! how it was called and asks what to answer.
//!
//! ```text
//! hook ─ mysub ─▶ stand-in: argv, environment, standard input written down ─▶ ring ─▶ the bench: what to answer
//!                       └ waits for the answer, prints it, exits with its status
//! ```
//!
//! What a hook runs by an absolute path is not seen: the check warns of it. Standard input is written down when it is
//! the command's own, not when it is the hook's, whose document the hook itself may still want to read.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

use crate::exec::child::Child;
use crate::stage::{Reply, Stage, Step};

/// Tools that only compute, or work on files that they are given.
const TOOLS: &[&str] = &[
    "[",
    "awk",
    "base32",
    "base64",
    "basename",
    "bash",
    "cat",
    "chmod",
    "cksum",
    "cmp",
    "column",
    "comm",
    "cp",
    "csplit",
    "cut",
    "dash",
    "diff",
    "dirname",
    "echo",
    "egrep",
    "env",
    "expand",
    "expr",
    "factor",
    "false",
    "fgrep",
    "fmt",
    "fold",
    "gawk",
    "getopt",
    "grep",
    "head",
    "join",
    "jq",
    "ksh",
    "ln",
    "ls",
    "mawk",
    "md5sum",
    "mkdir",
    "mktemp",
    "mv",
    "nawk",
    "nl",
    "nohup",
    "numfmt",
    "od",
    "paste",
    "perl",
    "pr",
    "printenv",
    "printf",
    "pwd",
    "python3",
    "readlink",
    "realpath",
    "rev",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "setsid",
    "sh",
    "sha1sum",
    "sha256sum",
    "sleep",
    "sort",
    "split",
    "stat",
    "strings",
    "tac",
    "tail",
    "tee",
    "test",
    "timeout",
    "touch",
    "tr",
    "true",
    "tsort",
    "uniq",
    "wc",
    "xargs",
    "xxd",
    "yes",
    "yq",
    "zsh",
];

/// The name of the stand-in for the session's monitor.
pub(crate) const MONITOR: &str = "wharf-monitor";

const STAND_IN: &str = r#"#!/bin/sh
# Writes down how it was called, and answers what the bench says.
PATH='@PATH@'
d=$(mktemp -d '@CALLS@/call.XXXXXXXXXX') || exit 97
cat "/proc/$$/environ" >"$d/environ"
pwd >"$d/cwd"
{ printf '%s\0' "${0##*/}"; for word do printf '%s\0' "$word"; done; } >"$d/argv"
group=$(sed 's/.*) //' "/proc/$$/stat" | cut -d' ' -f3)
if [ "$(readlink "/proc/$$/fd/0")" != "$(readlink "/proc/$group/fd/0")" ]; then
    cat >"$d/stdin"
fi
mkfifo "$d/answer" || exit 97
printf '%s\n' "${d##*.}" >'@RING@'
read -r status <"$d/answer"
cat "$d/stdout"
cat "$d/stderr" >&2
case "$status" in -*) kill "$status" $$ ;; esac
exit "$status"
"#;

/// The directory with all stand-ins, for one bench.
#[derive(Debug)]
pub(crate) struct Farm {
    root: tempfile::TempDir,
}

impl Farm {
    /// Makes stand-ins of everything that is on the path and no tool; `own` directories hold nothing but commands to
    /// be mocked.
    pub(crate) fn new(path: &str, own: &[String]) -> io::Result<Self> {
        let root = tempfile::Builder::new().prefix("wharf-bench-").tempdir()?;
        let farm = Self { root };
        for dir in [farm.bin(), farm.calls()] {
            std::fs::DirBuilder::new().mode(0o700).create(dir)?;
        }
        rustix::fs::mkfifoat(rustix::fs::CWD, farm.ring(), rustix::fs::Mode::from_raw_mode(0o600))?;
        let text = STAND_IN
            .replace("@PATH@", &path.replace('\'', r"'\''"))
            .replace("@CALLS@", &farm.calls().display().to_string())
            .replace("@RING@", &farm.ring().display().to_string());
        std::fs::write(farm.stand_in(), text)?;
        std::fs::set_permissions(farm.stand_in(), std::fs::Permissions::from_mode(0o700))?;
        let listed =
            own.iter().map(|dir| (dir.as_str(), false)).chain(path.split(':').map(|dir| (dir, true)));
        for (dir, tools) in listed.filter(|(dir, _)| dir.starts_with('/')) {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let tool = tools && TOOLS.iter().any(|tool| tool.as_bytes() == name.as_bytes());
                let target = if tool { entry.path() } else { farm.stand_in() };
                // The first directory that has a name wins, as it does on a path.
                let _ = symlink(target, farm.bin().join(name));
            }
        }
        farm.plant(MONITOR)?;
        Ok(farm)
    }

    /// Puts a stand-in there, also in the place of a tool.
    pub(crate) fn plant(&self, name: &str) -> io::Result<()> {
        if name.is_empty() || name.contains('/') {
            return Ok(());
        }
        let path = self.bin().join(name);
        match std::fs::read_link(&path) {
            Ok(target) if target == self.stand_in() => return Ok(()),
            Ok(_) => std::fs::remove_file(&path)?,
            Err(_) => {}
        }
        symlink(self.stand_in(), path)
    }

    /// The only directory of the path.
    pub(crate) fn bin(&self) -> PathBuf {
        self.root.path().join("bin")
    }

    /// What stands for the launcher's own files.
    pub(crate) fn world(&self) -> PathBuf {
        self.root.path().join("wharf")
    }

    /// Moves what a request says of the launcher's files to where there are some.
    pub(crate) fn rebase(&self, request: &mut serde_json::Value) {
        let world = self.world().display().to_string();
        let Some(monitor) = request.get_mut("monitor") else { return };
        let rebased = |text: &str| match text.strip_prefix("/wharf/") {
            Some(rest) => format!("{world}/{rest}"),
            None => text.to_owned(),
        };
        if let Some(dir) = monitor.get_mut("dir")
            && let Some(text) = dir.as_str()
        {
            *dir = rebased(text).into();
        }
        for word in monitor.get_mut("argv").and_then(serde_json::Value::as_array_mut).into_iter().flatten() {
            if let Some(text) = word.as_str() {
                *word = rebased(text).into();
            }
        }
    }

    /// Makes the session directory of a request, afresh.
    pub(crate) fn world_for(&self, request: &serde_json::Value) -> io::Result<()> {
        let world = self.world();
        match std::fs::remove_dir_all(&world) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut dirs = std::fs::DirBuilder::new();
        dirs.recursive(true).mode(0o700);
        dirs.create(&world)?;
        symlink(self.stand_in(), world.join(MONITOR))?;
        let dir =
            request.get("monitor").and_then(|monitor| monitor.get("dir")).and_then(serde_json::Value::as_str);
        match dir {
            Some(dir) if Path::new(dir).starts_with(&world) => dirs.create(Path::new(dir).join("mount")),
            _ => Ok(()),
        }
    }

    fn calls(&self) -> PathBuf {
        self.root.path().join("calls")
    }

    fn ring(&self) -> PathBuf {
        self.root.path().join("ring")
    }

    fn stand_in(&self) -> PathBuf {
        self.root.path().join("stand-in")
    }

    /// Answers stand-ins as the stage says, until dropped.
    pub(crate) fn serve(&self, stage: Arc<dyn Stage>, path: String) -> io::Result<Service> {
        // Open for both, so that the end of one writer is not the end of all.
        let mut ring = pipe::OpenOptions::new().read_write(true).open_receiver(self.ring())?;
        let calls = self.calls();
        let task = tokio::spawn(async move {
            let mut line = Vec::new();
            loop {
                let mut byte = [0; 256];
                let Ok(count) = ring.read(&mut byte).await else { return };
                for byte in byte.iter().take(count) {
                    if *byte != b'\n' {
                        line.push(*byte);
                        continue;
                    }
                    let name = String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned();
                    let dir = calls.join(format!("call.{name}"));
                    if let Err(error) = answer(&dir, stage.as_ref(), &path).await {
                        tracing::debug!(%error, dir = %dir.display(), "a stand-in got no answer");
                    }
                }
            }
        });
        Ok(Service { task })
    }
}

/// Ends with the value.
#[derive(Debug)]
pub(crate) struct Service {
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(dir: &Path, stage: &dyn Stage, path: &str) -> io::Result<()> {
    let step = step(dir)?;
    let reply = match stage.step(&step) {
        Some(reply) => reply,
        None => {
            let reply = really(&step, dir, path).await;
            stage.ended(&step, &reply);
            reply
        }
    };
    std::fs::write(dir.join("stdout"), &reply.stdout)?;
    std::fs::write(dir.join("stderr"), &reply.stderr)?;
    let status = reply.signal.map_or_else(|| reply.status.to_string(), |signal| format!("-{signal}"));
    // The stand-in may have been killed meanwhile: opening without a reader must not hang.
    let file = dir.join("answer");
    for _ in 0..1000 {
        match pipe::OpenOptions::new().open_sender(&file) {
            Ok(sender) => {
                use tokio::io::AsyncWriteExt as _;
                let mut sender = sender;
                return sender.write_all(format!("{status}\n").as_bytes()).await;
            }
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Runs the command that a stand-in stands for.
async fn really(step: &Step, dir: &Path, path: &str) -> Reply {
    let name = step.argv.first().map_or("", String::as_str);
    let found = path.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.is_file());
    let not_there = |why: String| Reply {
        status: 127,
        stderr: format!("{name}: {why}\n").into_bytes(),
        ..Reply::default()
    };
    let Some(program) = found else { return not_there("not found".to_owned()) };
    let mut argv = step.argv.clone();
    if let Some(first) = argv.first_mut() {
        *first = program.display().to_string();
    }
    let mut env = step.env.clone();
    env.insert("PATH".to_owned(), path.to_owned());
    let cwd = std::fs::read_to_string(dir.join("cwd")).unwrap_or_default();
    let child = Child {
        argv,
        env: env.into_iter().collect(),
        cwd: cwd.trim_end_matches('\n').into(),
        stdin: step.stdin.clone(),
        stdout_max: 4 << 20,
        stdout_over_is_an_error: false,
        stderr_max: crate::exec::STDERR_MAX,
        deadline: tokio::time::Instant::now() + std::time::Duration::from_secs(60),
        cancel: tokio_util::sync::CancellationToken::new(),
    };
    match child.run(|_| ()).await {
        Ok(ended) => Reply::of(&ended),
        Err(error) => not_there(error.to_string()),
    }
}

fn step(dir: &Path) -> io::Result<Step> {
    let words = |bytes: &[u8]| -> Vec<String> {
        let mut words: Vec<_> =
            bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        words.pop();
        words
    };
    let env: BTreeMap<String, String> = words(&std::fs::read(dir.join("environ"))?)
        .into_iter()
        .filter_map(|pair| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect();
    Ok(Step {
        argv: words(&std::fs::read(dir.join("argv"))?),
        stdin: std::fs::read(dir.join("stdin")).unwrap_or_default(),
        env,
        effect: "write".to_owned(),
    })
}
