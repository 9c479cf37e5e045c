//! Following what a template's logs hook tells, until the session has come as far as was asked.
//!
//! ```text
//! a file             opened once, read on from where it was; one that was cut short is read from its beginning
//! a text with `next`   asked for again with that as `after`: what came since
//! a text without     asked for again, and what the last one did not have yet
//! ```
//!
//! Whoever reads sets the pace. What is kept between two pieces is a place, or the last text and no more. Failures after
//! the first answer are silence: it is asked again.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use wharf_protocol::api::LogStream;
use wharf_protocol::{Problem, SessionId, State};

use super::Target;
use super::logs::{ask, tail_of};
use crate::actor::{Actor, Verb};
use crate::hook::Logs;
use crate::last_words;
use crate::launcher::{Launcher, WaitFor};
use crate::registry::Handle;

/// Between two looks at a file.
const LOOK: Duration = Duration::from_millis(500);
/// Between two questions of a hook: `timeouts.poll`, within these.
const ASK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// Most bytes of one piece of a file.
const PIECE: usize = 64 << 10;
/// Questions after it is over, to a hook that has more each time.
const LAST: u32 = 64;
/// So much of what was given is kept to find it again in what a hook said last.
const RECENT: usize = 4 << 10;

/// What the hook tells, as far as it was given.
#[derive(Debug)]
pub struct HookLog {
    launcher: Launcher,
    handle: Handle,
    id: SessionId,
    tail: Option<u64>,
    until: WaitFor,
    place: Place,
    /// The end of what was given.
    recent: Vec<u8>,
    /// Questions that are left, once it is over.
    left: Option<u32>,
    /// Questions in a row that failed.
    failures: u32,
}

/// How far it was read.
#[derive(Debug)]
enum Place {
    Begin,
    File(Reading),
    After(String),
    Text(Vec<u8>),
    /// All was given.
    End,
}

#[derive(Debug)]
struct Reading {
    file: Arc<File>,
    at: u64,
    /// It is read no further: so long was it when the session was over.
    end: Option<u64>,
}

impl Launcher {
    /// Follows what the template's logs hook tells: from the last `tail` lines until the session has come that far.
    ///
    /// # Errors
    /// `unknown_session`; the hook's failure at the first question.
    pub async fn follow_hook_logs(
        &self,
        by: &Actor,
        id: &SessionId,
        tail: Option<u64>,
        until: WaitFor,
    ) -> Result<Option<(Vec<u8>, HookLog)>, Problem> {
        let (target, _) = self.find(by, id, Verb::See).await?;
        let Target::Live(handle) = target else { return Ok(None) };
        let mut log = HookLog {
            launcher: self.clone(),
            handle,
            id: id.clone(),
            tail,
            until,
            place: Place::Begin,
            recent: Vec::new(),
            left: None,
            failures: 0,
        };
        let first = log.more().await?;
        log.given(&first);
        Ok(Some((first, log)))
    }
}

impl HookLog {
    /// The next piece; `None` when the session has come that far, and all that was told before that was given.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            // Looked at before the hook is asked: nothing printed until then is missed.
            let over = self.is_over();
            if over && self.left.is_none() {
                self.left = Some(LAST);
                if let Place::File(reading) = &mut self.place {
                    reading.end = reading.file.metadata().ok().map(|about| about.len());
                }
            }
            let piece = match self.more().await {
                Ok(piece) => {
                    self.failures = 0;
                    piece
                }
                Err(problem) => {
                    self.failures += 1;
                    tracing::debug!(id = %self.id, error = problem.detail, "the logs hook failed; asked again");
                    Vec::new()
                }
            };
            if !piece.is_empty() {
                self.given(&piece);
                return Some(piece);
            }
            if over {
                return self.last_words().await;
            }
            let pause = match &self.place {
                Place::File(_) => LOOK,
                _ => self.poll(),
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.changed() => {}
            }
        }
    }

    /// Waits for a change of the session that matters here.
    async fn changed(&mut self) {
        let known = |handle: &Handle| {
            let view = handle.view.borrow();
            let job = view.record.job.as_ref().map(|job| (job.id.clone(), job.state));
            (view.record.state(), job, view.gone)
        };
        let before = known(&self.handle);
        loop {
            if self.handle.view.changed().await.is_err() {
                // Its driver has gone, and said so before.
                return std::future::pending().await;
            }
            if known(&self.handle) != before {
                return;
            }
        }
    }

    fn poll(&self) -> Duration {
        let template = self.launcher.inner.template(&self.handle.view.borrow().record.template);
        let poll = template.map_or(ASK.1, |template| template.timeouts.poll).clamp(ASK.0, ASK.1);
        poll * (1 << self.failures.min(5))
    }

    fn is_over(&self) -> bool {
        let view = self.handle.view.borrow();
        let state = view.record.state();
        view.gone
            || state == State::Ended
            || self.until == WaitFor::Running && state != State::Pending
            || self.handle.mail.is_closed()
    }

    fn given(&mut self, piece: &[u8]) {
        self.recent.extend_from_slice(&piece[piece.len().saturating_sub(RECENT)..]);
        let surplus = self.recent.len().saturating_sub(RECENT);
        self.recent.drain(..surplus);
    }

    /// What there is beyond the place; empty when there is nothing now.
    async fn more(&mut self) -> Result<Vec<u8>, Problem> {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
            if *left == 0 && !matches!(self.place, Place::File(_)) {
                return Ok(Vec::new());
            }
        }
        if let Place::File(reading) = &mut self.place {
            return Ok(reading.piece().await);
        }
        let record = Arc::clone(&self.handle.view.borrow().record);
        let after = match &self.place {
            Place::After(after) => Some(after.clone()),
            Place::End => return Ok(Vec::new()),
            _ => None,
        };
        let inner = &self.launcher.inner;
        let first = matches!(self.place, Place::Begin);
        let tail = self.tail.filter(|_| first);
        let Some(told) = ask(inner, &record, tail, after.as_deref()).await? else { return Ok(Vec::new()) };
        Ok(match told {
            Logs::Path(path) => {
                let limit = inner.settings().log_bytes as u64;
                let opened = tokio::task::spawn_blocking(move || Reading::open(&path, limit)).await;
                let Ok(Ok((reading, text))) = opened else { return Ok(Vec::new()) };
                self.place = Place::File(reading);
                tail_of(text, tail)
            }
            Logs::Piece { text, next } => {
                self.place = Place::After(next);
                tail_of(text.into_bytes(), tail)
            }
            // Nothing is there, yet or for a moment: what was given is not begun anew.
            Logs::Text(text) if text.is_empty() => Vec::new(),
            Logs::Text(text) => {
                let text = text.into_bytes();
                let new = match &self.place {
                    Place::Text(last) => text[overlap(last, &text)..].to_vec(),
                    _ => tail_of(text.clone(), tail),
                };
                self.place = Place::Text(text);
                new
            }
        })
    }

    /// Of a session that ended before its monitor came: what its job said in the end, which may be gone by now.
    async fn last_words(&mut self) -> Option<Vec<u8>> {
        if matches!(self.place, Place::End | Place::File(_)) {
            return None;
        }
        self.place = Place::End;
        last_words::kept(&self.launcher.inner, &self.id).await;
        let kept = self.launcher.read_kept(&self.id, LogStream::Hook).await.ok()?;
        let rest = if self.recent.is_empty() {
            tail_of(kept, self.tail)
        } else {
            let at = (0..=kept.len().checked_sub(self.recent.len())?)
                .rev()
                .find(|at| kept[*at..].starts_with(&self.recent))?;
            kept[at + self.recent.len()..].to_vec()
        };
        (!rest.is_empty()).then_some(rest)
    }
}

impl Reading {
    /// Opens it and reads its end.
    fn open(path: &std::path::Path, limit: u64) -> io::Result<(Self, Vec<u8>)> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(limit)))?;
        let mut text = Vec::new();
        file.by_ref().take(limit).read_to_end(&mut text)?;
        let at = file.stream_position()?;
        Ok((Self { file: Arc::new(file), at, end: None }, text))
    }

    /// The next piece of it.
    async fn piece(&mut self) -> Vec<u8> {
        let (file, from, end) = (Arc::clone(&self.file), self.at, self.end.unwrap_or(u64::MAX));
        let read = tokio::task::spawn_blocking(move || {
            // Cut short: a job that runs again writes it anew.
            let from = if file.metadata()?.len() < from { 0 } else { from };
            let room = usize::try_from(end.saturating_sub(from)).unwrap_or(PIECE).min(PIECE);
            let mut text = vec![0; room];
            let count = std::os::unix::fs::FileExt::read_at(&*file, &mut text, from)?;
            text.truncate(count);
            io::Result::Ok((from + count as u64, text))
        });
        let Ok(Ok((at, text))) = read.await else { return Vec::new() };
        self.at = at;
        text
    }
}

/// How much of the beginning of `text` is the end of `last`: a window that moved on, or the same text grown longer.
fn overlap(last: &[u8], text: &[u8]) -> usize {
    // For each beginning of `text` the longest shorter one that it ends with, so that nothing is compared twice.
    let mut shorter = vec![0_u32; text.len()];
    let index = |at: u32| at as usize;
    let step = |shorter: &[u32], mut matched: u32, byte: u8| {
        while matched > 0 && (index(matched) == text.len() || text[index(matched)] != byte) {
            matched = shorter[index(matched) - 1];
        }
        if text.get(index(matched)) == Some(&byte) { matched + 1 } else { matched }
    };
    let mut matched = 0;
    for at in 1..text.len() {
        matched = step(&shorter, matched, text[at]);
        shorter[at] = matched;
    }
    index(last.iter().fold(0, |matched, byte| step(&shorter, matched, *byte)))
}

#[cfg(test)]
mod tests;
