//! Requests whose answers are read as they come; the client would gather them first.
//!
//! What an engine tells of containers and their events holds all labels of their images, which may be anybody's: however
//! much it is, no more is held of it than somebody needs.

use std::io;

use bollard::body_full;
use bollard::errors::Error;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyDataStream, BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::io::StreamReader;

use super::engine::Engine;

/// Most bytes of a line.
const LINE: usize = 64 << 10;
/// Of a refusal.
const REFUSAL: usize = 64 << 10;

/// Asks; `path` is without the version.
pub(super) async fn ask(engine: &Engine, path: &str, query: &[(&str, &str)]) -> Result<Incoming, Error> {
    send(engine, Method::GET, path, query, None).await
}

/// The same for what is to be done; with who we are to a registry, if it is about one.
pub(super) async fn send(
    engine: &Engine,
    method: Method,
    path: &str,
    query: &[(&str, &str)],
    login: Option<HeaderValue>,
) -> Result<Incoming, Error> {
    let (transport, version) = engine.way().await?;
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let uri = format!("/v{}.{}{path}?{query}", version.major_version, version.minor_version);
    let mut request = Request::builder().method(method).uri(uri).body(body_full(Bytes::new()))?;
    if let Some(login) = login {
        request.headers_mut().insert("x-registry-auth", login);
    }
    let answer = engine.patiently(transport.ask(request)).await?;
    let (status, body) = (answer.status(), answer.into_body());
    if status.is_success() {
        return Ok(body);
    }
    Err(Error::DockerResponseServerError { status_code: status.as_u16(), message: refusal(body).await })
}

/// Why it was refused, in the engine's words.
async fn refusal(body: Incoming) -> String {
    let Ok(text) = Limited::new(body, REFUSAL).collect().await else { return "no reason is told".to_owned() };
    let text = text.to_bytes();
    let told: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
    let message = told.as_ref().and_then(|told| told.get("message")?.as_str());
    message.map_or_else(|| String::from_utf8_lossy(&text).into_owned(), str::to_owned)
}

/// One line of an answer that goes on.
#[derive(Debug)]
pub(super) enum Line<T> {
    Read(T),
    /// It was passed over.
    TooLong,
}

/// The documents of an answer that has one on each line.
pub(super) fn lines<T: DeserializeOwned>(
    body: Incoming,
) -> impl Stream<Item = Result<Line<T>, Error>> + use<T> {
    let bytes = StreamReader::new(BodyDataStream::new(body).map_err(io::Error::other));
    FramedRead::new(bytes, LinesCodec::new_with_max_length(LINE)).map(|line| match line {
        Ok(line) => Ok(Line::Read(serde_json::from_str(&line)?)),
        Err(LinesCodecError::MaxLineLengthExceeded) => Ok(Line::TooLong),
        Err(LinesCodecError::Io(error)) => Err(error.into()),
    })
}
