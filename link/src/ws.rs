//! A WebSocket as a stream of bytes: only binary messages count, and their borders mean nothing.

use std::io;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, Join};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

/// The reading half.
pub type Reader = StreamReader<Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>, Bytes>;
/// The writing half.
pub type Writer = SinkWriter<CopyToBytes<Pin<Box<dyn Sink<Bytes, Error = io::Error> + Send>>>>;

/// Joins binary messages into bytes. `Ok(None)` items (pings, text) are left out.
pub fn bytes<R, W, E, F>(messages: R, sink: W) -> Join<Reader, Writer>
where
    R: Stream<Item = Result<Option<Bytes>, E>> + Send + 'static,
    W: Sink<Bytes, Error = F> + Send + 'static,
    E: std::fmt::Display + Send + 'static,
    F: std::fmt::Display + Send + 'static,
{
    let messages = messages.filter_map(|message| async {
        match message {
            Ok(Some(bytes)) if !bytes.is_empty() => Some(Ok(bytes)),
            Ok(_) => None,
            Err(error) => Some(Err(io::Error::new(io::ErrorKind::ConnectionReset, error.to_string()))),
        }
    });
    let sink = sink.sink_map_err(|error| io::Error::new(io::ErrorKind::ConnectionReset, error.to_string()));
    let messages: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>> = Box::pin(messages);
    let sink: Pin<Box<dyn Sink<Bytes, Error = io::Error> + Send>> = Box::pin(sink);
    tokio::io::join(StreamReader::new(messages), SinkWriter::new(CopyToBytes::new(sink)))
}

/// What a link runs over.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for T {}
