//! A JSON client of the HTTP API, over the Unix socket (as the owner) or TCP (with a token).
//!
//! One connection a request: what is tested is the launcher, not a pool.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

mod streaming;

pub use streaming::Streaming;

/// Path prefix of the API.
pub const BASE: &str = "/api/v1";
/// No request of the tests may take longer, unless it says so.
const DEADLINE: Duration = Duration::from_secs(60);

/// A byte stream to a listener.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// Where a client dials.
#[derive(Debug, Clone)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// `HOST:PORT`.
    Tcp(String),
}

/// A client.
#[derive(Debug, Clone)]
pub struct Http {
    /// Where it dials.
    pub address: Address,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// How long a request may take.
    pub deadline: Duration,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
#[must_use = "assert what the launcher answered"]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// Method and path, for messages.
    pub line: String,
    /// How long it took.
    pub took: Duration,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }

    /// Asserts the status and returns the body as JSON; `null` when it is empty.
    ///
    /// # Panics
    /// When the status is another.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self}");
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Asserts a problem document of that status and code, and returns it.
    ///
    /// # Panics
    /// When the answer is another, or the document lacks what the contract promises.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{self}");
        assert_eq!(problem["status"], status, "{self}");
        assert!(problem["title"].is_string() && problem["type"].is_string(), "{self}");
        for member in ["detail", "hint", "trace_id"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {self}");
        }
        let kind = self.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/problem+json"), "content-type {kind}: {self}");
        problem
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<String> {
        Some(self.headers.get(name)?.to_str().ok()?.to_owned())
    }

    /// `Retry-After` in seconds.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn retry_after(&self) -> u64 {
        let seconds = self.header("retry-after").and_then(|text| text.parse().ok());
        seconds.unwrap_or_else(|| panic!("no Retry-After in seconds: {self}"))
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut body = self.text();
        if body.len() > 4000 {
            body = body.chars().take(4000).collect();
        }
        write!(out, "{} -> {} after {:?}: {body}", self.line, self.status, self.took)
    }
}

impl Http {
    /// A client of that address.
    pub fn new(address: Address) -> Self {
        Self { address, headers: Vec::new(), deadline: DEADLINE }
    }

    /// Sends that header along from now on.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives up after that long.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    pub(crate) async fn dial(&self) -> anyhow::Result<Box<dyn Wire>> {
        Ok(match &self.address {
            Address::Unix(path) => {
                Box::new(UnixStream::connect(path).await.with_context(|| path.display().to_string())?)
            }
            Address::Tcp(host) => Box::new(TcpStream::connect(host).await.with_context(|| host.clone())?),
        })
    }

    /// What stands in `Host`.
    pub(crate) fn host(&self) -> &str {
        match &self.address {
            Address::Unix(_) => "localhost",
            Address::Tcp(host) => host,
        }
    }

    pub(crate) async fn open(
        &self,
        method: &str,
        path: &str,
        body: Vec<u8>,
    ) -> anyhow::Result<http::Response<Incoming>> {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.dial().await?)).await?;
        tokio::spawn(connection);
        let mut request = http::Request::builder().method(method).uri(path);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header("host", self.host());
        }
        let named = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if !body.is_empty() && !named {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body)))?;
        Ok(sender.send_request(request).await?)
    }

    /// Sends bytes to a path as it stands, and reads the answer to its end.
    ///
    /// # Errors
    /// When nobody answers, or not in time.
    pub fn try_raw(&self, method: &str, path: &str, body: Vec<u8>) -> anyhow::Result<Answer> {
        let began = Instant::now();
        crate::runtime().block_on(async {
            let talk = async {
                let answer = self.open(method, path, body).await?;
                let (head, body) = answer.into_parts();
                let body = body.collect().await?.to_bytes().to_vec();
                anyhow::Ok(Answer {
                    status: head.status.as_u16(),
                    headers: head.headers,
                    body,
                    line: format!("{method} {path}"),
                    took: began.elapsed(),
                })
            };
            match tokio::time::timeout(self.deadline, talk).await {
                Ok(answer) => answer,
                Err(_) => bail!("{method} {path}: no answer within {:?}", self.deadline),
            }
        })
    }

    /// Sends JSON (`null`: no body) to a path below the API's base.
    ///
    /// # Errors
    /// When nobody answers, or not in time.
    pub fn try_send(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Answer> {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
        self.try_raw(method, &format!("{BASE}{path}"), body)
    }

    /// As [`Self::try_send`].
    ///
    /// # Panics
    /// When nobody answers, or not in time.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.try_send(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error:#}"))
    }

    /// `GET` below the API's base.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &Value::Null)
    }

    /// `POST` below the API's base.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, body)
    }

    /// `PATCH` below the API's base.
    #[track_caller]
    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, body)
    }

    /// `DELETE` below the API's base.
    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &Value::Null)
    }
}

#[cfg(test)]
mod tests;
