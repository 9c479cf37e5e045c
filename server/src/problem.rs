//! Problems as responses.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use wharf_protocol::{ErrorCode, Problem, TraceId};

/// A refusal.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(mut problem) = self;
        if problem.status >= 500 {
            let trace = problem
                .trace_id
                .get_or_insert_with(|| TraceId::from_random(wharf_core::random::id()).to_string())
                .clone();
            tracing::warn!(code = problem.code.as_str(), trace, detail = %problem.detail.escape_debug(), "refused");
        }
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

pub(crate) fn not_found() -> Problem {
    Problem::new(ErrorCode::NotFound, "there is nothing at this address")
        .hint("the API's description is at /api/v1/openapi.json")
}
