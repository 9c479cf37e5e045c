//! The command line on a terminal, as somebody types at it and looks at it.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::wait::{Probe, until};
use crate::{Home, cli, program};

/// A command that runs on a terminal.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    seen: Arc<Mutex<String>>,
}

impl Terminal {
    /// Runs `wharf` with these arguments, none of which has blanks.
    ///
    /// # Panics
    /// When the package bsdutils is not there.
    #[track_caller]
    pub fn open(home: &Home, args: &[&str]) -> Self {
        let line = format!("exec {} {}", program::wharf().display(), args.join(" "));
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env_clear();
        for (name, value) in home.command(&[]).get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command.env("TERM", "xterm").current_dir(home.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("script, of the package bsdutils, can be started");
        let keyboard = child.stdin.take().expect("it is piped");
        let mut screen = child.stdout.take().expect("it is piped");
        let seen = Arc::<Mutex<String>>::default();
        let into = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut piece) {
                let text = String::from_utf8_lossy(&piece[..count]).into_owned();
                into.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Self { child, keyboard, seen }
    }

    /// All that was shown until now, with the terminal's own words in it.
    pub fn seen(&self) -> String {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until that was shown.
    #[track_caller]
    pub fn await_text(&self, text: &str, within: Duration) {
        until("it is shown", within, || {
            let seen = self.seen();
            let last = || seen.chars().skip(seen.chars().count().saturating_sub(400)).collect::<String>();
            Probe::when(seen.contains(text), (), || format!("{text:?} is not in it: {:?}", last()))
        });
    }

    /// Types.
    ///
    /// # Panics
    /// When the command has ended.
    #[track_caller]
    pub fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("somebody reads");
    }

    /// Waits until the command has ended; its exit code, and all that was shown.
    pub fn ends(mut self, within: Duration) -> (i32, String) {
        let status = cli::finish(&mut self.child, within);
        (status, self.seen())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
