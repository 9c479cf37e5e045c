//! The line that a long wait shows on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use wharf_protocol::{JobState, Session, State};

use super::{Output, escape};

/// Shown while it lives, on standard error, when that is a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    shown: bool,
}

impl Progress {
    /// Begins with a word of what is waited for.
    pub(crate) fn new(output: &Output, what: &str) -> Self {
        if !output.error_terminal {
            return Self { bar: ProgressBar::hidden(), shown: false };
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {wide_msg} {elapsed:.dim}") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, shown: true }
    }

    /// Whether anybody sees it.
    pub(crate) fn is_shown(&self) -> bool {
        self.shown
    }

    /// Says how far the session has come.
    pub(crate) fn update(&self, session: &Session) {
        self.bar.set_message(describe(session));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// How far a session has come, in one line.
pub(crate) fn describe(session: &Session) -> String {
    let mut words = vec![escape::line(&session.name).into_owned()];
    words.push(match session.state {
        State::Pending => super::table::phase(session.phase).to_owned(),
        State::Running if session.terminating => "ending".to_owned(),
        State::Running => "running".to_owned(),
        State::Ended => "ended".to_owned(),
    });
    if let Some(job) = session.job.as_ref().filter(|_| session.state == State::Pending) {
        let mut said = format!("job {}", escape::line(&job.id));
        if job.state != JobState::Unknown {
            said.push_str(&format!(" {}", super::table::job_state(job.state)));
        }
        if let Some(reason) = job.reason.as_deref().filter(|reason| !reason.is_empty()) {
            said.push_str(&format!(": {}", escape::line(reason)));
        }
        if let Some(position) = job.position {
            said.push_str(&format!(", place {position}"));
        }
        if let Some(at) = job.starts_at {
            said.push_str(&format!(", expected at {at}"));
        }
        words.push(said);
    }
    match (&session.end, &session.reason) {
        (Some(end), _) => words.push(escape::line(&end.message).into_owned()),
        (None, Some(reason)) if session.job.as_ref().is_none_or(|job| job.reason.is_none()) => {
            words.push(escape::line(&reason.message).into_owned());
        }
        (None, _) => {}
    }
    words.join(" · ")
}
