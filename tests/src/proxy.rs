//! A door of a test's own in front of a server: it counts requests, lets bytes through slowly, lies, and can be shut.
//!
//! It knows of HTTP only that a request begins with a line, and passes everything on as it comes. It lies about the first
//! request of a connection, which for clients that open one for each is every request.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet};

/// Methods of requests.
const METHODS: [&str; 5] = ["GET ", "POST ", "PUT ", "DELETE ", "HEAD "];

/// What a client hears in place of the server's answer.
#[derive(Debug, Clone)]
pub enum Lie {
    /// The server's own answer, which it gives, up to so many bytes.
    Cut(usize),
    /// This status and body; the server is not asked.
    Body(&'static str, Vec<u8>),
    /// The same with a body that begins so and goes on so for ever.
    Endless(Vec<u8>, Vec<u8>),
    /// Nothing.
    Silence,
}

#[derive(Debug, Default)]
struct Shared {
    /// For requests whose first line has that in it.
    lies: Mutex<Vec<(String, Lie)>>,
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
                open.spawn(async move { serve(&state, client, UnixStream::connect(&server)).await });
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
                open.spawn(async move { serve(&state, client, TcpStream::connect(&server)).await });
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

    /// Lies about requests whose first line has that in it.
    pub fn lie(&self, about: &str, lie: Lie) {
        let mut lies = self.shared.lies.lock().unwrap_or_else(PoisonError::into_inner);
        lies.insert(0, (about.to_owned(), lie));
    }

    /// Lies no more.
    pub fn be_honest(&self) {
        self.shared.lies.lock().unwrap_or_else(PoisonError::into_inner).clear();
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

impl Shared {
    /// Keeps the first line of what a client sends, if it is a request's.
    fn note(&self, bytes: &[u8]) -> Option<Lie> {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(2048)]);
        if !METHODS.iter().any(|method| text.starts_with(method)) {
            return None;
        }
        let line = text.lines().next().unwrap_or_default().to_owned();
        let lies = self.lies.lock().unwrap_or_else(PoisonError::into_inner);
        let lie = lies.iter().find(|(about, _)| line.contains(about)).map(|(_, lie)| lie.clone());
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), line));
        lie
    }
}

/// One client.
async fn serve<S: AsyncRead + AsyncWrite>(
    state: &Shared,
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    connect: impl Future<Output = std::io::Result<S>>,
) {
    let mut first = vec![0; 64 << 10];
    let Ok(count @ 1..) = client.read(&mut first).await else { return };
    first.truncate(count);
    let most = match state.note(&first) {
        None => usize::MAX,
        Some(Lie::Cut(most)) => most,
        Some(Lie::Silence) => return drop(client.read_to_end(&mut first).await),
        Some(Lie::Body(status, body)) => {
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            _ = client.write_all(&[head.as_bytes(), &body].concat()).await;
            return;
        }
        Some(Lie::Endless(begin, again)) => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
            let mut more = client.write_all(&[head, begin.as_slice()].concat()).await.is_ok();
            while more {
                more = client.write_all(&again).await.is_ok();
            }
            return;
        }
    };
    let Ok(server) = connect.await else { return };
    let ((from_client, to_client), (from_server, to_server)) =
        (tokio::io::split(client), tokio::io::split(server));
    pass(state, first, most, (from_client, to_server), (from_server, to_client)).await;
}

/// Both directions until both are over, or so many bytes have come from the server.
async fn pass(
    state: &Shared,
    first: Vec<u8>,
    mut most: usize,
    (mut from_client, mut to_server): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    (mut from_server, mut to_client): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
) {
    let up = async {
        if to_server.write_all(&first).await.is_err() {
            return;
        }
        let mut buffer = first;
        buffer.resize(64 << 10, 0);
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            state.note(&buffer[..count]);
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
            let piece = if rate == 0 { buffer.len() } else { usize::try_from(rate / 10).unwrap_or(1).max(1) };
            let piece = piece.min(buffer.len());
            let Ok(count @ 1..) = from_server.read(&mut buffer[..piece]).await else { break };
            if to_client.write_all(&buffer[..count.min(most)]).await.is_err() || count >= most {
                break;
            }
            most -= count;
            if rate > 0 {
                beat.tick().await;
            }
        }
        _ = to_client.shutdown().await;
    };
    tokio::join!(up, down);
}
