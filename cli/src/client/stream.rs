//! Streams into a session: a WebSocket of control messages and channels (CONTRACT sections 3 and 9).

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use wharf_protocol::stream::{Channel, ClientControl, MAX_MESSAGE, ServerControl};
use wharf_protocol::{ErrorCode, Problem};

use super::transport::{self, Stream};
use super::{Client, problem};
use crate::failure::Outcome;

/// Until the upgrade is done: the monitor answers within its own deadline.
const UPGRADE: Duration = Duration::from_secs(60);

/// What comes from the session.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// Data of a channel.
    Data(Channel, Bytes),
    /// A control message.
    Control(ServerControl),
}

/// Towards the session.
#[derive(Debug)]
pub(crate) struct Sender(SplitSink<WebSocketStream<Stream>, Message>);

/// From the session.
#[derive(Debug)]
pub(crate) struct Receiver(SplitStream<WebSocketStream<Stream>>);

fn broken(error: &dyn std::fmt::Display) -> Problem {
    Problem::new(ErrorCode::Unreachable, format!("the stream broke off: {error}"))
        .hint("the session goes on; try again")
}

impl Sender {
    /// Says something.
    pub(crate) async fn control(&mut self, message: &ClientControl) -> Result<(), Problem> {
        let text = serde_json::to_string(message).unwrap_or_default();
        self.0.send(Message::text(text)).await.map_err(|error| broken(&error))
    }

    /// Sends input.
    pub(crate) async fn input(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let mut message = Vec::with_capacity(bytes.len() + 1);
        message.push(Channel::Stdin as u8);
        message.extend_from_slice(bytes);
        self.0.send(Message::binary(message)).await.map_err(|error| broken(&error))
    }

    /// Says good-bye.
    pub(crate) async fn close(&mut self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.0.close()).await;
    }
}

impl Receiver {
    /// The next data or message; `None` when the stream is closed.
    pub(crate) async fn next(&mut self) -> Result<Option<Incoming>, Problem> {
        loop {
            match self.0.next().await {
                None | Some(Ok(Message::Close(_))) => return Ok(None),
                Some(Err(tungstenite::Error::ConnectionClosed)) => return Ok(None),
                Some(Err(error)) => return Err(broken(&error)),
                Some(Ok(Message::Binary(bytes))) => {
                    if let Some(channel) = bytes.first().copied().and_then(Channel::from_byte) {
                        return Ok(Some(Incoming::Data(channel, bytes.slice(1..))));
                    }
                }
                Some(Ok(Message::Text(text))) => {
                    // What a later release may say beside this is none of our business.
                    if let Ok(message) = serde_json::from_str(&text) {
                        return Ok(Some(Incoming::Control(message)));
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            }
        }
    }
}

impl Client {
    /// Opens a stream into a session.
    pub(crate) async fn stream(&self, path: &str) -> Outcome<(Sender, Receiver)> {
        let mut headers = HeaderMap::new();
        let key = tungstenite::handshake::client::generate_key();
        for (name, value) in [
            (header::CONNECTION, HeaderValue::from_static("Upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
        ] {
            headers.insert(name, value);
        }
        if let Ok(key) = HeaderValue::from_str(&key) {
            headers.insert(header::SEC_WEBSOCKET_KEY, key);
        }
        let request = self
            .head(Method::GET, path, headers)?
            .uri(format!("ws://{}{}{path}", self.address.host(), super::BASE))
            .body(())
            .map_err(|error| {
                Problem::new(ErrorCode::Usage, format!("this cannot be asked of a launcher: {error}"))
            })?;
        let stream = transport::connect(&self.address).await.map_err(|error| self.absent(&error))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(2 * MAX_MESSAGE))
            .max_frame_size(Some(2 * MAX_MESSAGE));
        let upgrade = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        match tokio::time::timeout(UPGRADE, upgrade).await {
            Ok(Ok((socket, _))) => {
                let (sink, stream) = socket.split();
                Ok((Sender(sink), Receiver(stream)))
            }
            Ok(Err(tungstenite::Error::Http(answer))) => {
                let status =
                    StatusCode::from_u16(answer.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
                Err(problem(status, answer.body().as_deref().unwrap_or_default()).into())
            }
            Ok(Err(error)) => Err(broken(&error).into()),
            Err(_) => Err(Problem::new(ErrorCode::Deadline, "the session did not answer in time").into()),
        }
    }
}
