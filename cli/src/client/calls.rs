//! The API's calls, typed.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use wharf_protocol::api::{
    BackendStatus, ConnectRequest, Connection, DisconnectRequest, Disconnected, ExecRequest, ExecResult,
    ExtendRequest, Extended, HistoryEntry, LoginAddress, LoginRequest, Node, OpenStream, Page, ParamsAnswer,
    Share, ShareRequest, StartRequest, TerminateRequest, Token, TokenRequest, Trace,
};
use wharf_protocol::session::Params;
use wharf_protocol::template::{TemplateDetail, TemplateSummary};
use wharf_protocol::{ErrorCode, Problem, Session, SessionId};

use super::{CallError, Client, Reply, header};
use crate::failure::Outcome;

/// How long a lost start is repeated.
const REPEAT: Duration = Duration::from_secs(30);
/// How long one repetition waits before the next.
const PAUSE: Duration = Duration::from_millis(300);
/// How long a launcher that is just being restarted is waited for.
const RESTART: Duration = Duration::from_secs(2);
/// Items of one page.
const PAGE: u64 = 500;

/// A query's names and values, encoded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(String);

impl Query {
    pub(crate) fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(name);
        self.0.push('=');
        encode(&value.to_string(), &mut self.0);
        self
    }

    pub(crate) fn with_some(self, name: &str, value: Option<impl std::fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

impl std::fmt::Display for Query {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

/// Percent-encodes one part of a path or query.
fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            let _ = write!(into, "%{byte:02X}");
        }
    }
}

/// One segment of a path.
pub(crate) fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    encode(text, &mut encoded);
    encoded
}

fn body(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

impl Client {
    async fn plain<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        sent: Option<&Value>,
        wait: Duration,
    ) -> Outcome<Reply<T>> {
        let (_, raw) = self.call(method, path, HeaderMap::new(), sent, wait).await?;
        Ok(Reply::read(raw)?)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<Reply<T>> {
        self.plain(Method::GET, path, None, Duration::ZERO).await
    }

    /// Every item of a collection, all pages; at most `limit`.
    pub(crate) async fn all<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query,
        limit: Option<u64>,
    ) -> Outcome<Vec<Reply<T>>> {
        let most = limit.unwrap_or(u64::MAX);
        let mut items: Vec<Reply<T>> = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let left = most - u64::try_from(items.len()).unwrap_or(u64::MAX);
            let asked = query.clone().with("limit", left.min(PAGE)).with_some("cursor", cursor.as_ref());
            let (_, mut page) = self
                .call(Method::GET, &format!("{path}{asked}"), HeaderMap::new(), None, Duration::ZERO)
                .await?;
            if let Some(Value::Array(found)) = page.get_mut("items").map(Value::take) {
                for raw in found {
                    items.push(Reply::read(raw)?);
                }
            }
            let next = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
            let full = u64::try_from(items.len()).is_ok_and(|count| count >= most);
            // A cursor that does not move would go on for ever.
            if full || next.is_none() || next == cursor {
                return Ok(items);
            }
            cursor = next;
        }
    }

    /// Starts a session; a request whose answer was lost is repeated with the same key.
    pub(crate) async fn start(&self, request: &StartRequest, key: &str) -> Outcome<Reply<Session>> {
        let sent = body(request);
        let headers = header("idempotency-key", key)?;
        let began = Instant::now();
        let mut was_sent = false;
        loop {
            let outcome =
                self.call(Method::POST, "/sessions", headers.clone(), Some(&sent), Duration::ZERO).await;
            let (error, patience) = match outcome {
                Ok((_, raw)) => return Ok(Reply::read(raw)?),
                // Nothing can have happened: a launcher that is not there is said at once.
                Err(error @ CallError::Absent(_)) if was_sent => (error, REPEAT),
                Err(error @ CallError::Absent(_)) if self.is_restarting() => (error, RESTART),
                Err(error @ CallError::Lost(_)) => {
                    was_sent = true;
                    (error, REPEAT)
                }
                Err(error) => return Err(error.into()),
            };
            if began.elapsed() >= patience {
                return Err(unsure(error, was_sent, key).into());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether there is a socket with nobody behind it.
    fn is_restarting(&self) -> bool {
        match &self.address {
            super::address::Address::Unix(path) => path.exists(),
            super::address::Address::Tcp { .. } => false,
        }
    }

    /// One session.
    pub(crate) async fn session(&self, id: &SessionId) -> Outcome<Reply<Session>> {
        self.get(&format!("/sessions/{id}")).await
    }

    /// The session at the state or beyond, or as it is at the timeout.
    pub(crate) async fn wait(&self, id: &SessionId, goal: &str, within: Duration) -> Outcome<Reply<Session>> {
        let query = Query::default().with("wait", goal).with("timeout", format!("{}ms", within.as_millis()));
        self.plain(Method::GET, &format!("/sessions/{id}{query}"), None, within).await
    }

    /// How to enter a session.
    pub(crate) async fn connection(
        &self,
        id: &SessionId,
        request: &ConnectRequest,
        wait: Option<Duration>,
    ) -> Outcome<Reply<Connection>> {
        let query = match wait {
            Some(within) => {
                Query::default().with("wait", "running").with("timeout", format!("{}ms", within.as_millis()))
            }
            None => Query::default(),
        };
        let path = format!("/sessions/{id}/connect{query}");
        self.plain(Method::POST, &path, Some(&body(request)), wait.unwrap_or_default()).await
    }

    /// Who is in a session.
    pub(crate) async fn open_streams(&self, id: &SessionId) -> Outcome<Reply<Page<OpenStream>>> {
        self.plain(Method::GET, &format!("/sessions/{id}/connections"), None, Duration::ZERO).await
    }

    /// Cuts users' streams.
    pub(crate) async fn disconnect(
        &self,
        id: &SessionId,
        user: Option<String>,
    ) -> Outcome<Reply<Disconnected>> {
        let sent = body(&DisconnectRequest { user });
        self.plain(Method::POST, &format!("/sessions/{id}/disconnect"), Some(&sent), Duration::ZERO).await
    }

    /// Gives a session's job more time.
    pub(crate) async fn extend(&self, id: &SessionId, by: wharf_protocol::Dur) -> Outcome<Reply<Extended>> {
        let sent = body(&ExtendRequest { by });
        self.plain(Method::POST, &format!("/sessions/{id}/extend"), Some(&sent), Duration::from_secs(30))
            .await
    }

    /// A session's shares.
    pub(crate) async fn shares(&self, id: &SessionId) -> Outcome<Vec<Reply<Share>>> {
        self.all(&format!("/sessions/{id}/shares"), Query::default(), None).await
    }

    /// Shares a session.
    pub(crate) async fn share(&self, id: &SessionId, request: &ShareRequest) -> Outcome<Reply<Share>> {
        self.plain(Method::POST, &format!("/sessions/{id}/shares"), Some(&body(request)), Duration::ZERO)
            .await
    }

    /// Takes a share back.
    pub(crate) async fn unshare(&self, id: &SessionId, share: &str) -> Outcome<()> {
        let path = format!("/sessions/{id}/shares/{}", segment(share));
        self.call(Method::DELETE, &path, HeaderMap::new(), None, Duration::ZERO).await?;
        Ok(())
    }

    /// Runs a command in a session to its end.
    pub(crate) async fn exec(&self, id: &SessionId, request: &ExecRequest) -> Outcome<Reply<ExecResult>> {
        self.plain(Method::POST, &format!("/sessions/{id}/exec"), Some(&body(request)), Duration::ZERO).await
    }

    /// A session's parameters.
    pub(crate) async fn params(&self, id: &SessionId) -> Outcome<Reply<ParamsAnswer>> {
        self.get(&format!("/sessions/{id}/params")).await
    }

    /// Changes a session's parameters; `null` removes one.
    pub(crate) async fn patch_params(
        &self,
        id: &SessionId,
        patch: &Params,
        if_rev: Option<u64>,
    ) -> Outcome<Reply<ParamsAnswer>> {
        let headers = match if_rev {
            Some(rev) => header("if-match", &rev.to_string())?,
            None => HeaderMap::new(),
        };
        let path = format!("/sessions/{id}/params");
        let (_, raw) = self.call(Method::PATCH, &path, headers, Some(&body(patch)), Duration::ZERO).await?;
        Ok(Reply::read(raw)?)
    }

    /// Forgets a session that does not answer.
    pub(crate) async fn purge(&self, id: &SessionId) -> Result<(), CallError> {
        let path = format!("/sessions/{id}/purge");
        self.call(
            Method::POST,
            &path,
            HeaderMap::new(),
            Some(&Value::Object(serde_json::Map::new())),
            Duration::ZERO,
        )
        .await
        .map(|_| ())
    }

    /// Ends a session; whether it is over, and the session.
    pub(crate) async fn terminate(
        &self,
        id: &SessionId,
        request: &TerminateRequest,
        wait: Duration,
    ) -> Outcome<(bool, Reply<Session>)> {
        let query = Query::default().with("wait", format!("{}ms", wait.as_millis()));
        let path = format!("/sessions/{id}/terminate{query}");
        let (status, raw) =
            self.call(Method::POST, &path, HeaderMap::new(), Some(&body(request)), wait).await?;
        Ok((status == StatusCode::OK, Reply::read(raw)?))
    }

    /// What happened to a session.
    pub(crate) async fn history(&self, id: &SessionId) -> Outcome<Vec<Reply<HistoryEntry>>> {
        self.all(&format!("/sessions/{id}/history"), Query::default(), None).await
    }

    /// All templates.
    pub(crate) async fn templates(&self) -> Outcome<Vec<Reply<TemplateSummary>>> {
        self.all("/templates", Query::default(), None).await
    }

    /// One template.
    pub(crate) async fn template(&self, name: &str) -> Outcome<Reply<TemplateDetail>> {
        self.get(&format!("/templates/{}", segment(name))).await
    }

    /// All backends.
    pub(crate) async fn backends(&self) -> Outcome<Vec<Reply<BackendStatus>>> {
        self.all("/backends", Query::default(), None).await
    }

    /// All launchers.
    pub(crate) async fn nodes(&self) -> Outcome<Vec<Reply<Node>>> {
        self.all("/nodes", Query::default(), None).await
    }

    /// One hook run.
    pub(crate) async fn trace(&self, id: &str) -> Outcome<Reply<Trace>> {
        self.get(&format!("/traces/{}", segment(id))).await
    }

    /// All tokens.
    pub(crate) async fn tokens(&self) -> Outcome<Vec<Reply<Token>>> {
        self.all("/tokens", Query::default(), None).await
    }

    /// Makes a token.
    pub(crate) async fn create_token(&self, request: &TokenRequest) -> Outcome<Reply<Token>> {
        self.plain(Method::POST, "/tokens", Some(&body(request)), Duration::ZERO).await
    }

    /// Makes a one-time address of the web page.
    pub(crate) async fn login(&self) -> Outcome<Reply<LoginAddress>> {
        self.plain(Method::POST, "/login", Some(&body(&LoginRequest::default())), Duration::ZERO).await
    }

    /// Revokes a token.
    pub(crate) async fn revoke_token(&self, id: &str) -> Outcome<()> {
        self.call(
            Method::DELETE,
            &format!("/tokens/{}", segment(id)),
            HeaderMap::new(),
            None,
            Duration::ZERO,
        )
        .await?;
        Ok(())
    }
}

/// What to say when a start was given up.
fn unsure(error: CallError, was_sent: bool, key: &str) -> Problem {
    let problem = error.problem();
    if !was_sent || problem.code == ErrorCode::Usage {
        return problem;
    }
    problem.hint(format!(
        "the session may have been started; the same command with --key {key} finds or starts it, never twice"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded() {
        let query =
            Query::default().with("tag", "a=b c").with_some("name", Some("é&")).with_some("x", None::<u8>);
        assert_eq!(query.to_string(), "?tag=a%3Db%20c&name=%C3%A9%26");
        assert_eq!(segment("../x"), "..%2Fx");
    }
}
