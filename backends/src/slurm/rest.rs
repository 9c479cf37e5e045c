//! slurmrestd, where the configuration names one: submits without a process of its own for each job.
//!
//! ```text
//! can it be told so? ─ no ───────────────────────────────────────────────▶ sbatch
//!   └ version and token (kept) ─ cannot be had ─ closed for a while ─────▶ sbatch
//!       └ POST job/submit ─ nobody reached, not let in, not understood ──▶ sbatch, closed for a while
//!            ├ an id ──▶ submitted          └ nothing was submitted, for sure
//!            ├ Slurm's refusal ──▶ as sbatch's
//!            └ broke off, in time no answer, no sense ──▶ nobody knows: looked for by its tag
//! ```
//!
//! It is a way to submit and nothing else: whatever it is asked for and cannot do goes the other way, so a site loses
//! nothing by a daemon that is away or older than what is known here. What is asked is in [`document`], what is answered
//! in [`answer`].

mod answer;
mod document;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use wharf_core::backend::{HostContext, HostError};
use wharf_core::hook::HookErrorKind;

use super::arguments::Sbatch;
use super::run::{Cluster, RESERVE, run};
use super::{submit, words};
use crate::wire::{Bounded, Stream, bare, dial};
use answer::Answer;

/// Most bytes of the interface's own description, some 400 KiB a version.
const DESCRIPTION: u64 = 16 << 20;
/// Of the answer to a submit.
const ANSWER: u64 = 1 << 20;
/// How long one that was not reached, or did not answer, is left alone.
const AWAY: Duration = Duration::from_secs(30);
/// One that has to be looked at by somebody.
const WRONG: Duration = Duration::from_secs(600);
/// How long a connection is kept, so that many starts in a row share it, and how many are.
const IDLE: Duration = Duration::from_secs(1);
const IDLE_MOST: usize = 8;
/// Answers that one brings: all of them together are bounded.
const SERVES: u32 = 100;
/// How long a token is asked for, and how long it is used.
const TOKEN: (u64, Duration) = (3600, Duration::from_secs(2700));

/// Where slurmrestd listens: `unix:PATH`, or `http://HOST:PORT` on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestAddress {
    /// It knows who asks by the socket.
    Unix(PathBuf),
    /// It is shown a token.
    Http(Authority),
}

impl FromStr for RestAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            // Both ways to write it are common.
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.starts_with('/') {
                Ok(Self::Unix(PathBuf::from(path)))
            } else {
                Err(format!("{text:?} names no whole path: write unix:/run/slurmrestd.sock"))
            };
        }
        let Some(place) = text.strip_prefix("http://") else {
            return Err(format!("{text:?} is no such address: write unix:PATH or http://127.0.0.1:6820"));
        };
        let authority: Authority =
            place.trim_end_matches('/').parse().map_err(|error| format!("{text:?}: {error}"))?;
        let host = bare(authority.host());
        let here = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        if here {
            Ok(Self::Http(authority))
        } else {
            Err(format!(
                "{text:?} would show tokens to the network: name this host's end of a tunnel or of a proxy with TLS"
            ))
        }
    }
}

impl fmt::Display for RestAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
            Self::Http(authority) => write!(out, "http://{authority}"),
        }
    }
}

/// The interface of one cluster.
#[derive(Debug)]
pub(super) struct Rest {
    address: RestAddress,
    known: Mutex<Known>,
    /// Until when it is left alone, and why.
    closed: std::sync::Mutex<Option<(Instant, String)>>,
    idle: std::sync::Mutex<Vec<Idle>>,
}

/// A connection that may serve once more.
struct Idle {
    sender: Sender,
    since: Instant,
    served: u32,
}

type Sender = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

impl fmt::Debug for Idle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Idle").field("since", &self.since).field("served", &self.served).finish()
    }
}

/// What is not asked for each time.
#[derive(Debug, Default)]
struct Known {
    version: Option<u32>,
    /// It wants one; told by a refusal where the socket might do.
    shows_token: bool,
    token: Option<(HeaderValue, Instant)>,
}

/// How a submit is to be asked for.
struct Way {
    version: u32,
    user: Option<HeaderValue>,
    token: Option<HeaderValue>,
}

/// Why there was no answer.
enum Failure {
    /// Nothing was asked.
    Unreached(String),
    /// Whether it was heard, nobody knows.
    Broken(String),
}

/// Nothing was submitted, and why; not to be asked again for so long.
struct Closed {
    pause: Duration,
    why: String,
    /// Who asked is not believed.
    barred: bool,
}

impl Closed {
    fn away(why: impl Into<String>) -> Self {
        Self { pause: AWAY, why: why.into(), barred: false }
    }

    fn wrong(why: impl Into<String>) -> Self {
        Self { pause: WRONG, why: why.into(), barred: false }
    }

    fn barred(why: &str) -> Self {
        Self { pause: WRONG, why: format!("it lets nobody in: {why}"), barred: true }
    }
}

impl Rest {
    pub(super) fn at(address: RestAddress) -> Self {
        let shows_token = matches!(address, RestAddress::Http(_));
        let known = Mutex::new(Known { shows_token, ..Known::default() });
        let (closed, idle) = (std::sync::Mutex::default(), std::sync::Mutex::default());
        Self { address, known, closed, idle }
    }

    /// Submits; `None` says that nothing was submitted, and that sbatch has to.
    ///
    /// # Errors
    /// As sbatch's: kinds of their own for what surely left nothing in the queue, `timeout` and `command_failed` for what
    /// nobody knows.
    pub(super) async fn submit(
        &self,
        cluster: &Cluster,
        context: &HostContext,
        job: &Sbatch,
    ) -> Result<Option<String>, HostError> {
        if !speaks_for(context) || !document::can_tell(job) || self.is_closed() {
            return Ok(None);
        }
        let left = context.left.saturating_sub(RESERVE);
        let away = || Closed::away("it does not answer");
        let whole = async {
            match tokio::time::timeout(left / 4, self.way(cluster, context)).await {
                Ok(Ok(way)) => self.post(&way, cluster, context, job).await,
                Ok(Err(closed)) => Ok(Err(closed)),
                Err(_) => Ok(Err(away())),
            }
        };
        let late =
            |how: &str| HostError::new(HookErrorKind::Timeout, format!("Slurm's REST interface {how}"));
        let outcome = tokio::select! {
            outcome = whole => outcome?,
            () = context.cancel.cancelled() => return Err(late("was given up")),
            () = tokio::time::sleep(left) => {
                self.close(away());
                return Err(late("did not answer in time"));
            }
        };
        Ok(match outcome {
            Ok(id) => Some(id),
            Err(closed) => {
                self.close(closed);
                None
            }
        })
    }

    /// The outer failure is the submit's, the inner one says that there was none.
    async fn post(
        &self,
        way: &Way,
        cluster: &Cluster,
        context: &HostContext,
        job: &Sbatch,
    ) -> Result<Result<String, Closed>, HostError> {
        let document = document::of(way.version, job)?;
        let path = format!("/slurm/v0.0.{}/job/submit", way.version);
        let mut answer = self.ask(way, Method::POST, &path, document.clone(), ANSWER).await;
        if let Ok((status, text)) = &answer
            && matches!(answer::read(*status, text), Answer::NotLetIn(_))
        {
            // Once more with another token, or with one: keys are changed, and clocks are set.
            let mut known = self.known.lock().await;
            (known.shows_token, known.token) = (true, None);
            drop(known);
            match self.way(cluster, context).await {
                Ok(anew) => answer = self.ask(&anew, Method::POST, &path, document, ANSWER).await,
                Err(closed) => return Ok(Err(closed)),
            }
        }
        let (status, text) = match answer {
            Ok(answer) => answer,
            Err(Failure::Unreached(why)) => return Ok(Err(Closed::away(why))),
            Err(Failure::Broken(why)) => {
                let message = format!("Slurm's REST interface broke off: {why}");
                return Err(HostError::new(HookErrorKind::CommandFailed, message));
            }
        };
        match answer::read(status, &text) {
            Answer::Submitted(id) => Ok(Ok(id)),
            Answer::Refused(words) => Err(submit::refused(words::refusal(&words), words)),
            Answer::NotLetIn(why) => {
                self.known.lock().await.token = None;
                Ok(Err(Closed::barred(&why)))
            }
            Answer::NotUnderstood(why) => {
                // It may be another version by now.
                self.known.lock().await.version = None;
                Ok(Err(Closed::wrong(format!("it does not understand a job of ours: {why}"))))
            }
            Answer::Senseless(why) => {
                let message = format!("Slurm's REST interface said no job id: {why}");
                Err(HostError::new(HookErrorKind::CommandFailed, message))
            }
        }
    }

    /// How to ask, with a token that is good for a while where one is wanted.
    async fn way(&self, cluster: &Cluster, context: &HostContext) -> Result<Way, Closed> {
        let mut known = self.known.lock().await;
        loop {
            let stale = known.token.as_ref().is_none_or(|(_, until)| Instant::now() >= *until);
            if known.shows_token && stale {
                known.token = Some((token(cluster, context).await?, Instant::now() + TOKEN.1));
            }
            let user = context.base.iter().find(|(name, _)| name == "USER");
            let mut way = Way {
                version: 0,
                user: user.and_then(|(_, user)| HeaderValue::from_str(user).ok()),
                token: known.token.as_ref().map(|(token, _)| token.clone()),
            };
            let version = match known.version {
                Some(version) => Ok(version),
                None => self.version(&way).await,
            };
            match version {
                Ok(version) => {
                    known.version = Some(version);
                    way.version = version;
                    return Ok(way);
                }
                Err(closed) if closed.barred && !known.shows_token => known.shows_token = true,
                Err(closed) => {
                    known.token = None;
                    return Err(closed);
                }
            }
        }
    }

    /// The newest version that both sides know.
    async fn version(&self, way: &Way) -> Result<u32, Closed> {
        let answer = self.ask(way, Method::GET, "/openapi.json", Vec::new(), DESCRIPTION).await;
        let (status, text) = answer.map_err(|failure| match failure {
            Failure::Unreached(why) | Failure::Broken(why) => Closed::away(why),
        })?;
        if matches!(status, 401 | 403) {
            return Err(Closed::barred(
                &String::from_utf8_lossy(&text).chars().take(200).collect::<String>(),
            ));
        }
        document::newest(&String::from_utf8_lossy(&text)).ok_or_else(|| {
            Closed::wrong(format!("it speaks no version that is known here ({})", document::VERSIONS))
        })
    }

    /// Asks; an answer may be so long.
    async fn ask(
        &self,
        way: &Way,
        method: Method,
        path: &str,
        body: Vec<u8>,
        most: u64,
    ) -> Result<(u16, Vec<u8>), Failure> {
        let broken = |error: &dyn std::error::Error| Failure::Broken(words_of(error));
        let host = match &self.address {
            RestAddress::Unix(_) => "localhost",
            RestAddress::Http(authority) => authority.as_str(),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::Unreached(error.to_string()))?;
        if let Some(token) = &way.token {
            let headers = request.headers_mut();
            headers.insert("x-slurm-user-token", token.clone());
            // Older ones want to be told whose it is.
            headers.extend(way.user.clone().map(|user| (HeaderName::from_static("x-slurm-user-name"), user)));
        }
        // One that was left a moment ago serves once more, unless it has gone before anything was sent.
        let kept = if most == ANSWER { self.take_idle() } else { None };
        let (mut sender, mut served) = match kept {
            Some(idle) => (idle.sender, idle.served),
            None => (self.connect(most).await?, 0),
        };
        let answer = match sender.try_send_request(request).await {
            Ok(answer) => answer,
            Err(mut error) => match error.take_message() {
                Some(request) if served > 0 => {
                    (sender, served) = (self.connect(most).await?, 0);
                    sender.send_request(request).await.map_err(|error| broken(&error))?
                }
                Some(_) => return Err(Failure::Unreached(words_of(error.error()))),
                None => return Err(broken(&error.into_error())),
            },
        };
        let status = answer.status().as_u16();
        let text = answer.into_body().collect().await.map_err(|error| broken(&error))?;
        if most == ANSWER {
            self.keep_idle(Idle { sender, since: Instant::now(), served: served + 1 });
        }
        Ok((status, text.to_bytes().into()))
    }

    async fn connect(&self, most: u64) -> Result<Sender, Failure> {
        let unreached = |error: io::Error| Failure::Unreached(error.to_string());
        let stream: Box<dyn Stream> = match &self.address {
            RestAddress::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(unreached)?),
            RestAddress::Http(authority) => Box::new(dial(authority, 6820).await.map_err(unreached)?),
        };
        let stream = TokioIo::new(Bounded::new(stream, most));
        let (sender, connection) = hyper::client::conn::http1::handshake(stream)
            .await
            .map_err(|error| Failure::Unreached(words_of(&error)))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn take_idle(&self) -> Option<Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        idle.retain(|one| one.since.elapsed() < IDLE && !one.sender.is_closed());
        idle.pop()
    }

    fn keep_idle(&self, one: Idle) {
        let mut idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if one.served < SERVES && !one.sender.is_closed() && idle.len() < IDLE_MOST {
            idle.push(one);
        }
    }

    fn is_closed(&self) -> bool {
        let mut closed = self.closed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        closed.take_if(|(until, _)| Instant::now() >= *until);
        closed.is_some()
    }

    /// Why sbatch serves meanwhile, if it does.
    pub(super) fn lacks(&self) -> Option<String> {
        let closed = self.closed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (_, why) = closed.as_ref().filter(|(until, _)| Instant::now() < *until)?;
        Some(format!("jobs are submitted by sbatch, not by slurmrestd at {}: {why}", self.address))
    }

    fn close(&self, Closed { pause, why, .. }: Closed) {
        let mut closed = self.closed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if closed.replace((Instant::now() + pause, why.clone())).is_none() {
            let (address, seconds) = (&self.address, pause.as_secs());
            tracing::warn!(%address, why = %why.escape_debug(), "sbatch serves instead of Slurm's REST interface for {seconds} s");
        }
    }
}

/// Whether a template leaves it to the configuration which Slurm is asked, and how.
fn speaks_for(context: &HostContext) -> bool {
    let own = |name: &str| name.starts_with("SLURM_") || name.starts_with("SBATCH_");
    !context.env.iter().any(|(name, _)| own(name))
        && !context.programs.iter().any(|(name, _)| name == "sbatch")
}

/// With what it comes from: hyper's own words say little.
fn words_of(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// A token of the launcher's user, from Slurm itself.
async fn token(cluster: &Cluster, context: &HostContext) -> Result<HeaderValue, Closed> {
    let argv = ["scontrol".to_owned(), "token".to_owned(), format!("lifespan={}", TOKEN.0)];
    let said = run(cluster, context, &argv, "", false).await.map_err(|error| Closed::away(error.message))?;
    let token = said.stdout.trim().strip_prefix("SLURM_JWT=").filter(|_| said.ok());
    let mut token = token.and_then(|token| HeaderValue::from_str(token).ok()).ok_or_else(|| {
        // What was printed may be one.
        let why = if said.stderr.trim().is_empty() { "it printed none".to_owned() } else { said.words() };
        Closed::wrong(format!("`scontrol token` gives no token: {why}"))
    })?;
    token.set_sensitive(true);
    Ok(token)
}

#[cfg(test)]
mod tests;
