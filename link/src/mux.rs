//! Streams of a link, multiplexed by yamux. Only the launcher opens them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use futures_util::{SinkExt as _, StreamExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tokio_util::codec::{FramedRead, FramedWrite};
use tokio_util::compat::TokioAsyncReadCompatExt as _;
use tokio_util::sync::CancellationToken;
use wharf_protocol::monitor::StreamOpen;
use yamux::{Config, Connection, Mode};

mod raw;

use raw::Half;

use crate::frame::{Codec, Frame, FrameError};
use crate::ws::Transport;

/// Streams of one link at a time.
pub const MAX_STREAMS: usize = 64;
/// Bytes that may be under way to one side of one link.
const WINDOW: usize = 20 << 20;

/// Why a stream cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The link is gone.
    #[error("the link is gone")]
    Gone,
    /// All streams of the link are in use.
    #[error("all streams of the link are in use")]
    Busy,
    /// The stream broke while it was opened.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

fn config() -> Config {
    let mut config = Config::default();
    config.set_max_num_streams(MAX_STREAMS + 8);
    config.set_max_connection_receive_window(Some(WINDOW));
    config.set_split_send_size(16 * 1024);
    config
}

/// Opens streams; the launcher's side. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Opener {
    requests: mpsc::Sender<oneshot::Sender<yamux::Stream>>,
    open: Arc<AtomicUsize>,
    close: CancellationToken,
}

/// The launcher's side of a link over that transport. The future drives it and ends when the link is gone.
pub fn launcher(io: impl Transport) -> (Opener, impl Future<Output = ()> + Send + 'static) {
    let (requests, mut wanted) = mpsc::channel::<oneshot::Sender<yamux::Stream>>(MAX_STREAMS);
    let close = CancellationToken::new();
    let opener = Opener { requests, open: Arc::default(), close: close.clone() };
    let mut connection = Connection::new(io.compat(), config(), Mode::Client);
    let driver = async move {
        let mut pending: Option<oneshot::Sender<yamux::Stream>> = None;
        let drive = std::future::poll_fn(|context| {
            loop {
                if pending.is_none()
                    && let Poll::Ready(Some(request)) = wanted.poll_recv(context)
                {
                    pending = Some(request);
                }
                if pending.is_some() {
                    match connection.poll_new_outbound(context) {
                        Poll::Ready(Ok(stream)) => {
                            if let Some(request) = pending.take() {
                                let _ = request.send(stream);
                            }
                            continue;
                        }
                        Poll::Ready(Err(_)) => return Poll::Ready(()),
                        Poll::Pending => {}
                    }
                }
                // A stream that the monitor opens breaks the rules, and ends the link.
                match connection.poll_next_inbound(context) {
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        tokio::select! {
            () = drive => {}
            () = close.cancelled() => {}
        }
        close.cancel();
        let end = std::future::poll_fn(|context| connection.poll_close(context));
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), end).await;
    };
    (opener, driver)
}

impl Opener {
    /// Opens a stream and says what for.
    ///
    /// # Errors
    /// `Gone`, `Busy`, or a stream that broke at once.
    pub async fn open(&self, what: &StreamOpen) -> Result<LinkStream, LinkError> {
        let slot = Slot::take(&self.open).ok_or(LinkError::Busy)?;
        let (reply, answer) = oneshot::channel();
        self.requests.send(reply).await.map_err(|_| LinkError::Gone)?;
        let stream = tokio::select! {
            stream = answer => stream.map_err(|_| LinkError::Gone)?,
            () = self.close.cancelled() => return Err(LinkError::Gone),
        };
        let mut stream = LinkStream::new(stream, &self.close, Some(slot));
        stream.writer.send_json(what).await?;
        Ok(stream)
    }

    /// Hangs up.
    pub fn close(&self) {
        self.close.cancel();
    }

    /// Resolves when the link is gone.
    pub async fn gone(&self) {
        self.close.cancelled().await;
    }
}

/// One of the link's streams, given back when dropped.
#[derive(Debug)]
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(open: &Arc<AtomicUsize>) -> Option<Self> {
        let slot = Self(Arc::clone(open));
        (open.fetch_add(1, Ordering::Relaxed) < MAX_STREAMS).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes streams; the monitor's side.
#[derive(Debug)]
pub struct Acceptor {
    streams: mpsc::Receiver<yamux::Stream>,
    close: CancellationToken,
}

/// The monitor's side of a link over that transport, driven by a task of its own.
pub fn monitor(io: impl Transport) -> Acceptor {
    let (accepted, streams) = mpsc::channel(MAX_STREAMS);
    let close = CancellationToken::new();
    let closing = close.clone();
    let mut connection = Connection::new(io.compat(), config(), Mode::Server);
    tokio::spawn(async move {
        let drive = std::future::poll_fn(|context| {
            loop {
                match connection.poll_next_inbound(context) {
                    // One too many is dropped: its opener sees it closed.
                    Poll::Ready(Some(Ok(stream))) => drop(accepted.try_send(stream)),
                    Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        tokio::select! {
            () = drive => {}
            () = closing.cancelled() => {}
        }
        closing.cancel();
        let end = std::future::poll_fn(|context| connection.poll_close(context));
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), end).await;
    });
    Acceptor { streams, close }
}

impl Acceptor {
    /// The next stream; `None` when the link is gone. Its first frame is still to be read: [`LinkReader::recv_json`].
    pub async fn accept(&mut self) -> Option<LinkStream> {
        self.streams.recv().await.map(|stream| LinkStream::new(stream, &self.close, None))
    }

    /// What ends the link when cancelled, and is cancelled when it is gone.
    pub fn token(&self) -> CancellationToken {
        self.close.clone()
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.close.cancel();
    }
}

/// One stream of a link.
#[derive(Debug)]
pub struct LinkStream {
    /// What comes.
    pub reader: LinkReader,
    /// What goes.
    pub writer: LinkWriter,
}

/// The reading half of a stream.
#[derive(Debug)]
pub struct LinkReader {
    pub(crate) frames: FramedRead<Half, Codec>,
    _slot: Option<Slot>,
}

/// The writing half of a stream.
#[derive(Debug)]
pub struct LinkWriter {
    pub(crate) frames: FramedWrite<Half, Codec>,
}

impl LinkStream {
    fn new(stream: yamux::Stream, close: &CancellationToken, slot: Option<Slot>) -> Self {
        let (read, write) = Half::both(stream, close);
        Self {
            reader: LinkReader { frames: FramedRead::new(read, Codec), _slot: slot },
            writer: LinkWriter { frames: FramedWrite::new(write, Codec) },
        }
    }

    /// Both halves.
    pub fn split(self) -> (LinkReader, LinkWriter) {
        (self.reader, self.writer)
    }
}

impl LinkReader {
    /// The next frame; `None` when the other side has closed its half.
    ///
    /// # Errors
    /// A stream that broke.
    pub async fn recv(&mut self) -> Result<Option<Frame>, FrameError> {
        self.frames.next().await.transpose()
    }

    /// Whether the other side has given the stream up, or the link is gone: what is still to be read is nobody's any more.
    /// Nobody is woken for it.
    pub fn is_over(&self) -> bool {
        self.frames.get_ref().is_over()
    }

    /// The next frame, which has to be that document.
    ///
    /// # Errors
    /// Anything else.
    pub async fn recv_json<T: DeserializeOwned>(&mut self) -> Result<T, FrameError> {
        match self.recv().await? {
            Some(Frame::Control(text)) => Ok(serde_json::from_slice(&text)?),
            Some(Frame::Data(..)) => Err(FrameError::Bad("data where a message was expected")),
            None => Err(FrameError::Over),
        }
    }
}

impl LinkWriter {
    /// Sends a frame; waits for the stream's credit.
    ///
    /// # Errors
    /// A stream that broke.
    pub async fn send(&mut self, frame: Frame) -> Result<(), FrameError> {
        self.frames.send(frame).await
    }

    /// Sends a document.
    ///
    /// # Errors
    /// A stream that broke.
    pub async fn send_json<T: Serialize + Sync>(&mut self, value: &T) -> Result<(), FrameError> {
        self.send(Frame::json(value)?).await
    }

    /// Closes this half.
    pub async fn close(&mut self) {
        let _ = Pin::new(&mut self.frames).close().await;
    }
}

#[cfg(test)]
mod tests;
