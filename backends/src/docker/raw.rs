//! Requests whose answers are read as they come; the client would gather them first.
//!
//! What an engine tells of containers and their events holds all labels of their images, which may be anybody's: however
//! much it is, no more is held of it than somebody needs.

use std::io;

use bollard::body_full;
use bollard::errors::Error;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyDataStream, BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::io::AsyncRead;
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
    documents(StreamReader::new(BodyDataStream::new(body).map_err(io::Error::other)))
}

fn documents<T: DeserializeOwned, R: AsyncRead + Unpin>(
    bytes: R,
) -> impl Stream<Item = Result<Line<T>, Error>> + use<T, R> {
    let lines = FramedRead::new(bytes, LinesCodec::new_with_max_length(LINE));
    stream::unfold(lines, async |mut lines| {
        let line = match lines.next().await? {
            Ok(line) => serde_json::from_str(&line).map(Line::Read).map_err(Error::from),
            Err(LinesCodecError::MaxLineLengthExceeded) => {
                // After a failure it ends once, and then goes on with the next line.
                let _ = lines.next().await;
                Ok(Line::TooLong)
            }
            Err(LinesCodecError::Io(error)) => Err(error.into()),
        };
        Some((line, lines))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_that_is_too_long_hides_no_other() {
        let long = format!("\"{}\"", "x".repeat(3 * LINE));
        let text = format!("1\n{long}\n2\n{long}\n{long}\n3\n<html>\n");
        for piece in [7, 4096, text.len()] {
            let pieces = text.as_bytes().chunks(piece).map(Bytes::copy_from_slice);
            let read = documents::<u32, _>(StreamReader::new(stream::iter(pieces.map(Ok::<_, io::Error>))));
            let told: Vec<_> = read.map(|line| line.map_err(drop)).collect().await;
            let words: Vec<_> = told.iter().map(|line| format!("{line:?}")).collect();
            let wanted = ["Read(1)", "TooLong", "Read(2)", "TooLong", "TooLong", "Read(3)"];
            assert_eq!(words[..6], wanted.map(|word| format!("Ok({word})")), "in pieces of {piece}");
            assert_eq!(words[6..], ["Err(())"]);
        }
    }
}
