//! One stream as bytes, in two halves, for as long as its link lives.
//!
//! ```text
//! reader's task ┐                                     ┌ what comes, and room that was given back
//!               ├ each leaves its waker ─▶ both wakers ┤
//! writer's task ┘                                     └ room to send: one place for both, the last one to wait wins
//! ```
//!
//! Whoever waits on a stream of yamux waits in places that reading and writing share: giving room back while reading is
//! sending too. So whatever wakes one half wakes the other as well; alone, a reader would take the writer's place there
//! and, with nothing to read, never give the turn back.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Who waits on a stream: its reader and its writer.
#[derive(Debug, Default)]
struct Waiting([AtomicWaker; 2]);

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.iter().for_each(AtomicWaker::wake);
    }
}

/// Half of a stream. It ends with its link: yamux alone tells its streams of a connection that broke, but not of one that
/// was closed from here; who waits for a word, or for credit, would wait for ever.
#[derive(Debug)]
pub(crate) struct Half {
    stream: Arc<Mutex<Compat<yamux::Stream>>>,
    waiting: Arc<Waiting>,
    which: usize,
    link: CancellationToken,
    gone: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Half {
    /// The reading and the writing one.
    pub(super) fn both(stream: yamux::Stream, link: &CancellationToken) -> (Self, Self) {
        let (stream, waiting) = (Arc::new(Mutex::new(stream.compat())), Arc::new(Waiting::default()));
        let half = |which| Self {
            stream: Arc::clone(&stream),
            waiting: Arc::clone(&waiting),
            which,
            link: link.clone(),
            gone: Box::pin(link.clone().cancelled_owned()),
        };
        (half(0), half(1))
    }

    /// Whether the other side has given the stream up, or the link is gone. Nobody is woken for it.
    pub(super) fn is_over(&self) -> bool {
        self.link.is_cancelled() || self.lock().get_ref().is_closed()
    }

    fn lock(&self) -> MutexGuard<'_, Compat<yamux::Stream>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there is taken first; nothing more is waited for on a link that is gone.
    fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut Compat<yamux::Stream>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.waiting.0[self.which].register(context.waker());
        let both = Waker::from(Arc::clone(&self.waiting));
        let polled = poll(Pin::new(&mut *self.lock()), &mut Context::from_waker(&both));
        if polled.is_ready() {
            return polled;
        }
        ready!(self.gone.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the link is gone")))
    }
}

impl AsyncRead for Half {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(context, |stream, context| stream.poll_read(context, into))
    }
}

impl AsyncWrite for Half {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(context, |stream, context| stream.poll_write(context, data))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, AsyncWrite::poll_shutdown)
    }
}
