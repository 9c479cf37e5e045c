//! A tunnel's stream as plain bytes, for whoever speaks a protocol of its own through it.
//!
//! Half-close is a word on the stream (`{"eof": true}`), as for every tunnel: the other half goes on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use futures_util::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wharf_protocol::stream::{Channel, ClientControl, ServerControl};

use crate::frame::{Frame, FrameError};
use crate::mux::{LinkReader, LinkStream, LinkWriter};

/// Most bytes of one frame: large enough to be cheap, small enough to share a link.
const PIECE: usize = 64 << 10;

/// Bytes to and from an endpoint inside a session.
#[derive(Debug)]
pub struct TunnelIo {
    reader: LinkReader,
    writer: LinkWriter,
    /// Read and not yet taken.
    rest: Bytes,
    /// The other side has no more to say.
    ended: bool,
    /// We have said so.
    closed: bool,
}

fn broken(error: FrameError) -> io::Error {
    match error {
        FrameError::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}

impl TunnelIo {
    /// Of a tunnel that was granted.
    pub fn new(stream: LinkStream) -> Self {
        let (reader, writer) = stream.split();
        Self { reader, writer, rest: Bytes::new(), ended: false, closed: false }
    }

    fn send(&mut self, context: &mut Context<'_>, frame: Frame) -> Poll<io::Result<()>> {
        let mut frames = Pin::new(&mut self.writer.frames);
        ready!(frames.as_mut().poll_ready(context)).map_err(broken)?;
        Poll::Ready(frames.start_send(frame).map_err(broken))
    }
}

impl AsyncRead for TunnelIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() && !self.ended {
            match ready!(Pin::new(&mut self.reader.frames).poll_next(context)) {
                Some(Ok(Frame::Data(_, data))) => self.rest = data,
                Some(Ok(Frame::Control(text))) => match serde_json::from_slice(&text) {
                    Ok(ServerControl::Eof(_)) => self.ended = true,
                    Ok(ServerControl::Offset(_)) => {}
                    Ok(ServerControl::Exit(_) | ServerControl::Error(_) | ServerControl::Notice(_))
                    | Err(_) => {
                        return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                    }
                },
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                // What only stops has not ended: half a download must not pass for a whole one.
                None => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            }
        }
        let length = self.rest.len().min(into.remaining());
        into.put_slice(&self.rest[..length]);
        self.rest.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TunnelIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // Nothing is copied before there is room for it.
        ready!(Pin::new(&mut self.writer.frames).poll_ready(context)).map_err(broken)?;
        let piece = &data[..data.len().min(PIECE)];
        let frame = Frame::Data(Channel::Stdin, Bytes::copy_from_slice(piece));
        ready!(self.send(context, frame))?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer.frames).poll_flush(context).map_err(broken)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed {
            let eof = Frame::json(&ClientControl::Eof(true)).map_err(broken)?;
            ready!(self.send(context, eof))?;
            self.closed = true;
        }
        self.poll_flush(context)
    }
}

#[cfg(test)]
mod tests;
