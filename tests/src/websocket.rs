//! A small client of the streams: exec, attach and tunnel over WebSocket.

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::http::{BASE, Http, Wire};

/// What came from the launcher.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// A control message.
    Control(Value),
    /// Data of a channel.
    Data(u8, Vec<u8>),
    /// A close frame's code.
    Closed(u16),
    /// The connection is gone without a close frame.
    Gone,
}

/// All that a stream gave until its end.
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    /// Channel 1, or a tunnel's channel 0.
    pub stdout: Vec<u8>,
    /// Channel 2.
    pub stderr: Vec<u8>,
    /// Control messages in their order.
    pub controls: Vec<Value>,
    /// The close frame's code.
    pub closed: Option<u16>,
}

impl Transcript {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The last control message.
    pub fn last(&self) -> &Value {
        self.controls.last().unwrap_or(&Value::Null)
    }
}

/// A stream's client.
pub struct WebSocket {
    socket: WebSocketStream<Box<dyn Wire>>,
}

impl std::fmt::Debug for WebSocket {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("WebSocket")
    }
}

impl WebSocket {
    /// Upgrades a path below the API's base; the status and body when it is refused.
    ///
    /// # Errors
    /// The status and the problem document of a refusal.
    ///
    /// # Panics
    /// When nobody answers.
    #[track_caller]
    pub fn open(http: &Http, path: &str) -> Result<Self, (u16, Value)> {
        let full = format!("ws://{}{BASE}{path}", http.host());
        Self::open_at(http, &full)
    }

    /// As [`Self::open`] with a whole address.
    ///
    /// # Errors
    /// As [`Self::open`].
    ///
    /// # Panics
    /// When nobody answers.
    #[track_caller]
    pub fn open_at(http: &Http, address: &str) -> Result<Self, (u16, Value)> {
        use tungstenite::client::IntoClientRequest as _;
        let mut request = address.into_client_request().expect("a well-formed address");
        for (name, value) in &http.headers {
            let name: http::HeaderName = name.parse().expect("a header's name");
            request.headers_mut().insert(name, value.parse().expect("a header's value"));
        }
        let opened = crate::runtime().block_on(async {
            let talk = async {
                let wire = http.dial().await.expect("the launcher listens");
                tokio_tungstenite::client_async(request, wire).await
            };
            tokio::time::timeout(http.deadline, talk).await.expect("an answer within the deadline")
        });
        match opened {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(tungstenite::Error::Http(answer)) => {
                let body = answer.body().clone().unwrap_or_default();
                Err((answer.status().as_u16(), serde_json::from_slice(&body).unwrap_or_default()))
            }
            Err(error) => panic!("{address}: {error}"),
        }
    }

    fn send(&mut self, message: Message) -> bool {
        crate::runtime().block_on(self.socket.send(message)).is_ok()
    }

    /// Sends a control message; whether the stream still took it.
    pub fn control(&mut self, message: &Value) -> bool {
        self.send(Message::text(message.to_string()))
    }

    /// Sends a text as it stands.
    pub fn text(&mut self, text: &str) -> bool {
        self.send(Message::text(text.to_owned()))
    }

    /// Sends bytes on a channel.
    pub fn data(&mut self, channel: u8, data: &[u8]) -> bool {
        self.send(Message::binary([&[channel], data].concat()))
    }

    /// Sends bytes on channel 0.
    pub fn input(&mut self, data: &[u8]) -> bool {
        self.data(0, data)
    }

    /// Goes away as a crashed client does: without a close frame.
    pub fn vanish(self) {
        drop(self);
    }

    /// The next thing that comes; `None` when nothing does within that long.
    pub fn next(&mut self, within: Duration) -> Option<Received> {
        let began = Instant::now();
        loop {
            let left = within.saturating_sub(began.elapsed());
            let next = crate::runtime()
                .block_on(async { tokio::time::timeout(left, self.socket.next()).await })
                .ok()?;
            return Some(match next {
                Some(Ok(Message::Text(text))) => Received::Control(
                    serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.to_string())),
                ),
                Some(Ok(Message::Binary(bytes))) => {
                    let (channel, data) = bytes.split_first().map_or((0, &[][..]), |(c, d)| (*c, d));
                    Received::Data(channel, data.to_vec())
                }
                Some(Ok(Message::Close(frame))) => Received::Closed(
                    frame.map_or_else(|| u16::from(CloseCode::Status), |frame| frame.code.into()),
                ),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Err(_)) | None => Received::Gone,
            });
        }
    }

    /// Reads until the output holds that text; the output so far.
    ///
    /// # Panics
    /// When the stream ends first, or it does not come within that long.
    #[track_caller]
    pub fn read_until(&mut self, wanted: &str, within: Duration) -> String {
        let began = Instant::now();
        let mut seen: Vec<u8> = Vec::new();
        let mut searched = 0;
        loop {
            // Only what is new is searched: a reader who falls behind would be dropped.
            let from = searched.min(seen.len()).saturating_sub(wanted.len());
            if seen[from..].windows(wanted.len()).any(|window| window == wanted.as_bytes()) {
                return String::from_utf8_lossy(&seen).into_owned();
            }
            searched = seen.len();
            match self.next(within.saturating_sub(began.elapsed())) {
                Some(Received::Data(_, data)) => seen.extend(data),
                Some(Received::Control(_)) => {}
                other => {
                    let end = String::from_utf8_lossy(&seen[seen.len().saturating_sub(2000)..]).into_owned();
                    panic!("waiting for {wanted:?}: {other:?}\nseen last: {end}");
                }
            }
        }
    }

    /// Reads to the end.
    ///
    /// # Panics
    /// When it does not come within that long.
    #[track_caller]
    pub fn finish(mut self, within: Duration) -> Transcript {
        let began = Instant::now();
        let mut transcript = Transcript::default();
        loop {
            match self.next(within.saturating_sub(began.elapsed())) {
                Some(Received::Control(message)) => transcript.controls.push(message),
                Some(Received::Data(2, data)) => transcript.stderr.extend(data),
                Some(Received::Data(_, data)) => transcript.stdout.extend(data),
                Some(Received::Closed(code)) => {
                    transcript.closed = Some(code);
                    return transcript;
                }
                Some(Received::Gone) => return transcript,
                None => panic!("the stream does not end within {within:?}: {transcript:?}"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
