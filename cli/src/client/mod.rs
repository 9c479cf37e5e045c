//! Talking to a launcher.
//!
//! ```text
//! address ─▶ transport: Unix socket, TCP, TLS ─┬─ calls: one request, one answer, typed
//!                                              ├─ sse: server-sent events, and logs that follow
//!                                              └─ stream: WebSocket for exec and attach
//! ```
//!
//! Must not print and must not know what a command means. One connection serves one request: a command makes few, and
//! a launcher that restarts in between is then no special case.

pub(crate) mod address;
pub(crate) mod calls;
pub(crate) mod sse;
pub(crate) mod stream;
mod tls;
pub(crate) mod transport;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wharf_protocol::{ErrorCode, Problem};

use crate::args::Global;
use crate::failure::{Failure, Outcome};
use crate::paths;
use address::Address;

/// Below it lies every route.
pub(crate) const BASE: &str = "/api/v1";
/// How long an answer may take when nothing is waited for on purpose: hooks have deadlines of minutes at most.
const ANSWER: Duration = Duration::from_secs(300);
/// Largest answer that is read.
const BODY: usize = 256 << 20;

/// A launcher, and who we are to it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) address: Address,
    token: Option<String>,
}

/// What an answer says, and the document it came in: what we do not know is passed on as it is.
#[derive(Debug, Clone)]
pub(crate) struct Reply<T> {
    pub(crate) value: T,
    pub(crate) raw: Value,
}

impl<T: DeserializeOwned> Reply<T> {
    pub(crate) fn read(raw: Value) -> Result<Self, Problem> {
        let value = T::deserialize(&raw).map_err(|error| {
            Problem::new(ErrorCode::Internal, format!("the launcher's answer cannot be understood: {error}"))
                .hint("are `wharf` and the launcher of the same release? see `wharf --version`")
        })?;
        Ok(Self { value, raw })
    }
}

/// How a request failed.
#[derive(Debug)]
pub(crate) enum CallError {
    /// Nobody is there: nothing was sent.
    Absent(Problem),
    /// Sent, and the answer did not come: it may have been done.
    Lost(Problem),
    /// Answered with a refusal.
    Refused(Box<Problem>),
}

impl CallError {
    pub(crate) fn problem(self) -> Problem {
        match self {
            Self::Absent(problem) | Self::Lost(problem) => problem,
            Self::Refused(problem) => *problem,
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        error.problem().into()
    }
}

impl Client {
    /// Finds the launcher: `--server`, then `WHARF_SERVER` (clap reads it), then the per-user socket.
    pub(crate) fn new(global: &Global) -> Outcome<Self> {
        let address = match global.server.as_deref().filter(|server| !server.is_empty()) {
            Some(server) => server.parse().map_err(|error| Failure::usage(format!("--server: {error}")))?,
            None => Address::Unix(paths::socket(&paths::data_dir(global)?)),
        };
        Ok(Self { address, token: token(global.token_file.as_ref())? })
    }

    /// A launcher at that address, as whom the socket tells.
    pub(crate) fn at(address: Address) -> Self {
        Self { address, token: None }
    }

    fn head(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
    ) -> Result<http::request::Builder, Problem> {
        let mut request = Request::builder().method(method).uri(format!("{BASE}{path}"));
        if let Some(all) = request.headers_mut() {
            *all = headers;
            let host = HeaderValue::from_str(&self.address.host())
                .map_err(|_| Problem::new(ErrorCode::Usage, "the launcher's address is no host name"))?;
            all.insert(header::HOST, host);
            all.insert(
                header::USER_AGENT,
                HeaderValue::from_static(concat!("wharf/", env!("CARGO_PKG_VERSION"))),
            );
            if let Some(token) = &self.token {
                let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                    Problem::new(ErrorCode::Usage, "the token holds characters that no token has")
                })?;
                value.set_sensitive(true);
                all.insert(header::AUTHORIZATION, value);
            }
        }
        Ok(request)
    }

    /// Sends a request and returns the answer's head once it has come.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Option<Vec<u8>>,
        within: Duration,
    ) -> Result<http::Response<Incoming>, CallError> {
        if body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let request = self
            .head(method, path, headers)
            .and_then(|head| {
                head.body(Full::new(Bytes::from(body.unwrap_or_default()))).map_err(|error| {
                    Problem::new(ErrorCode::Usage, format!("this cannot be asked of a launcher: {error}"))
                })
            })
            .map_err(|problem| CallError::Refused(Box::new(problem)))?;
        let stream = transport::connect(&self.address)
            .await
            .map_err(|error| CallError::Absent(self.absent(&error)))?;
        let lost = |error: &dyn std::fmt::Display| {
            CallError::Lost(
                Problem::new(
                    ErrorCode::NoLauncher,
                    format!("the launcher at {} did not answer: {error}", self.address),
                )
                .hint("it may be restarting; try again"),
            )
        };
        let exchange = async {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|error| lost(&error))?;
            tokio::spawn(async move {
                // Its failure shows in the answer's body.
                let _ = connection.with_upgrades().await;
            });
            sender.send_request(request).await.map_err(|error| lost(&error))
        };
        match tokio::time::timeout(within, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::Lost(Problem::new(
                ErrorCode::Deadline,
                format!("the launcher at {} did not answer within {} s", self.address, within.as_secs()),
            ))),
        }
    }

    /// One request, one JSON answer; `Null` for an empty one.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<&Value>,
        wait: Duration,
    ) -> Result<(StatusCode, Value), CallError> {
        let within = ANSWER + wait;
        let body = body.map(|body| body.to_string().into_bytes());
        let answer = self.send(method, path, headers, body, within).await?;
        let (head, body) = answer.into_parts();
        let collected = tokio::time::timeout(within, Limited::new(body, BODY).collect()).await;
        let bytes = match collected {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) => {
                let detail = format!("the launcher's answer broke off: {error}");
                return Err(CallError::Lost(Problem::new(ErrorCode::NoLauncher, detail)));
            }
            Err(_) => {
                let detail = "the launcher's answer did not come to its end";
                return Err(CallError::Lost(Problem::new(ErrorCode::Deadline, detail)));
            }
        };
        if !head.status.is_success() {
            return Err(CallError::Refused(Box::new(problem(head.status, &bytes))));
        }
        if bytes.is_empty() {
            return Ok((head.status, Value::Null));
        }
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            let detail = format!("what answers at {} is no launcher: {error}", self.address);
            CallError::Refused(Box::new(Problem::new(ErrorCode::NoLauncher, detail)))
        })?;
        Ok((head.status, value))
    }

    fn absent(&self, error: &transport::ConnectError) -> Problem {
        let hint = if matches!(self.address, Address::Unix(_)) {
            "start one with `wharf serve`, or name one with --server or WHARF_SERVER"
        } else if error.to_string().contains("certificate") {
            "if it is the right one, SSL_CERT_FILE names a PEM file of the authority that signed its certificate"
        } else {
            "is it the right address? On its own host a launcher is started with `wharf serve`"
        };
        match error {
            transport::ConnectError::Denied(_) => {
                Problem::new(ErrorCode::Forbidden, format!("the launcher at {}: {error}", self.address))
                    .hint("only its own user may use this socket; over TCP a token lets you in")
            }
            transport::ConnectError::Absent(_)
            | transport::ConnectError::Refused(_)
            | transport::ConnectError::Other(_) => Problem::new(
                ErrorCode::NoLauncher,
                format!("no launcher answers at {}: {error}", self.address),
            )
            .hint(hint),
        }
    }
}

/// The token: `WHARF_TOKEN`, or the named file.
fn token(file: Option<&PathBuf>) -> Outcome<Option<String>> {
    if let Some(file) = file {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("--token-file {}: {error}", file.display())))?;
        let token = text.trim();
        if token.is_empty() {
            return Err(Failure::usage(format!("--token-file {}: it is empty", file.display())));
        }
        return Ok(Some(token.to_owned()));
    }
    Ok(std::env::var("WHARF_TOKEN")
        .ok()
        .map(|token| token.trim().to_owned())
        .filter(|token| !token.is_empty()))
}

/// The refusal in an answer; of one that is no problem document, what its status says.
pub(crate) fn problem(status: StatusCode, body: &[u8]) -> Problem {
    if let Ok(problem) = serde_json::from_slice::<Problem>(body) {
        return problem;
    }
    // A code of a later release, or something between us and the launcher.
    let raw: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |member: &str| raw.get(member).and_then(Value::as_str).map(str::to_owned);
    let code = match status.as_u16() {
        400 => ErrorCode::Malformed,
        401 => ErrorCode::Unauthenticated,
        403 => ErrorCode::Forbidden,
        404 => ErrorCode::NotFound,
        405 => ErrorCode::MethodNotAllowed,
        413 => ErrorCode::TooLarge,
        415 => ErrorCode::UnsupportedMediaType,
        422 => ErrorCode::Invalid,
        429 => ErrorCode::RateLimited,
        502 => ErrorCode::BackendFailed,
        503 => ErrorCode::Unavailable,
        504 => ErrorCode::Deadline,
        _ => ErrorCode::Internal,
    };
    let detail = text("detail").unwrap_or_else(|| format!("the launcher answered {status}"));
    let mut problem = Problem::new(code, detail).status(status.as_u16());
    problem.hint = text("hint");
    problem
}

/// One header.
pub(crate) fn header(name: &'static str, value: &str) -> Result<HeaderMap, Failure> {
    let value = HeaderValue::from_str(value)
        .map_err(|_| Failure::usage(format!("{name}: visible ASCII characters only")))?;
    Ok(HeaderMap::from_iter([(HeaderName::from_static(name), value)]))
}

#[cfg(test)]
mod tests;
