//! A door of a test's own in front of a server: it counts requests, lets bytes through slowly, and can be shut.
//!
//! It knows of HTTP only that a request begins with a line, and passes everything on as it comes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet};

/// Methods of requests.
const METHODS: [&str; 5] = ["GET ", "POST ", "PUT ", "DELETE ", "HEAD "];

#[derive(Debug, Default)]
struct Shared {
    requests: Mutex<Vec<(Instant, String)>>,
    /// Bytes a second from the server; 0: as fast as it goes.
    rate: AtomicU64,
}

/// A door that is open.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl Proxy {
    /// A socket at `path` in front of the one at `server`.
    ///
    /// # Panics
    /// When it cannot be bound.
    pub fn unix(path: &Path, server: PathBuf) -> Self {
        _ = std::fs::remove_file(path);
        let _inside = crate::runtime().enter();
        let listener = UnixListener::bind(path).expect("the test's own directory takes sockets");
        let shared = Arc::<Shared>::default();
        let state = Arc::clone(&shared);
        let task = crate::runtime().spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (server, state) = (server.clone(), Arc::clone(&state));
                open.spawn(async move {
                    let Ok(server) = UnixStream::connect(&server).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    pass(&state, (from_client, to_server), (from_server, to_client)).await;
                });
            }
        });
        Self { address: format!("unix://{}", path.display()), shared, task: task.abort_handle() }
    }

    /// A port of loopback in front of the one at `server` (`HOST:PORT`).
    ///
    /// # Panics
    /// When it cannot be bound.
    pub fn tcp(server: &str) -> Self {
        let (server, shared) = (server.to_owned(), Arc::<Shared>::default());
        let state = Arc::clone(&shared);
        let listener = crate::runtime().block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let task = crate::runtime().spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (server, state) = (server.clone(), Arc::clone(&state));
                open.spawn(async move {
                    let Ok(server) = TcpStream::connect(&server).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    pass(&state, (from_client, to_server), (from_server, to_client)).await;
                });
            }
        });
        Self { address, shared, task: task.abort_handle() }
    }

    /// `unix://PATH` or `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The first lines of all requests since the last time this was asked.
    pub fn take_requests(&self) -> Vec<String> {
        self.take_timed().into_iter().map(|(_, line)| line).collect()
    }

    /// The same, with when each came.
    pub fn take_timed(&self) -> Vec<(Instant, String)> {
        std::mem::take(&mut *self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets so many bytes a second come from the server; 0: as fast as it goes.
    pub fn throttle(&self, bytes: u64) {
        self.shared.rate.store(bytes, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Both directions until both are over.
async fn pass(
    state: &Shared,
    (mut from_client, mut to_server): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    (mut from_server, mut to_client): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
) {
    let up = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            let text = String::from_utf8_lossy(&buffer[..count.min(512)]);
            if METHODS.iter().any(|method| text.starts_with(method)) {
                let line = text.lines().next().unwrap_or_default().to_owned();
                state.requests.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), line));
            }
            if to_server.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
        _ = to_server.shutdown().await;
    };
    let down = async {
        let mut buffer = vec![0; 64 << 10];
        let mut beat = tokio::time::interval(Duration::from_millis(100));
        loop {
            let rate = state.rate.load(Ordering::Relaxed);
            let most = if rate == 0 { buffer.len() } else { usize::try_from(rate / 10).unwrap_or(1).max(1) };
            let most = most.min(buffer.len());
            let Ok(count @ 1..) = from_server.read(&mut buffer[..most]).await else { break };
            if to_client.write_all(&buffer[..count]).await.is_err() {
                break;
            }
            if rate > 0 {
                beat.tick().await;
            }
        }
        _ = to_client.shutdown().await;
    };
    tokio::join!(up, down);
}
