//! What a run of the command line gave.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Status, standard output and standard error of one run.
#[derive(Debug, Clone)]
#[must_use = "assert what the command gave"]
pub struct Output {
    /// Exit code; 128 + signal when a signal ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The command line, for messages.
    pub line: String,
    /// How long it took.
    pub took: Duration,
}

impl Output {
    /// Asserts exit code 0 and returns standard output without its last newline.
    ///
    /// # Panics
    /// When the exit code is another.
    #[track_caller]
    pub fn ok(&self) -> &str {
        self.exits(0).stdout.trim_end_matches('\n')
    }

    /// Asserts the exit code.
    ///
    /// # Panics
    /// When it is another.
    #[track_caller]
    pub fn exits(&self, status: i32) -> &Self {
        assert_eq!(self.status, status, "{self}");
        self
    }

    /// Standard output as JSON, after exit code 0.
    ///
    /// # Panics
    /// When the exit code is another, or it is no JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        let text = self.ok();
        serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }

    /// The problem document on standard error.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn problem(&self) -> Value {
        self.stderr
            .find('{')
            .and_then(|at| serde_json::Deserializer::from_str(&self.stderr[at..]).into_iter().next())
            .and_then(Result::ok)
            .unwrap_or_else(|| panic!("no problem document: {self}"))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { status, stdout, stderr, line, took } = self;
        let (stdout, stderr) = (shorten(stdout), shorten(stderr));
        write!(out, "$ {line}\nexit {status} after {took:?}\nstdout: {stdout}\nstderr: {stderr}")
    }
}

fn shorten(text: &str) -> String {
    let end = text.char_indices().nth(4000).map_or(text.len(), |(at, _)| at);
    text[..end].to_owned()
}

/// Runs a command with that standard input, and kills it at the deadline.
///
/// # Panics
/// When it cannot be started.
#[track_caller]
pub fn run(mut command: Command, stdin: &[u8], deadline: Duration) -> Output {
    let line = format!("{command:?}");
    let began = Instant::now();
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.unwrap_or_else(|error| panic!("{line}: {error}"));
    let mut input = child.stdin.take().expect("it is piped");
    let (out, err) = (child.stdout.take().expect("it is piped"), child.stderr.take().expect("it is piped"));
    let stdin = stdin.to_vec();
    std::thread::spawn(move || {
        _ = input.write_all(&stdin);
    });
    let (stdout, stderr) = (drain(out), drain(err));
    let status = finish(&mut child, deadline.saturating_sub(began.elapsed()));
    let gather = |from: std::sync::mpsc::Receiver<Vec<u8>>| {
        // A grandchild may hold the pipe: what has come by then is all we want.
        let bytes = from.recv_timeout(Duration::from_secs(2)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Output { status, stdout: gather(stdout), stderr: gather(stderr), line, took: began.elapsed() }
}

fn drain(mut from: impl Read + Send + 'static) -> std::sync::mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        _ = from.read_to_end(&mut bytes);
        _ = sender.send(bytes);
    });
    receiver
}

/// Waits for a child up to that long, then kills it; its exit code, 128 + signal, or -1 when it had to be killed.
pub fn finish(child: &mut Child, within: Duration) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                return status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
            }
            Ok(None) if began.elapsed() < within => crate::wait::pause(Duration::from_millis(5)),
            Ok(None) | Err(_) => {
                _ = child.kill();
                _ = child.wait();
                return -1;
            }
        }
    }
}
