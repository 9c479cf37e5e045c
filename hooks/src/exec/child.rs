//! One child process with everything bounded: time, output, and what it leaves in its group.
//!
//! ```text
//! spawn (posix_spawn, own group) ─┬─ write stdin ─┐
//!                                 ├─ read stdout ─┤ until the child itself has ended; then what the pipes hold
//!                                 ├─ read stderr ─┤ now is taken, and whoever keeps them open is not waited for
//!                                 └─ deadline, cancel, too much output ─▶ TERM group ─ 200 ms ─▶ KILL group
//! ```
//!
//! The child inherits descriptors 0 to 2 only (all of ours are close-on-exec), the umask, and no variable.
//! Nothing here knows hooks.

use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// From the request to end to the kill.
const GRACE: Duration = Duration::from_millis(200);
/// How long the kernel may take to deliver a kill before the child is left to the reaper.
const REAP: Duration = Duration::from_millis(150);

/// A child to be run.
#[derive(Debug)]
pub(crate) struct Child {
    /// An absolute path and its arguments.
    pub(crate) argv: Vec<String>,
    /// All of its environment.
    pub(crate) env: Vec<(String, String)>,
    /// Its working directory.
    pub(crate) cwd: PathBuf,
    /// Its standard input, closed afterwards.
    pub(crate) stdin: Vec<u8>,
    /// Most bytes of standard output that are kept.
    pub(crate) stdout_max: usize,
    /// More output ends the child; else it is read and thrown away.
    pub(crate) stdout_over_is_an_error: bool,
    /// Most bytes of standard error that are kept; more is read and thrown away.
    pub(crate) stderr_max: usize,
    /// When it has to be over.
    pub(crate) deadline: Instant,
    /// Ends it early.
    pub(crate) cancel: CancellationToken,
}

/// What became of a child.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// Its exit code.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    /// What it wrote.
    pub(crate) stdout: Vec<u8>,
    /// There was more.
    pub(crate) stdout_cut: bool,
    /// What it wrote to standard error.
    pub(crate) stderr: Vec<u8>,
    /// There was more.
    pub(crate) stderr_cut: bool,
    /// Why it was ended by us.
    pub(crate) stopped: Option<Stopped>,
    /// Its process group, which may outlive it.
    pub(crate) group: i32,
}

/// Why a child was ended by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// Its time was up.
    Deadline,
    /// The call was given up.
    Cancelled,
    /// It wrote more than that many bytes.
    TooMuchOutput(usize),
}

struct Kept {
    bytes: Vec<u8>,
    max: usize,
    cut: bool,
    open: bool,
}

impl Kept {
    const fn new(max: usize) -> Self {
        Self { bytes: Vec::new(), max, cut: false, open: true }
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = self.max.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or_default());
        self.cut |= room < bytes.len();
    }

    /// What the pipe holds at this moment.
    fn drain(&mut self, pipe: impl AsFd) {
        let mut buffer = vec![0; 64 << 10];
        // A child of the child may write for ever: no more than a pipe and the limit can hold.
        let mut budget = self.max.saturating_add(1 << 20);
        while self.open && budget > 0 {
            match rustix::io::read(&pipe, &mut buffer[..]) {
                Ok(0) => self.open = false,
                Ok(count) => {
                    budget = budget.saturating_sub(count);
                    self.take(buffer.get(..count).unwrap_or_default());
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
    }
}

impl Child {
    /// Runs it to its end. `spawned` hears the process id, which is also the group's.
    ///
    /// # Errors
    /// It could not be started; `WouldBlock` when the host had no room for another process.
    pub(crate) async fn run(self, spawned: impl FnOnce(i32)) -> std::io::Result<Ended> {
        let Some((program, arguments)) = self.argv.split_first() else {
            return Err(std::io::ErrorKind::InvalidInput.into());
        };
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.cwd)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
        spawned(pid);
        let group = Group { pid: Pid::from_raw(pid) };
        let (Some(mut stdin), Some(mut stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(std::io::Error::other("the child has no pipes"));
        };
        let input = self.stdin;
        let write = async move {
            // A child may end, or close its input, without reading it.
            let _ = stdin.write_all(&input).await;
            let _ = stdin.shutdown().await;
            drop(stdin);
        };
        tokio::pin!(write);
        let mut written = false;
        let (mut out, mut err) = (Kept::new(self.stdout_max), Kept::new(self.stderr_max));
        let mut out_buffer = vec![0; 64 << 10];
        let mut err_buffer = vec![0; 16 << 10];
        let mut stopped = None;
        let mut kill_at = None::<Instant>;
        let mut give_up = None::<Instant>;
        let status: Option<ExitStatus> = loop {
            if out.cut && self.stdout_over_is_an_error && stopped.is_none() {
                stopped = Some(Stopped::TooMuchOutput(self.stdout_max));
                group.signal(Signal::KILL);
                give_up = Some(Instant::now() + REAP);
            }
            let next = give_up.or(kill_at).unwrap_or(self.deadline);
            tokio::select! {
                biased;
                status = child.wait() => break status.ok(),
                () = tokio::time::sleep_until(next) => {
                    if give_up.is_some() {
                        break None;
                    }
                    if kill_at.is_some() {
                        group.signal(Signal::KILL);
                        give_up = Some(Instant::now() + REAP);
                    } else {
                        stopped = stopped.or(Some(Stopped::Deadline));
                        group.signal(Signal::TERM);
                        kill_at = Some(Instant::now() + GRACE);
                    }
                }
                () = self.cancel.cancelled(), if stopped.is_none() => {
                    stopped = Some(Stopped::Cancelled);
                    group.signal(Signal::TERM);
                    kill_at = Some(Instant::now() + GRACE);
                }
                count = stdout.read(&mut out_buffer), if out.open => match count {
                    Ok(0) | Err(_) => out.open = false,
                    Ok(count) => out.take(out_buffer.get(..count).unwrap_or_default()),
                },
                count = stderr.read(&mut err_buffer), if err.open => match count {
                    Ok(0) | Err(_) => err.open = false,
                    Ok(count) => err.take(err_buffer.get(..count).unwrap_or_default()),
                },
                () = &mut write, if !written => written = true,
            }
        };
        out.drain(&stdout);
        err.drain(&stderr);
        if out.cut && self.stdout_over_is_an_error && stopped.is_none() {
            stopped = Some(Stopped::TooMuchOutput(self.stdout_max));
        }
        if stopped.is_some() {
            // Its children heard the TERM too; those that stayed have had their time.
            group.signal(Signal::KILL);
        }
        group.disarm();
        Ok(Ended {
            code: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
            stdout: out.bytes,
            stdout_cut: out.cut,
            stderr: err.bytes,
            stderr_cut: err.cut,
            stopped,
            group: pid,
        })
    }
}

/// Ends the whole group when the call is dropped halfway.
struct Group {
    pid: Option<Pid>,
}

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid.filter(|pid| pid.as_raw_nonzero().get() > 1) {
            // Nobody left in the group is fine.
            let _ = rustix::process::kill_process_group(pid, signal);
        }
    }

    fn disarm(mut self) {
        self.pid = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
