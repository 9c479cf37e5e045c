//! Web applications inside sessions, each at an origin of its own, so that no application's page can act on the API or
//! on another application.
//!
//! ```text
//! Host ENDPOINT--ID.localhost:PORT ─▶ origin ─▶ door (ticket, pass or token) ─▶ core: may enter? ─▶ exchange
//!                                                                                  tunnel of the link ─▶ application
//! ```
//!
//! Decides nothing about rights, and trusts neither side: what a client says about the way it came is dropped, and what
//! an application says stays within its origin ([`headers`]). HTTP itself is the library's.

mod door;
mod exchange;
mod headers;
mod origin;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::uri::PathAndQuery;
use http::{HeaderValue, StatusCode, header};
use wharf_core::actor::Verb;
use wharf_protocol::{ErrorCode, Problem, SessionId};

use crate::App;
use crate::guard::{Caller, base};
use crate::listen::Peer;
use crate::problem::{Refused, not_found};

use origin::Place;
pub(crate) use origin::origin;

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

/// `/s/{id}/{endpoint}/…`: an application without an origin of its own, for the owner. Where there is an origin, the
/// browser is sent there.
pub(crate) async fn by_path(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<Peer>,
    Path(members): Path<Vec<(String, String)>>,
    request: Request,
) -> Result<Response, Refused> {
    let (mut parts, body) = request.into_parts();
    let member =
        |wanted: &str| members.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let id: Option<SessionId> = member("id").and_then(|id| id.parse().ok());
    let (Some(id), Some(endpoint)) = (id, member("endpoint")) else { return Err(not_found().into()) };
    let actor = caller.actor()?;
    // Whether there is such a session is told to nobody who may not see it.
    drop(app.launcher.enter(actor, &id, Verb::See).await?);
    if !actor.is_owner() {
        return Err(Problem::new(ErrorCode::Forbidden, "the path form is for the session's owner")
            .hint("use the address that `connect` gives")
            .into());
    }
    let base = base(&app, peer, &parts.headers);
    let prefix = format!("/s/{id}/{endpoint}");
    let rest = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let rest = rest.strip_prefix(prefix.as_str()).unwrap_or("/");
    let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    if let Some(origin) = origin(&app, &base, endpoint, &id) {
        let (ticket, _) = app.launcher.ticket(actor, &id, endpoint);
        let to: String = form_urlencoded::byte_serialize(rest.as_bytes()).collect();
        return Ok(see_other(&format!("{}&to={to}", entrance(&origin, &ticket)))?);
    }
    let place = Place { endpoint: endpoint.to_owned(), session: id, origin: base, prefix };
    parts.uri = rest.parse().map_err(|_| not_found())?;
    door::forget(&mut parts.headers);
    let entry = app.launcher.enter(actor, &place.session, Verb::Application).await?;
    let mut response = exchange::exchange(&app, &place, entry, Request::from_parts(parts, body)).await?;
    // In the API's own origin a page of an application is nobody: no cookie, no storage, origin null.
    response.headers_mut().append(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads",
        ),
    );
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
