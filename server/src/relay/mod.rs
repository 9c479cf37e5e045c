//! Web applications inside sessions, each at an origin of its own, so that no application's page can act on the API or
//! on another application.
//!
//! ```text
//! Host ENDPOINT--ID.localhost:PORT ─▶ origin ─▶ door (ticket, pass or token) ─▶ core: may enter? ─▶ exchange
//!                                                                                  tunnel of the link ─▶ application
//! ```
//!
//! Where there are no such origins, applications lie below `/s/` at the page's own ([`path`]).
//!
//! Decides nothing about rights, and trusts neither side: what a client says about the way it came is dropped, and what
//! an application says stays within its origin ([`headers`]). HTTP itself is the library's.

mod door;
mod exchange;
mod headers;
mod origin;
mod path;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use wharf_core::actor::Verb;
use wharf_protocol::{Problem, SessionId};

use crate::App;
use crate::guard::check_head;
use crate::problem::{Refused, not_found};

use origin::Place;
pub(crate) use origin::{is_shared, origin};
pub(crate) use path::{ask, by_path, confirm};

/// Below it an application's origin is Wharf's own.
const OWN: &str = "/.wharf/";
/// Where a ticket is turned into a pass.
const ENTER: &str = "/.wharf/enter";

/// An answer of an application: it goes out as it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Relayed;

/// The address by which a browser enters an application, with a ticket for whoever asks.
pub(crate) fn entrance(origin: &str, ticket: &str) -> String {
    format!("{origin}{ENTER}?ticket={ticket}")
}

/// The address where the owner is asked whether to open an application at the page's own origin.
pub(crate) fn question(base: &str, session: &SessionId, endpoint: &str, ticket: &str) -> String {
    format!("{base}/open/{session}/{endpoint}?ticket={ticket}")
}

/// Takes what is for an application by its host; the rest goes on to the API.
pub(crate) async fn by_host(State(app): State<App>, request: Request, next: Next) -> Response {
    match origin::place(&app.names, request.headers()) {
        Some(place) => match serve(&app, place, request).await {
            Ok(response) => response,
            Err(problem) => crate::problem::shape(Refused(problem).into_response()).await,
        },
        None => next.run(request).await,
    }
}

async fn serve(app: &App, place: Place, request: Request) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    check_head(&parts)?;
    door::check_page(&place, &parts)?;
    if parts.uri.path().starts_with(OWN) {
        return door::enter(app, &place, &parts).await;
    }
    let admitted = door::admit(app, &place, &mut parts).await?;
    let entry = app.launcher.enter(&admitted.actor, &place.session, Verb::Application).await?;
    let mut response = exchange::exchange(app, &place, entry, Request::from_parts(parts, body)).await?;
    if let Some(cookie) = admitted.renewed {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn see_other(address: &str) -> Result<Response, Problem> {
    let location = HeaderValue::from_str(address).map_err(|_| not_found())?;
    let headers = [
        (header::LOCATION, location),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}
