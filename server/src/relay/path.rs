//! `/s/{id}/{endpoint}/…`: applications at the page's own origin, where there is none of their own; for the owner.
//!
//! ```text
//! connect (page token) ─▶ ticket ─ GET /open/… ─▶ the warning ─ POST /open/… ─▶ pass, a cookie for /s/ID/ENDPOINT
//! ```
//!
//! A page of an application is there of the same origin as the page of Wharf. What keeps it from acting as its viewer
//! is that nothing which a browser sends by itself opens the API ([`crate::guard`]), and that a pass takes a ticket, which
//! only `connect` gives. `docs/page.md` has what it can try, and what stands against it.

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, header};
use wharf_core::actor::Verb;
use wharf_protocol::monitor::EndpointDeclared;
use wharf_protocol::{ErrorCode, Problem, SessionId};

use super::origin::{Place, origin};
use super::{door, entrance, exchange, see_other};
use crate::App;
use crate::guard::{Caller, base};
use crate::listen::Peer;
use crate::problem::{Page, Refused, not_found};

/// What the owner is asked.
const WARNING: &str = include_str!("path/warning.html");
/// What somebody without a pass is told.
const CLOSED: &str = include_str!("path/closed.html");
/// A form that sends to its own origin, and nothing else but the page's style.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'";
/// Largest form.
const MOST: usize = 4096;

type Members = Path<Vec<(String, String)>>;

fn named(Path(members): &Members) -> Result<(SessionId, String), Problem> {
    let member = |wanted: &str| members.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    let id = member("id").and_then(|id| id.parse().ok());
    let endpoint = member("endpoint").filter(|name| EndpointDeclared::is_good_name(name));
    id.zip(endpoint.cloned()).ok_or_else(not_found)
}

/// Serves an application, or sends the browser to its origin where it has one.
pub(crate) async fn by_path(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<Peer>,
    members: Members,
    request: Request,
) -> Result<Response, Refused> {
    let (mut parts, body) = request.into_parts();
    let (session, endpoint) = named(&members)?;
    let origin_of_page = base(&app, peer, &parts.headers);
    let prefix = format!("/s/{session}/{endpoint}");
    let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    // A name that is written otherwise would be another path to a browser.
    let rest = target.strip_prefix(prefix.as_str()).ok_or_else(not_found)?.to_owned();
    if let Some(origin) = origin(&app, &origin_of_page, &endpoint, &session) {
        let actor = caller.actor()?;
        own(&app, actor, &session).await?;
        let (ticket, _) = app.launcher.ticket(actor, &session, &endpoint);
        let rest = if rest.starts_with('/') { rest } else { format!("/{rest}") };
        let to: String = form_urlencoded::byte_serialize(rest.as_bytes()).collect();
        return Ok(see_other(&format!("{}&to={to}", entrance(&origin, &ticket)))?);
    }
    let place = Place { endpoint, session, origin: origin_of_page, prefix };
    door::check_page(&place, &parts)?;
    let admitted = match door::admit(&app, &place, &mut parts).await {
        Ok(admitted) => admitted,
        Err(problem) if problem.code == ErrorCode::Unauthenticated && is_for_people(&parts) => {
            return Ok(closed(&place, &problem));
        }
        Err(problem) => return Err(problem.into()),
    };
    own(&app, &admitted.actor, &place.session).await?;
    if !rest.starts_with('/') {
        let to = HeaderValue::from_str(&format!("{}/{rest}", place.prefix)).map_err(|_| not_found())?;
        return Ok((StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, to)]).into_response());
    }
    parts.uri = rest.parse().map_err(|_| not_found())?;
    let entry = app.launcher.enter(&admitted.actor, &place.session, Verb::Application).await?;
    let mut response = exchange::exchange(&app, &place, entry, Request::from_parts(parts, body)).await?;
    if let Some(cookie) = admitted.renewed {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Only the owner comes this way; whether there is such a session is told to nobody who may not see it.
async fn own(app: &App, actor: &wharf_core::actor::Actor, session: &SessionId) -> Result<(), Problem> {
    drop(app.launcher.enter(actor, session, Verb::See).await?);
    if actor.is_owner() {
        return Ok(());
    }
    Err(Problem::new(ErrorCode::Forbidden, "the path form is for the session's owner")
        .hint("use the address that `connect` gives"))
}

/// Asks the owner who opened an address that `connect` gave.
pub(crate) async fn ask(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    members: Members,
    request: Request,
) -> Result<Response, Refused> {
    let (parts, _) = request.into_parts();
    let place = shared(&app, peer, &members, &parts)?;
    let query = parts.uri.query().unwrap_or_default();
    match app.launcher.renew_ticket(&ticket(query.as_bytes()), &place.session, &place.endpoint) {
        Ok(ticket) => Ok(page(StatusCode::OK, WARNING, &place, &[("TICKET", &ticket)])),
        Err(problem) if is_for_people(&parts) => Ok(closed(&place, &problem)),
        Err(problem) => Err(problem.into()),
    }
}

/// Takes the owner's yes, and opens the application.
pub(crate) async fn confirm(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    members: Members,
    request: Request,
) -> Result<Response, Refused> {
    let (parts, body) = request.into_parts();
    let place = shared(&app, peer, &members, &parts)?;
    let form = axum::body::to_bytes(body, MOST)
        .await
        .map_err(|_| Problem::new(ErrorCode::TooLarge, "the form is larger than 4 KiB"))?;
    match app.launcher.spend_ticket(&ticket(&form), &place.session, &place.endpoint) {
        Ok(pass) => {
            let mut response = see_other(&format!("{}/", place.prefix))?;
            response.headers_mut().append(header::SET_COOKIE, door::cookie(&place, &pass)?);
            Ok(response)
        }
        Err(problem) if is_for_people(&parts) => Ok(closed(&place, &problem)),
        Err(problem) => Err(problem.into()),
    }
}

/// An application at the page's own origin, where there is that.
fn shared(app: &App, peer: Peer, members: &Members, parts: &Parts) -> Result<Place, Problem> {
    let (session, endpoint) = named(members)?;
    let place = Place {
        prefix: format!("/s/{session}/{endpoint}"),
        origin: base(app, peer, &parts.headers),
        session,
        endpoint,
    };
    if parts.uri.path() != format!("/open/{}/{}", place.session, place.endpoint)
        || !super::is_shared(app, &place.origin)
    {
        return Err(not_found());
    }
    door::check_page(&place, parts)?;
    Ok(place)
}

fn ticket(form: &[u8]) -> String {
    let found = form_urlencoded::parse(form).find(|(name, _)| name == "ticket");
    found.map(|(_, ticket)| ticket.into_owned()).unwrap_or_default()
}

/// Whether a browser would show the answer.
fn is_for_people(parts: &Parts) -> bool {
    let accept = parts.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    matches!(parts.method, Method::GET | Method::HEAD | Method::POST)
        && accept.is_some_and(|accept| accept.contains("text/html"))
}

fn closed(place: &Place, problem: &Problem) -> Response {
    page(StatusCode::UNAUTHORIZED, CLOSED, place, &[("DETAIL", &problem.detail)])
}

/// A page of ours. All that is filled in is made of letters, digits and the words of our own problems.
fn page(status: StatusCode, text: &str, place: &Place, fill: &[(&str, &str)]) -> Response {
    let mut text = text.replace("{ENDPOINT}", &place.endpoint).replace("{SESSION}", place.session.as_str());
    for (name, value) in fill {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        // With none at all a browser would not say of which origin the form is.
        (header::REFERRER_POLICY, "strict-origin"),
    ];
    let mut response = (status, headers, text).into_response();
    response.extensions_mut().insert(Page);
    response
}
