//! Answers that go on: server-sent events, and logs that follow.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use wharf_protocol::{ErrorCode, Problem};

use super::{CallError, Client, header as one_header, problem};
use crate::failure::{Failure, Outcome};

/// Until the head of the answer has come.
const HEAD: Duration = Duration::from_secs(60);
/// Events beside comments come every 15 s; after this the launcher is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// A line that is longer is none of ours.
const LINE: usize = 4 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Event {
    /// Where to go on after it.
    pub(crate) id: Option<String>,
    /// `session` or `reset`.
    pub(crate) name: String,
    /// Its JSON.
    pub(crate) data: String,
}

/// The body of an answer, piece by piece.
#[derive(Debug)]
pub(crate) struct Pieces {
    body: Incoming,
    silence: Option<Duration>,
}

impl Pieces {
    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Outcome<Option<Bytes>> {
        loop {
            let frame = match self.silence {
                Some(silence) => tokio::time::timeout(silence, self.body.frame()).await.map_err(|_| {
                    Failure::from(Problem::new(ErrorCode::NoLauncher, "the launcher has gone silent"))
                })?,
                None => self.body.frame().await,
            };
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => {
                    let detail = format!("the launcher's answer broke off: {error}");
                    return Err(Problem::new(ErrorCode::NoLauncher, detail).into());
                }
            }
        }
    }
}

/// Events as they come.
#[derive(Debug)]
pub(crate) struct Events {
    pieces: Pieces,
    parser: Parser,
    ready: VecDeque<Event>,
}

impl Events {
    /// The next event; `None` when the launcher has ended the stream.
    pub(crate) async fn next(&mut self) -> Outcome<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            match self.pieces.next().await? {
                None => return Ok(None),
                Some(bytes) => self.ready.extend(self.parser.feed(&bytes)?),
            }
        }
    }
}

impl Client {
    async fn open(
        &self,
        path: &str,
        headers: HeaderMap,
        silence: Option<Duration>,
    ) -> Result<Pieces, CallError> {
        let answer = self.send(Method::GET, path, headers, None, HEAD).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(Pieces { body: answer.into_body(), silence });
        }
        let collected = tokio::time::timeout(HEAD, Limited::new(answer.into_body(), 1 << 20).collect()).await;
        let bytes = match collected {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(_)) | Err(_) => Bytes::new(),
        };
        Err(CallError::Refused(Box::new(problem(status, &bytes))))
    }

    /// Follows all changes, from the one after `last` on.
    pub(crate) async fn events(&self, last: Option<&str>) -> Outcome<Events> {
        let mut headers = match last {
            Some(last) => one_header("last-event-id", last)?,
            None => HeaderMap::new(),
        };
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        let pieces = self.open("/events", headers, Some(SILENCE)).await?;
        Ok(Events { pieces, parser: Parser::default(), ready: VecDeque::new() })
    }

    /// A text that may go on until a session ends.
    pub(crate) async fn text(&self, path: &str) -> Outcome<Pieces> {
        Ok(self.open(path, HeaderMap::new(), None).await?)
    }
}

/// Cuts a stream of server-sent events into events, wherever the pieces are cut.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    after_cr: bool,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8]) -> Outcome<Vec<Event>> {
        let mut events = Vec::new();
        for byte in bytes {
            let skip = std::mem::take(&mut self.after_cr) && *byte == b'\n';
            match byte {
                _ if skip => {}
                b'\n' | b'\r' => {
                    self.after_cr = *byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.line(&String::from_utf8_lossy(&line)));
                }
                byte if self.line.len() < LINE => self.line.push(*byte),
                _ => {
                    let problem = Problem::new(ErrorCode::TooLarge, "an event of the launcher is too long");
                    return Err(problem.into());
                }
            }
        }
        Ok(events)
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_wherever_the_pieces_are_cut() {
        let text = ": hello\n\nid: 7\r\nevent: session\r\ndata: {\"a\":1}\r\n\r\nevent: reset\ndata:x\ndata: y\n\nid: 8\n\n";
        let expected = [("7", "session", "{\"a\":1}"), ("", "reset", "x\ny")];
        for at in 0..=text.len() {
            let mut parser = Parser::default();
            let (one, two) = text.as_bytes().split_at(at);
            let mut events = parser.feed(one).unwrap();
            events.extend(parser.feed(two).unwrap());
            let seen: Vec<_> = events
                .iter()
                .map(|event| (event.id.as_deref().unwrap_or(""), event.name.as_str(), event.data.as_str()))
                .collect();
            assert_eq!(seen, expected, "cut at {at}");
        }
    }
}
