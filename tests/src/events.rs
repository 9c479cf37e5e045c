//! Answers that go on for ever: server-sent events, and text that is followed.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::http::{BASE, Http};

/// A body that is read as it comes.
#[derive(Debug)]
pub struct Following {
    /// HTTP status.
    pub status: u16,
    chunks: Receiver<Vec<u8>>,
    seen: String,
    over: bool,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Following {
    /// Opens a path below the API's base.
    ///
    /// # Panics
    /// When nobody answers.
    #[track_caller]
    pub fn open(http: &Http, path: &str) -> Self {
        let full = format!("{BASE}{path}");
        let opened = crate::runtime().block_on(async {
            tokio::time::timeout(http.deadline, http.open("GET", &full, Vec::new())).await
        });
        let answer =
            opened.expect("an answer within the deadline").unwrap_or_else(|e| panic!("{path}: {e:#}"));
        let status = answer.status().as_u16();
        let (sender, chunks) = channel();
        let task = crate::runtime().spawn(async move {
            let mut body = answer.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                if let Ok(data) = frame.into_data()
                    && sender.send(data.to_vec()).is_err()
                {
                    break;
                }
            }
        });
        Self { status, chunks, seen: String::new(), over: false, task }
    }

    /// All that has come so far.
    pub fn seen(&self) -> &str {
        &self.seen
    }

    /// Reads until the condition holds for what has come so far; whether it did.
    pub fn read_until(&mut self, within: Duration, holds: impl Fn(&str) -> bool) -> bool {
        let began = Instant::now();
        loop {
            if holds(&self.seen) {
                return true;
            }
            match self.chunks.recv_timeout(within.saturating_sub(began.elapsed())) {
                Ok(chunk) => self.seen.push_str(&String::from_utf8_lossy(&chunk)),
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => {
                    self.over = true;
                    return holds(&self.seen);
                }
            }
        }
    }

    /// Reads to the end; whether it came within that long.
    pub fn ends(&mut self, within: Duration) -> bool {
        self.read_until(within, |_| false);
        self.over
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its id, for resuming.
    pub id: String,
    /// `session`, or `reset`.
    pub kind: String,
    /// Its data.
    pub data: Value,
}

/// An event stream.
#[derive(Debug)]
pub struct Events {
    following: Following,
    at: usize,
}

impl Events {
    /// Opens `/events`, resuming after an id when one is given.
    #[track_caller]
    pub fn open(http: &Http, after: Option<&str>) -> Self {
        let http = after.map_or_else(|| http.clone(), |id| http.clone().with("last-event-id", id));
        let following = Following::open(&http.with("accept", "text/event-stream"), "/events");
        assert_eq!(following.status, 200, "GET /events");
        Self { following, at: 0 }
    }

    fn next(&mut self, within: Duration) -> Option<Event> {
        let began = Instant::now();
        loop {
            let at = self.at;
            let left = within.saturating_sub(began.elapsed());
            if !self.following.read_until(left, |seen| seen[at..].contains("\n\n")) {
                return None;
            }
            let rest = &self.following.seen()[at..];
            let end = rest.find("\n\n")?;
            let block = rest[..end].to_owned();
            self.at += end + 2;
            if let Some(event) = parse(&block) {
                return Some(event);
            }
        }
    }

    /// The next event that fits.
    ///
    /// # Panics
    /// When none comes within that long.
    #[track_caller]
    pub fn expect(&mut self, what: &str, within: Duration, fits: impl Fn(&Event) -> bool) -> Event {
        let began = Instant::now();
        let mut others = Vec::new();
        while let Some(event) = self.next(within.saturating_sub(began.elapsed())) {
            if fits(&event) {
                return event;
            }
            others.push(format!("{} {}", event.kind, event.data));
        }
        panic!("no event within {within:?}: {what}\ncame instead: {}", others.join("\n"));
    }

    /// Whether the launcher closes the stream within that long.
    pub fn ends(&mut self, within: Duration) -> bool {
        self.following.ends(within)
    }
}

fn parse(block: &str) -> Option<Event> {
    let (mut id, mut kind, mut data) = (String::new(), "message".to_owned(), Vec::new());
    for line in block.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => value.clone_into(&mut id),
            "event" => value.clone_into(&mut kind),
            "data" => data.push(value),
            _ => {}
        }
    }
    if data.is_empty() && kind == "message" {
        return None;
    }
    let text = data.join("\n");
    let data = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Some(Event { id, kind, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_no_event_and_data_is_json() {
        assert_eq!(parse(": still here"), None);
        let event = parse("id: 7\nevent: session\ndata: {\"type\":\"update\"}").expect("an event");
        assert_eq!((event.id.as_str(), event.kind.as_str()), ("7", "session"));
        assert_eq!(event.data["type"], "update");
    }
}
