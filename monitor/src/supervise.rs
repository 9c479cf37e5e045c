//! The command's life: started, looked after, ended when told, and told of.
//!
//! ```text
//! start ─▶ runs ─▶ ended by itself, or: order ─▶ stop command ─▶ SIGTERM ─▶ grace ─▶ SIGKILL to the whole tree
//!                    └─▶ descendants are taken down ─▶ report ─▶ a launcher keeps it ─▶ exit with its code
//! ```

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;
use wharf_protocol::monitor::{Bootstrap, ExitReport, OnOrphan};
use wharf_protocol::stream::Channel;

use crate::monitor::{Monitor, Order};
use crate::picked::Picked;
use crate::reaper::{Ended, Reaper};
use crate::spawn::{self, Environment, Input, Running, Streams};
use crate::stop::{self, Attempt};
use crate::terminal::{COLUMNS, ROWS, Terminal};
use crate::{bootstrap, detach, endpoint, link, say, tree};

/// How long a report is offered where no launcher answers and the session may run without one.
const REPORT: Duration = Duration::from_secs(3600);
/// The same, after the monitor itself was told to end.
const HURRY: Duration = Duration::from_secs(5);
/// What is still in the pipes when the command has ended.
const DRAIN: Duration = Duration::from_millis(500);

/// Runs a session to its end. The command's own exit code.
pub(crate) fn run(path: &Path) -> io::Result<u8> {
    let bootstrap = bootstrap::read(path)?;
    // Orphans of the session come to us instead of to the host's first process.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(supervise(bootstrap, path))
}

async fn supervise(bootstrap: Bootstrap, path: &Path) -> io::Result<u8> {
    let reaper = Reaper::start()?;
    let (orders, ordered) = mpsc::unbounded_channel();
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce)
        .map_err(|error| io::Error::other(format!("no random numbers can be had: {error}")))?;
    let picked = Picked::new(&bootstrap)?;
    let run_dir =
        bootstrap.run_dir.clone().or_else(|| path.parent().and_then(Path::parent).map(Path::to_owned));
    let socket = run_dir.map(|dir| dir.join("monitor.sock"));
    let mut env = environment(&bootstrap);
    env.extend(picked.variables.iter().map(|(name, value)| (name.into(), value.into())));
    if let Some(socket) = &socket {
        env.insert(endpoint::SOCKET.into(), socket.into());
    }
    let cwd = working_directory(&bootstrap);
    let monitor = Arc::new(Monitor::new(
        bootstrap.clone(),
        bootstrap::addresses(&bootstrap, path),
        reaper,
        env,
        cwd,
        picked.endpoints.clone(),
        orders,
        wharf_protocol::signed::encode(&nonce),
        detach::job(),
    ));
    if let Some(socket) = &socket
        && let Err(error) = endpoint::serve(Arc::clone(&monitor), socket)
    {
        say(&format!("endpoints cannot be declared from inside: {}: {error}", socket.display()));
    }
    let linking = tokio::spawn(link::keep(Arc::clone(&monitor)));
    tokio::spawn(orphan(Arc::clone(&monitor)));
    let (report, code, over) = command(&monitor, ordered).await?;
    monitor.exited.send_replace(Some(report));
    if !over {
        release(&monitor).await;
    }
    linking.abort();
    drop(picked);
    if let Some(socket) = socket {
        let _ = std::fs::remove_file(socket);
    }
    Ok(code)
}

/// Waits until a launcher has kept the report, as long as the session may be without one.
async fn release(monitor: &Monitor) {
    let hurry = monitor.hurry.load(Ordering::Relaxed);
    let patience = match monitor.bootstrap.limits.on_orphan {
        _ if hurry => HURRY,
        OnOrphan::Run => REPORT,
        OnOrphan::End(patience) => patience.0,
    };
    let mut released = monitor.released.subscribe();
    let mut linked = monitor.linked.subscribe();
    let mut terminated = signal(SignalKind::terminate()).ok();
    let alone = async {
        loop {
            // A launcher that is there and cannot keep the report yet, say on a full disk, is waited for.
            if !hurry {
                let _ = linked.wait_for(|linked| !*linked).await;
            }
            let back = async {
                match linked.wait_for(|linked| *linked && !hurry).await {
                    Ok(_) => {}
                    Err(_) => std::future::pending().await,
                }
            };
            if tokio::time::timeout(patience, back).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = released.wait_for(|released| *released) => {}
        () = alone => say("no launcher took the report of the command's end"),
        () = async {
            match &mut terminated {
                // Somebody wants the job's place back: a last moment for the report.
                Some(terminated) => {
                    terminated.recv().await;
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
                None => std::future::pending().await,
            }
        } => {}
    }
}

/// Ends the session when no launcher was there for too long, where its template says so.
async fn orphan(monitor: Arc<Monitor>) {
    let OnOrphan::End(patience) = monitor.bootstrap.limits.on_orphan else { return };
    let mut linked = monitor.linked.subscribe();
    loop {
        let _ = linked.wait_for(|linked| !*linked).await;
        let back = linked.wait_for(|linked| *linked);
        if tokio::time::timeout(patience.0, back).await.is_err() {
            let _ = monitor.orders.send(Order::Orphaned);
            return;
        }
    }
}

fn environment(bootstrap: &Bootstrap) -> Environment {
    // However the job was started: a launcher's token is never the command's, and where a script had been is no place of it.
    let own = ["WHARF_JOB_ID", "WHARF_TOKEN", "PWD", "OLDPWD", endpoint::SOCKET];
    let mut env: Environment =
        std::env::vars_os().filter(|(name, _)| !own.iter().any(|own| name == own)).collect();
    if bootstrap.tty {
        env.insert("TERM".into(), "xterm-256color".into());
    }
    env.extend(bootstrap.env.iter().map(|(name, value)| (name.into(), value.into())));
    env
}

fn working_directory(bootstrap: &Bootstrap) -> Option<String> {
    let home = std::env::var("HOME").ok().filter(|home| Path::new(home).is_dir());
    match bootstrap.cwd.as_deref() {
        Some("~") => home,
        Some(cwd) => Some(match (cwd.strip_prefix("~/"), &home) {
            (Some(below), Some(home)) => format!("{home}/{below}"),
            (Some(_) | None, _) => cwd.to_owned(),
        }),
        // In a container the image's own directory counts, and that is where we are.
        None if std::process::id() == 1 => None,
        None => home,
    }
}

/// The command, from start to end: the report, the code, and whether nobody waits for the report.
async fn command(
    monitor: &Arc<Monitor>,
    mut ordered: mpsc::UnboundedReceiver<Order>,
) -> io::Result<(ExitReport, u8, bool)> {
    let argv = &monitor.bootstrap.command;
    let input = if monitor.bootstrap.tty { Input::Terminal(ROWS, COLUMNS) } else { Input::Null };
    let mut terminated = signal(SignalKind::terminate())?;
    // On a terminal of the scheduler's the monitor must not die of its hang-up.
    let mut hung_up = signal(SignalKind::hangup())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let running = match spawn::start(&monitor.reaper, argv, &monitor.env, monitor.cwd.as_deref(), input) {
        Ok(running) => running,
        Err(error) => {
            let (code, words) = spawn::failure(argv, &error);
            say(&words);
            monitor.closing.store(true, Ordering::Relaxed);
            monitor.output.push(Channel::Stderr, Bytes::from(format!("{words}\n")));
            let report = ExitReport { message: Some(words), ..report(Ended::Code(code)) };
            return Ok((report, Ended::Code(code).shell_code(), false));
        }
    };
    let Running { pid, mut end, streams } = running;
    let _ = monitor.pid.set(pid.as_raw_nonzero().get().unsigned_abs());
    prefer_to_lose(pid);
    let copying = copy(monitor, streams);
    let oom_before = crate::cgroup::oom_kills();
    let attempt = Arc::new(Attempt::default());
    let mut stopping: Option<(tokio::task::JoinHandle<()>, Instant)> = None;
    let mut by_launcher = false;
    let mut over = false;
    let mut orphaned = false;
    let mut told: Option<i32> = None;
    let grace = monitor.bootstrap.limits.grace.0;
    let ended = loop {
        let stop = tokio::select! {
            ended = &mut end => break ended.unwrap_or(Ended::Code(0)),
            order = ordered.recv() => match order {
                Some(Order::Launcher(grace)) => {
                    by_launcher = true;
                    Some(grace)
                }
                Some(Order::Over) => {
                    over = true;
                    by_launcher = true;
                    Some(grace)
                }
                Some(Order::Orphaned) => {
                    orphaned = true;
                    Some(grace)
                }
                None => None,
            },
            _ = terminated.recv() => {
                told = Some(15);
                Some(grace)
            }
            _ = interrupted.recv() => {
                told = Some(2);
                Some(grace)
            }
            _ = hung_up.recv() => None,
        };
        if let Some(grace) = stop
            && stopping.is_none()
        {
            let until = Instant::now() + grace;
            let stop = tokio::spawn(stop::stop(Arc::clone(monitor), pid, until, Arc::clone(&attempt)));
            stopping = Some((stop, until));
        }
    };
    monitor.closing.store(true, Ordering::Relaxed);
    if let Some((stopping, until)) = stopping {
        stopping.abort();
        stop::rest(pid, until, &attempt).await;
    }
    tree::sweep(Duration::from_secs(1)).await;
    let _ = tokio::time::timeout(DRAIN, async {
        for copying in copying {
            let _ = copying.await;
        }
    })
    .await;
    let mut report = report(ended);
    let stopped_by = attempt.word();
    if by_launcher {
        report.stopped_by = stopped_by;
    } else if orphaned {
        report.orphaned = true;
        report.stopped_by = stopped_by;
    } else if let Some(signal) = told {
        report.interrupted = signal == 15;
        report.signal = report.signal.or(Some(signal));
    } else if matches!(ended, Ended::Signal(9 | 15)) {
        report.interrupted = true;
        report.out_of_memory = ended == Ended::Signal(9) && crate::cgroup::oom_kills() > oom_before;
    }
    if told.is_some() {
        // Whoever wants the job's place back does not wait for an hour.
        monitor.hurry.store(true, Ordering::Relaxed);
    }
    Ok((report, ended.shell_code(), over))
}

fn report(ended: Ended) -> ExitReport {
    let (exit_code, signal) = match ended {
        Ended::Code(code) => (Some(code), None),
        Ended::Signal(signal) => (None, Some(signal)),
    };
    ExitReport {
        exit_code,
        signal,
        interrupted: false,
        stopped_by: None,
        message: None,
        out_of_memory: false,
        orphaned: false,
        at: jiff::Timestamp::now().into(),
    }
}

/// Keeps and shows what a program prints.
pub(crate) fn copy(monitor: &Arc<Monitor>, streams: Streams) -> Vec<tokio::task::JoinHandle<()>> {
    match streams {
        Streams::Terminal(pty) => {
            let _ = monitor.terminal.set(Terminal::new(pty.clone()));
            let monitor = Arc::clone(monitor);
            vec![tokio::spawn(async move {
                let mut buffer = vec![0; 32 * 1024];
                while let Ok(length @ 1..) = pty.read(&mut buffer).await {
                    let data = Bytes::copy_from_slice(&buffer[..length]);
                    if let Some(terminal) = monitor.terminal.get() {
                        terminal.show(&data);
                    }
                    monitor.output.push(Channel::Stdout, data);
                    if let Some(terminal) = monitor.terminal.get() {
                        terminal.breathe().await;
                    }
                    // A command that writes without end must not starve the link.
                    tokio::task::yield_now().await;
                }
            })]
        }
        Streams::Pipes { stdin: _, stdout, stderr } => [(stdout, Channel::Stdout), (stderr, Channel::Stderr)]
            .into_iter()
            .map(|(from, channel)| keep(monitor, from, channel))
            .collect(),
    }
}

fn keep(monitor: &Arc<Monitor>, mut from: pipe::Receiver, channel: Channel) -> tokio::task::JoinHandle<()> {
    let monitor = Arc::clone(monitor);
    tokio::spawn(async move {
        let mut buffer = vec![0; 32 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            monitor.output.push(channel, Bytes::copy_from_slice(&buffer[..length]));
            tokio::task::yield_now().await;
        }
    })
}

/// When memory runs out the command goes before its monitor, which has to tell of it.
fn prefer_to_lose(pid: Pid) {
    let own = std::fs::read_to_string("/proc/self/oom_score_adj")
        .ok()
        .and_then(|text| text.trim().parse::<i32>().ok());
    let more = own.unwrap_or(0).saturating_add(100).min(1000);
    let _ = std::fs::write(format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero()), more.to_string());
}
