//! A byte stream to a launcher, whatever lies between.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::address::Address;
use super::tls;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest path that a socket address holds.
pub(crate) const SOCKET_PATH: usize = 107;

/// A connection.
pub(crate) enum Stream {
    /// To a socket of this host.
    Unix(UnixStream),
    /// Over the network.
    Tcp(TcpStream),
    /// Over the network, encrypted.
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Stream")
    }
}

/// Why there is no connection; nothing has been sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// No socket, no such host.
    #[error("{0}")]
    Absent(io::Error),
    /// Nobody listens.
    #[error("{0}")]
    Refused(io::Error),
    /// Somebody does, and we may not.
    #[error("{0}")]
    Denied(io::Error),
    /// Anything else.
    #[error("{0}")]
    Other(io::Error),
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            Self::Absent(error)
        } else if error.kind() == io::ErrorKind::ConnectionRefused {
            Self::Refused(error)
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            Self::Denied(error)
        } else {
            Self::Other(error)
        }
    }
}

/// Connects.
pub(crate) async fn connect(address: &Address) -> Result<Stream, ConnectError> {
    let connecting = async {
        match address {
            Address::Unix(path) => {
                let reachable = Reachable::new(path)?;
                Ok(Stream::Unix(UnixStream::connect(reachable.path()).await?))
            }
            Address::Tcp { host, port, tls } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                // Keystrokes are small.
                stream.set_nodelay(true)?;
                if *tls {
                    Ok(Stream::Tls(Box::new(tls::wrap(stream, host).await?)))
                } else {
                    Ok(Stream::Tcp(stream))
                }
            }
        }
    };
    match tokio::time::timeout(CONNECT, connecting).await {
        Ok(outcome) => outcome.map_err(|error: io::Error| error.into()),
        Err(_) => Err(ConnectError::Other(io::Error::from(io::ErrorKind::TimedOut))),
    }
}

/// A path that fits into a socket address: a longer one is reached through its opened directory.
#[derive(Debug)]
pub(crate) struct Reachable {
    path: PathBuf,
    _directory: Option<OwnedFd>,
}

impl Reachable {
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= SOCKET_PATH {
            return Ok(Self { path: path.to_owned(), _directory: None });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let directory =
            rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
        Ok(Self { path, _directory: Some(directory) })
    }

    /// Good while this value lives.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
