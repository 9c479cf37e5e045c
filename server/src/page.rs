//! The web page: static files that are inside the program, served to everybody.
//!
//! There is nothing secret in them: whoever loads the page has still to sign in. What a browser may do with them is
//! said with each of them: scripts and styles of this origin only, nothing inline, in nobody's frame.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use rust_embed::RustEmbed;

use crate::problem::{Refused, not_found};

#[derive(RustEmbed)]
#[folder = "../web"]
#[exclude = "*.md"]
struct Files;

/// Applied to documents, and harmless on all else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
    connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn name(path: &str) -> &str {
    match path.trim_start_matches('/') {
        "" => "index.html",
        "favicon.ico" => "favicon.svg",
        name => name,
    }
}

/// Whether there is a file of the page at that path.
pub(crate) fn has(path: &str) -> bool {
    Files::get(name(path)).is_some()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json" | "webmanifest") => "application/json",
        _ => "text/plain; charset=utf-8",
    }
}

/// Serves a file of the page.
pub(crate) async fn file(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let name = name(uri.path());
    let found = Files::get(name).filter(|_| matches!(method, Method::GET | Method::HEAD));
    let Some(found) = found else { return Refused(not_found()).into_response() };
    let hash = found.metadata.sha256_hash();
    let tag = format!("\"{}\"", wharf_protocol::signed::encode(&hash[..12]));
    // A newer launcher's page is seen at the next load; an unchanged one is not sent again.
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, content_type(name))], found.data).into_response()
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
    );
    response
}

/// What no answer of ours may be used for: another origin's page, a frame, a referrer.
pub(crate) async fn confine(mut response: Response) -> Response {
    if response.extensions().get::<crate::relay::Relayed>().is_some() {
        return response;
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    response
}
