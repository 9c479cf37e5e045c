//! One stream as bytes, for as long as its link lives.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A stream that ends with its link. yamux alone tells its streams of a connection that broke, but not of one that was
/// closed from here: who waits for a word, or for credit, would wait for ever.
#[derive(Debug)]
pub(crate) struct Raw {
    stream: Compat<yamux::Stream>,
    /// One for each half, as they are waited for by different tasks.
    gone: [Pin<Box<WaitForCancellationFutureOwned>>; 2],
}

/// Which half of [`Raw::gone`].
const READS: usize = 0;
const WRITES: usize = 1;

impl Raw {
    pub(super) fn new(stream: yamux::Stream, close: &CancellationToken) -> Self {
        let gone = || Box::pin(close.clone().cancelled_owned());
        Self { stream: stream.compat(), gone: [gone(), gone()] }
    }

    /// What is there is taken first; nothing more is waited for on a link that is gone.
    fn or_gone<T>(
        &mut self,
        half: usize,
        context: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut Compat<yamux::Stream>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = poll(Pin::new(&mut self.stream), context) {
            return Poll::Ready(done);
        }
        ready!(self.gone[half].as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the link is gone")))
    }
}

impl AsyncRead for Raw {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.or_gone(READS, context, |stream, context| stream.poll_read(context, into))
    }
}

impl AsyncWrite for Raw {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.or_gone(WRITES, context, |stream, context| stream.poll_write(context, data))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.or_gone(WRITES, context, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.or_gone(WRITES, context, AsyncWrite::poll_shutdown)
    }
}
