//! Connections on which no more comes than an answer may be long, for what speaks HTTP to other programs.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::uri::Authority;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What bytes go over, both ways.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to that host, at its port or the usual one.
pub(crate) async fn dial(authority: &Authority, usual: u16) -> io::Result<TcpStream> {
    let port = authority.port_u16().unwrap_or(usual);
    let stream = TcpStream::connect((bare(authority.host()), port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Without the brackets of an address of IPv6.
pub(crate) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// The answer was longer than it may be.
#[derive(Debug, thiserror::Error)]
#[error("the answer is longer than {} MiB", .most >> 20)]
struct TooLong {
    most: u64,
}

/// Whether the answer was longer than it may be.
pub(crate) fn is_too_long(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if inner.is_some_and(|inner| inner.is::<TooLong>()) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A connection that breaks off when more comes than was to come.
pub(crate) struct Bounded {
    stream: Box<dyn Stream>,
    left: u64,
    most: u64,
}

impl Bounded {
    /// With the most bytes that may come.
    pub(crate) fn new(stream: Box<dyn Stream>, most: u64) -> Self {
        Self { stream, left: most, most }
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let came = u64::try_from(buffer.filled().len() - before).unwrap_or(u64::MAX);
        let Some(left) = self.left.checked_sub(came) else {
            return Poll::Ready(Err(io::Error::other(TooLong { most: self.most })));
        };
        self.left = left;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
