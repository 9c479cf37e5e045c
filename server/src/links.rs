//! The links there are: the way to a session's monitor, for the core's words and for users' streams.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use wharf_core::link::ControlLink;
use wharf_link::{Frame, LinkStream, Opener};
use wharf_protocol::api::LogStream;
use wharf_protocol::monitor::{LauncherSays, StreamOpen, StreamReply};
use wharf_protocol::{ErrorCode, Problem, SessionId};

/// Words that may wait for a monitor.
const QUEUE: usize = 256;
/// Until a monitor has to have answered on a new stream.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);

/// What is to be said on a control stream.
#[derive(Debug)]
pub(crate) enum Word {
    Say(LauncherSays),
    HangUp,
}

/// One monitor's link.
#[derive(Debug)]
pub(crate) struct Link {
    queue: mpsc::Sender<Word>,
    pub(crate) opener: Opener,
    pings: Mutex<HashMap<u64, oneshot::Sender<()>>>,
    next: AtomicU64,
}

impl Link {
    /// A link, and what is to be said on it once it is welcomed.
    pub(crate) fn new(opener: Opener) -> (Arc<Self>, mpsc::Receiver<Word>) {
        let (queue, words) = mpsc::channel(QUEUE);
        (Arc::new(Self { queue, opener, pings: Mutex::default(), next: AtomicU64::new(1) }), words)
    }

    fn queue(&self, word: Word) {
        if self.queue.try_send(word).is_err() {
            // It does not keep up, or is on its way out.
            self.opener.close();
        }
    }

    /// The monitor answered a ping.
    pub(crate) fn pong(&self, nonce: u64) {
        let waiting = self.pings.lock().unwrap_or_else(PoisonError::into_inner).remove(&nonce);
        if let Some(waiting) = waiting {
            let _ = waiting.send(());
        }
    }

    /// Opens a stream for a user; the monitor has to answer in time.
    pub(crate) async fn open(&self, what: &StreamOpen) -> Result<(LinkStream, serde_json::Value), Problem> {
        let opened = tokio::time::timeout(ANSWER, async {
            let mut stream = self.opener.open(what).await.map_err(|error| match error {
                wharf_link::LinkError::Busy => {
                    Problem::new(ErrorCode::RateLimited, "too many streams into this session").retry_after(5)
                }
                wharf_link::LinkError::Gone | wharf_link::LinkError::Frame(_) => unreachable(),
            })?;
            match stream.reader.recv_json::<StreamReply>().await {
                Ok(StreamReply::Ok(value)) => Ok((stream, value)),
                Ok(StreamReply::Refused(problem)) => Err(confined(problem)),
                Err(_) => Err(unreachable()),
            }
        });
        opened.await.unwrap_or_else(|_| Err(unreachable()))
    }
}

/// A monitor may refuse, but not in the launcher's name: it is its user's, and what it says of a sign-in would be believed.
pub(crate) fn confined(problem: Problem) -> Problem {
    let code = match problem.code {
        ErrorCode::NoTerminal
        | ErrorCode::UnknownEndpoint
        | ErrorCode::EndpointFailed
        | ErrorCode::SessionEnded
        | ErrorCode::RateLimited => problem.code,
        _ => ErrorCode::EndpointFailed,
    };
    let detail: String = problem.detail.chars().take(1024).collect();
    Problem::new(code, detail)
}

pub(crate) fn unreachable() -> Problem {
    Problem::new(ErrorCode::Unreachable, "the session's monitor does not answer")
        .hint("it may come back by itself; `wharf show` tells its link")
        .retry_after(5)
}

#[async_trait]
impl ControlLink for Link {
    fn say(&self, what: LauncherSays) {
        self.queue(Word::Say(what));
    }

    async fn ping(&self, within: Duration) -> bool {
        let nonce = self.next.fetch_add(1, Ordering::Relaxed);
        let (send, answer) = oneshot::channel();
        self.pings.lock().unwrap_or_else(PoisonError::into_inner).insert(nonce, send);
        self.queue(Word::Say(LauncherSays::Ping { nonce }));
        let answered = tokio::select! {
            answer = tokio::time::timeout(within, answer) => matches!(answer, Ok(Ok(()))),
            () = self.opener.gone() => false,
        };
        self.pings.lock().unwrap_or_else(PoisonError::into_inner).remove(&nonce);
        answered
    }

    async fn logs(&self, stream: LogStream, limit: usize, within: Duration) -> Option<Vec<u8>> {
        tokio::time::timeout(within, async {
            let open = StreamOpen::Logs { stream, tail: None, follow: false };
            let (mut stream, _) = self.open(&open).await.ok()?;
            let mut text = Vec::new();
            // Whole only when the monitor says so: what a lost link leaves is not kept as if it were all.
            while let Frame::Data(_, data) = stream.reader.recv().await.ok()?? {
                text.extend_from_slice(&data);
                // The end is worth more than what came before it.
                if text.len() > 2 * limit {
                    text.drain(..text.len() - limit);
                }
            }
            text.drain(..text.len().saturating_sub(limit));
            Some(text)
        })
        .await
        .ok()?
    }

    fn close(&self) {
        self.queue(Word::HangUp);
    }
}

/// All links, by session.
#[derive(Debug, Default)]
pub(crate) struct Links(Mutex<HashMap<SessionId, (u64, Arc<Link>)>>);

impl Links {
    fn links(&self) -> MutexGuard<'_, HashMap<SessionId, (u64, Arc<Link>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, id: &SessionId, serial: u64, link: Arc<Link>) {
        self.links().insert(id.clone(), (serial, link));
    }

    pub(crate) fn remove(&self, id: &SessionId, serial: u64) {
        let mut links = self.links();
        if links.get(id).is_some_and(|(current, _)| *current == serial) {
            links.remove(id);
        }
    }

    /// A session's link. One that has just registered may be a moment late.
    pub(crate) async fn get(&self, id: &SessionId) -> Result<Arc<Link>, Problem> {
        for _ in 0..50 {
            let found = self.links().get(id).map(|(_, link)| Arc::clone(link));
            if let Some(link) = found {
                return Ok(link);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(unreachable())
    }
}
