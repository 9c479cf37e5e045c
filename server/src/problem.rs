//! Problems as responses.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use wharf_protocol::{ErrorCode, Problem, TraceId};

/// A refusal.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Problem);

/// An answer that is a page of ours whatever its status.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page;

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let problem = complete(self.0);
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(after) = problem.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A problem as it goes out, noted in the log under its trace id.
pub(crate) fn complete(problem: Problem) -> Problem {
    let problem = problem.complete(|| TraceId::from_random(wharf_core::random::id()));
    let (code, trace) = (problem.code.as_str(), problem.trace_id.as_deref());
    let detail = problem.detail.escape_debug();
    // What a client asked for wrongly is its own business, and could fill the log.
    if problem.status >= 500 {
        tracing::warn!(code, trace, %detail, "refused");
    } else {
        tracing::debug!(code, trace, %detail, "refused");
    }
    problem
}

/// Gives every answer the form that all answers have: a refusal that did not come from a handler (a method that is
/// not taken, a path that cannot be decoded) becomes a problem document too, and nothing is kept in caches.
pub(crate) async fn shape(response: Response) -> Response {
    if response.extensions().get::<crate::relay::Relayed>().is_some() {
        return response;
    }
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let formed = kind.is_some_and(|kind| kind.starts_with("application/"))
        || response.extensions().get::<Page>().is_some();
    let mut response = if (status.is_client_error() || status.is_server_error()) && !formed {
        let code = match status {
            StatusCode::NOT_FOUND => ErrorCode::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => ErrorCode::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ErrorCode::UnsupportedMediaType,
            status if status.is_server_error() => ErrorCode::Internal,
            _ => ErrorCode::Malformed,
        };
        let problem = Problem::new(code, code.title().to_lowercase()).status(status.as_u16());
        let mut shaped = Refused(problem).into_response();
        if let Some(allow) = response.headers().get(header::ALLOW) {
            shaped.headers_mut().insert(header::ALLOW, allow.clone());
        }
        shaped
    } else {
        response
    };
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    response
}

pub(crate) fn not_found() -> Problem {
    Problem::new(ErrorCode::NotFound, "there is nothing at this address")
        .hint("the API's description is at /api/v1/openapi.json")
}
