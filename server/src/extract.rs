//! Reading requests: bodies, queries, ids. Whatever is wrong is said as a problem document, with the member at fault.

use std::str::FromStr;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use http::header;
use http::request::Parts;
use serde::de::DeserializeOwned;
use wharf_protocol::{Dur, ErrorCode, InvalidDuration, Problem, SessionId};

use crate::problem::Refused;

/// Largest body.
const MAX_BODY: usize = 1 << 20;

/// Of a body that is too large, so much more is read and dropped before the answer.
const MAX_DROPPED: usize = 16 << 20;
/// Until a body has to have arrived.
const BODY: Duration = Duration::from_secs(60);

/// A JSON body; an empty one reads as `{}`.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let kind = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let bytes = read(request.into_body()).await.map_err(|problem| Refused(problem).into_response())?;
        let empty = bytes.iter().all(u8::is_ascii_whitespace);
        if !empty
            && kind != "application/json"
            && !(kind.starts_with("application/") && kind.ends_with("+json"))
        {
            let problem = Problem::new(ErrorCode::UnsupportedMediaType, "the body has to be JSON")
                .hint("send it with Content-Type: application/json");
            return Err(Refused(problem).into_response());
        }
        let text: &[u8] = if empty { b"{}" } else { &bytes };
        parse(text).map(Self).map_err(|problem| Refused(problem).into_response())
    }
}

/// Reads a body to its end. Of one that is too large the rest is read too, within limits: a client that is still
/// writing would see its connection break instead of the answer.
async fn read(body: axum::body::Body) -> Result<Vec<u8>, Problem> {
    let mut pieces = body.into_data_stream();
    let (mut bytes, mut dropped) = (Vec::new(), 0);
    let reading = async {
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| Problem::new(ErrorCode::Malformed, "the body broke off"))?;
            if bytes.len() + piece.len() <= MAX_BODY && dropped == 0 {
                bytes.extend_from_slice(&piece);
                continue;
            }
            dropped += piece.len();
            if dropped > MAX_DROPPED {
                break;
            }
        }
        Ok(())
    };
    tokio::time::timeout(BODY, reading)
        .await
        .unwrap_or_else(|_| Err(Problem::new(ErrorCode::Malformed, "the body did not arrive in time")))?;
    if dropped > 0 {
        return Err(Problem::new(ErrorCode::TooLarge, "the body is larger than 1 MiB"));
    }
    Ok(bytes)
}

/// Reads a JSON document.
pub(crate) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    // Every body of this API is an object; a struct would also be read from a list.
    if text.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        let what = match serde_json::from_slice::<serde::de::IgnoredAny>(text) {
            Ok(_) => "the body has to be a JSON object".to_owned(),
            Err(error) => format!("the body is not JSON: {error}"),
        };
        return Err(Problem::new(ErrorCode::Malformed, what));
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.classify() != serde_json::error::Category::Data {
            return Problem::new(ErrorCode::Malformed, format!("the body is not JSON: {inner}"));
        }
        let message = inner.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
        // Of a member that is unknown, missing or there twice the path names only its parent.
        let about_a_member = ["unknown field", "missing field", "duplicate field"]
            .iter()
            .any(|words| message.starts_with(words));
        let named = message.split('`').nth(1).filter(|_| about_a_member);
        let field = match (path.as_str(), named) {
            (".", Some(name)) => name.to_owned(),
            (path, Some(name)) if !path.ends_with(name) => format!("{path}.{name}"),
            (".", None) => String::new(),
            (path, _) => path.to_owned(),
        };
        Problem::field(field, message)
    })?;
    reader.end().map_err(|error| {
        Problem::new(ErrorCode::Malformed, format!("the body is not one JSON document: {error}"))
    })?;
    Ok(value)
}

/// The id of a session in the path; anything that is none names no session.
#[derive(Debug)]
pub(crate) struct Id(pub(crate) SessionId);

/// Reads a member of the path.
pub(crate) fn id<T: FromStr>(text: &str, code: ErrorCode) -> Result<T, Refused> {
    text.parse().map_err(|_| Refused(Problem::new(code, code.title().to_lowercase())))
}

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let unknown = || {
            let problem = Problem::new(ErrorCode::UnknownSession, "there is no such session");
            Refused(problem).into_response()
        };
        let Path(members) =
            Path::<Vec<(String, String)>>::from_request_parts(parts, state).await.map_err(|_| unknown())?;
        let id = members.iter().find(|(name, _)| name == "id").and_then(|(_, id)| id.parse().ok());
        id.map(Self).ok_or_else(unknown)
    }
}

/// The last member of the path; one that cannot be decoded names nothing that there is.
#[derive(Debug)]
pub(crate) struct Last(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Last {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let members = Path::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let last = members.ok().and_then(|Path(mut members)| members.pop());
        Ok(Self(last.map(|(_, text)| text).unwrap_or_default()))
    }
}

/// A query, read member by member; what nobody read is refused.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect()))
    }
}

impl Query {
    /// All values of that name.
    pub(crate) fn all(&mut self, name: &str) -> Vec<String> {
        let (mine, rest) = std::mem::take(&mut self.0).into_iter().partition(|(given, _)| given == name);
        self.0 = rest;
        let mine: Vec<(String, String)> = mine;
        mine.into_iter().map(|(_, value)| value).collect()
    }

    /// The last value of that name.
    pub(crate) fn one(&mut self, name: &str) -> Option<String> {
        self.all(name).pop()
    }

    /// The last value of that name, as that type.
    pub(crate) fn parse<T: FromStr>(&mut self, name: &str, what: &str) -> Result<Option<T>, Problem> {
        self.one(name)
            .map(|value| value.parse().map_err(|_| Problem::field(name, format!("has to be {what}"))))
            .transpose()
    }

    /// A duration of that name.
    pub(crate) fn duration(&mut self, name: &str) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.one(name) else { return Ok(None) };
        match text.parse::<Dur>() {
            Ok(dur) => Ok(Some(dur.0)),
            Err(InvalidDuration::Unreadable) => Err(Problem::field(name, "has to be a duration such as 30s")),
            Err(error @ InvalidDuration::TooLong) => Err(Problem::field(name, format!("is {error}"))),
        }
    }

    /// Whether a flag of that name is set: `follow`, `follow=true`.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.one(name).as_deref() {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(_) => Err(Problem::field(name, "has to be true or false")),
        }
    }

    /// Refuses what nobody read.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.0.into_iter().next() {
            Some((name, _)) => Err(Problem::field(name, "is not a parameter of this call")),
            None => Ok(()),
        }
    }
}
