//! How long a connection may take: a request's head 30 s from its first byte, a connection without a request 75 s.
//!
//! ```text
//! idle ── first byte ──▶ head ── request ──▶ busy ── answered ──▶ idle
//!  75 s: hyper's timer    30 s: here          no limit (upgraded: for ever)
//! ```
//!
//! The HTTP library has one timer for both, which runs from the end of the last answer. It is set to the longer time;
//! the shorter one is kept here, where bytes come in.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// From a head's first byte to its last.
const HEAD: Duration = Duration::from_secs(30);
/// From one request to the next.
pub(crate) const IDLE: Duration = Duration::from_secs(75);

/// What the service tells the connection's reader: how many requests have begun, and whether one is being served.
#[derive(Debug, Clone, Default)]
pub(crate) struct Busy(Arc<(AtomicU64, AtomicBool)>);

impl Busy {
    pub(crate) fn begin(&self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
        self.0.1.store(true, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.0.1.store(false, Ordering::Relaxed);
    }
}

/// A connection whose heads have to arrive in time.
#[derive(Debug)]
pub(crate) struct Patient<T> {
    stream: T,
    busy: Busy,
    /// Requests that had begun when it was last read from.
    begun: u64,
    head: Option<Pin<Box<Sleep>>>,
}

impl<T> Patient<T> {
    pub(crate) fn new(stream: T, busy: Busy) -> Self {
        Self { stream, busy, begun: 0, head: None }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        let begun = self.busy.0.0.load(Ordering::Relaxed);
        if begun != self.begun {
            // That head has arrived.
            (self.begun, self.head) = (begun, None);
        }
        if self.busy.0.1.load(Ordering::Relaxed) {
            return read;
        }
        if into.filled().len() > before && self.head.is_none() {
            self.head = Some(Box::pin(tokio::time::sleep(HEAD)));
        }
        // Also after a read that gave something: a head that drips in has no longer than one that stops.
        if let Some(head) = &mut self.head
            && head.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_in_has_30_s_and_a_request_all_the_time() {
        let (mut client, server) = tokio::io::duplex(64);
        let busy = Busy::default();
        let mut server = Patient::new(server, busy.clone());
        let mut byte = [0; 1];
        client.write_all(b"G").await.unwrap();
        server.read_exact(&mut byte).await.unwrap();
        // Its head is there: the next byte may take as long as it wants.
        busy.begin();
        let slow = async {
            // tidy: sleeps because the clock is paused
            tokio::time::sleep(3 * HEAD).await;
            client.write_all(b"b").await.unwrap();
        };
        tokio::join!(slow, async { server.read_exact(&mut byte).await.unwrap() });
        busy.end();
        let began = tokio::time::Instant::now();
        let drip = async {
            loop {
                // tidy: sleeps because the clock is paused
                tokio::time::sleep(Duration::from_secs(4)).await;
                if client.write_all(b"G").await.is_err() {
                    return;
                }
            }
        };
        let read = async { while server.read_exact(&mut byte).await.is_ok() {} };
        tokio::select! {
            () = drip => {}
            () = read => {}
        }
        let took = began.elapsed();
        assert!((HEAD..HEAD + Duration::from_secs(6)).contains(&took), "{took:?}");
    }
}
