//! Who asks: host and origin first, then the peer's uid, a bearer token or the page's cookie.
//!
//! A browser sends the cookie by itself. What says that the page is behind a request is its origin; where applications
//! share that ([`crate::relay::is_shared`]), it is the page token, which was told to the tab that signed in and to nobody else.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};
use wharf_core::actor::Actor;
use wharf_protocol::{ErrorCode, Problem, SessionId};

use crate::App;
use crate::listen::Peer;
use crate::problem::{Refused, not_found};
use crate::{page, relay};

/// How the page's cookies begin.
const COOKIE: &str = "wharf";
/// What a browser takes from nobody but that host itself, by TLS.
const OF_HOST: &str = "__Host-";

/// Most bytes of a request's target and headers.
const MOST_HEAD: usize = 64 << 10;

/// The names that this server answers to.
#[derive(Debug)]
pub(crate) struct Names {
    /// What `Host` may be, each with the scheme it is served by.
    hosts: Vec<(String, String)>,
    origins: Vec<String>,
    /// The address of the page under the site's own domain.
    public: Option<String>,
}

impl Names {
    pub(crate) fn new(addresses: &[String], domain: Option<&str>) -> Self {
        let mut hosts = Vec::new();
        let domain = domain.map(str::to_ascii_lowercase);
        if let Some(domain) = &domain {
            // By a proxy that speaks TLS in front of it.
            hosts.push((domain.clone(), "https".to_owned()));
        }
        for address in addresses.iter().filter(|address| address.starts_with("http")) {
            let Some((scheme, place)) = address.split_once("://") else { continue };
            let Some((bound, port)) = place.rsplit_once(':') else { continue };
            let usual = if scheme == "https" { "443" } else { "80" };
            let names = [Some(bound), Some("localhost"), Some("127.0.0.1"), domain.as_deref()];
            for name in names.into_iter().flatten() {
                hosts.push((format!("{name}:{port}"), scheme.to_owned()));
                if port == usual {
                    // Browsers leave the usual port away.
                    hosts.push((name.to_owned(), scheme.to_owned()));
                }
            }
        }
        // Where a listener speaks TLS itself it is that one, else a proxy at the usual port.
        let port = addresses.iter().find_map(|address| address.strip_prefix("https://")?.rsplit_once(':'));
        let public = domain.map(|domain| match port {
            Some((_, port)) if port != "443" => format!("https://{domain}:{port}"),
            _ => format!("https://{domain}"),
        });
        let origins = hosts.iter().map(|(host, scheme)| format!("{scheme}://{host}")).collect();
        Self { hosts, origins, public }
    }

    /// The scheme by which that `Host` is served, when it is one of ours.
    pub(crate) fn scheme(&self, host: &str) -> Option<&str> {
        self.hosts
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(host))
            .map(|(_, scheme)| scheme.as_str())
    }

    fn is_own_origin(&self, origin: &str) -> bool {
        self.origins.iter().any(|known| known.eq_ignore_ascii_case(origin))
    }
}

/// Under which address this client reaches the server: what is handed out has to be good where it is used.
pub(crate) fn base(app: &App, peer: Peer, headers: &HeaderMap) -> String {
    let host = text(headers, "host").filter(|_| matches!(peer, Peer::Network(_)));
    host.and_then(|host| Some(format!("{}://{host}", app.names.scheme(host)?)))
        .unwrap_or_else(|| app.base.clone())
}

/// Under which address a person finds the page: the site's own domain, when it has one.
pub(crate) fn page_base(app: &App, peer: Peer, headers: &HeaderMap) -> Result<String, Problem> {
    let base = match (peer, &app.names.public) {
        (Peer::Uid(_), Some(public)) => public.clone(),
        (Peer::Uid(_) | Peer::Network(_), _) => base(app, peer, headers),
    };
    if base.starts_with("http") {
        return Ok(base);
    }
    Err(Problem::new(ErrorCode::Unavailable, "this launcher serves no web page: it has no http listener")
        .hint("start it with --listen http://127.0.0.1:0 too"))
}

/// Secrets that were not valid lately, by peer: somebody who guesses is slowed down.
#[derive(Debug, Default)]
pub(crate) struct Redeems(Mutex<HashMap<Option<IpAddr>, (Instant, u32)>>);

impl Redeems {
    const MOST: u32 = 10;
    const WINDOW: Duration = Duration::from_secs(60);

    fn with<T>(&self, peer: Peer, work: impl FnOnce(&mut (Instant, u32)) -> T) -> T {
        let ip = match peer {
            Peer::Uid(_) => None,
            Peer::Network(from) => Some(from.ip()),
        };
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|_, (since, _)| since.elapsed() < Self::WINDOW);
        work(failed.entry(ip).or_insert_with(|| (Instant::now(), 0)))
    }

    /// Tries a secret. It counts as a failure from before it is looked at, so that many at once count too.
    pub(crate) async fn attempt<T>(
        &self,
        peer: Peer,
        secret: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let refused = self.with(peer, |(since, failed)| {
            *failed += 1;
            (*failed > Self::MOST).then(|| Self::WINDOW.saturating_sub(since.elapsed()).as_secs() + 1)
        });
        if let Some(left) = refused {
            let detail = "too many secrets that were not valid";
            return Err(Problem::new(ErrorCode::RateLimited, detail).retry_after(left));
        }
        let outcome = secret.await;
        if outcome.is_ok() {
            self.with(peer, |(_, failed)| *failed = failed.saturating_sub(1));
        }
        outcome
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The token that a script sends.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = text(headers, "authorization")?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The name of the page's cookie at that address. Browsers keep cookies by host and not by port: the port is in the
/// name, so that two launchers of one host do not sign each other's users out. With TLS it also says that no other host,
/// such as an application's below the same domain, can have set it.
pub(crate) fn cookie_name(app: &App, headers: &HeaderMap) -> String {
    let secure = text(headers, "host").and_then(|host| app.names.scheme(host)) == Some("https");
    let name = if secure { format!("{OF_HOST}{COOKIE}") } else { COOKIE.to_owned() };
    let port = text(headers, "host").and_then(|host| host.rsplit_once(':')).map(|(_, port)| port);
    match port.filter(|port| port.bytes().all(|digit| digit.is_ascii_digit())) {
        Some(port) => format!("{name}-{port}"),
        None => name,
    }
}

/// Whether that is the name of a page's cookie, at whatever port.
pub(crate) fn is_page_cookie(name: &str) -> bool {
    name.strip_prefix(OF_HOST).unwrap_or(name).strip_prefix(COOKIE).is_some_and(|rest| {
        rest.is_empty()
            || rest.strip_prefix('-').is_some_and(|port| port.bytes().all(|digit| digit.is_ascii_digit()))
    })
}

/// How the page's token begins among the subprotocols of a WebSocket, which takes no other header from a page.
const PROTOCOL: &str = "page.";
/// What the page sends with each request, and what is told when it is missing.
const PAGE: &str = "x-wharf-page";

/// What the page shows beside its cookie, where that is asked for.
fn page_token(headers: &HeaderMap, upgrade: bool) -> Option<&str> {
    if !upgrade {
        return text(headers, PAGE);
    }
    let protocols = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    protocols
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|protocol| protocol.trim().strip_prefix(PROTOCOL))
}

/// The token in the page's cookie.
pub(crate) fn cookie<'a>(app: &App, headers: &'a HeaderMap) -> Option<&'a str> {
    let name = cookie_name(app, headers);
    cookies(headers)
        .filter_map(|pair| std::str::from_utf8(pair).ok())
        .find_map(|pair| pair.strip_prefix(&name)?.strip_prefix('='))
}

/// The cookies of a request, one by one. Those of an application may be of any bytes, beside ours.
pub(crate) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
}

/// Refuses a head that is larger than what is promised.
pub(crate) fn check_head(request: &Parts) -> Result<(), Problem> {
    // The reader's own limit is one of its buffer: a head that arrives at once may be a little longer.
    let head: usize = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if head + request.uri.path_and_query().map_or(0, |target| target.as_str().len()) > MOST_HEAD {
        return Err(Problem::new(ErrorCode::TooLarge, "the request's head is larger than 64 KiB").status(431));
    }
    Ok(())
}

/// Whether a browser says that a page of another origin is behind the request, be it of the same site.
fn is_of_another_page(headers: &HeaderMap) -> bool {
    text(headers, "sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

/// Routes that need no credential of a user.
fn is_open(method: &Method, path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
        || page::has(path)
        || (method == Method::POST
            && matches!(path, "/api/v1/redeem" | "/redeem" | "/api/v1/login" | "/login"))
}

/// The session that a path of the API is about.
fn session_of(path: &str) -> Option<SessionId> {
    let mut rest = path.strip_prefix("/api/v1/sessions/")?.split('/');
    rest.next()?.parse().ok()
}

/// Whether an answer says that the request itself makes no sense.
fn is_about_the_request(response: &Response) -> bool {
    matches!(
        response.status(),
        StatusCode::BAD_REQUEST
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY
    )
}

/// Lets a request in with its [`Actor`], or turns it away.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match check(&app, &parts).await {
        Ok(caller) => {
            let about = session_of(parts.uri.path());
            parts.extensions.insert(caller.clone());
            let response = next.run(Request::from_parts(parts, body)).await;
            match (about, &caller.0) {
                (Some(id), Some(actor)) if is_about_the_request(&response) => {
                    match app.launcher.get(actor, &id).await {
                        // Whatever else is wrong with the request, there is nothing that it could be about.
                        Err(problem) if problem.code == ErrorCode::UnknownSession => {
                            Refused(problem).into_response()
                        }
                        _ => response,
                    }
                }
                _ => response,
            }
        }
        Err(problem) => Refused(*problem).into_response(),
    }
}

/// Nobody in particular, on a route that is open.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) Option<Actor>);

async fn check(app: &App, request: &Parts) -> Result<Caller, Box<Problem>> {
    let headers = &request.headers;
    check_head(request)?;
    let (method, path) = (&request.method, request.uri.path());
    let peer = request.extensions.get::<Peer>().copied();
    let token = bearer(headers);
    // One that is no text is one of somebody else.
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    if let Some(origin) = origin
        && !app.names.is_own_origin(origin)
    {
        return Err(Box::new(
            Problem::new(ErrorCode::Forbidden, "a page of another origin may not ask here")
                .hint("open the page at one of the launcher's own addresses"),
        ));
    }
    if let Some(Peer::Uid(uid)) = peer {
        if uid != rustix::process::geteuid().as_raw() {
            return Err(Box::new(Problem::new(
                ErrorCode::Forbidden,
                "this launcher serves only its own user",
            )));
        }
        if token.is_none() {
            return Ok(Caller(Some(app.launcher.owner_actor())));
        }
    }
    if token.is_none() || origin.is_some() {
        let host = text(headers, "host").unwrap_or_default();
        let known = matches!(peer, Some(Peer::Uid(_))) || app.names.scheme(host).is_some();
        if !known {
            return Err(Box::new(Problem::new(ErrorCode::Forbidden, "this server does not go by that name")));
        }
    }
    let shared = peer.is_some_and(|peer| relay::is_shared(app, &base(app, peer, headers)));
    if path.starts_with("/open/") || shared && path.starts_with("/s/") {
        // With a ticket or a pass, which is looked at there; an application's own token is none of ours.
        return Ok(Caller(None));
    }
    if let Some(token) = token {
        return Ok(Caller(Some(app.launcher.authenticate(token).await?)));
    }
    if let Some(cookie) = cookie(app, headers) {
        let safe = matches!(*method, Method::GET | Method::HEAD);
        let upgrade = safe && headers.contains_key(header::UPGRADE);
        // A page elsewhere can make a browser send the cookie, but neither the origin nor this header.
        let own = safe && !upgrade && !is_of_another_page(headers);
        let shown = page_token(headers, upgrade);
        // Elsewhere it is enough that no other origin's page can send this header.
        let from_page = origin.is_some() && (upgrade || shared || shown == Some("1"));
        if own || from_page {
            match app.launcher.authenticate(cookie).await {
                // There a page of an application is of the page's own origin, and sends its cookie too.
                Ok(actor)
                    if shared && !shown.is_some_and(|shown| app.launcher.is_page_token(shown, &actor)) =>
                {
                    if !is_open(method, path) {
                        return Err(Box::new(not_in_this_tab()));
                    }
                }
                Ok(actor) => return Ok(Caller(Some(actor))),
                Err(problem) if !is_open(method, path) => return Err(Box::new(problem)),
                Err(_) => {}
            }
        }
    }
    if is_open(method, path) {
        return Ok(Caller(None));
    }
    let guarded = path.starts_with("/api/")
        || path.starts_with("/s/")
        || matches!(path, "/metrics" | "/login" | "/redeem");
    if !guarded {
        return Err(Box::new(not_found()));
    }
    Err(Box::new(
        Problem::new(ErrorCode::Unauthenticated, "this needs a token")
            .hint("make one with `wharf token create`, and send it as Authorization: Bearer TOKEN; sign the page in with `wharf login`"),
    ))
}

fn not_in_this_tab() -> Problem {
    let mut problem = Problem::new(ErrorCode::Unauthenticated, "this tab is not signed in").hint(
        "applications of sessions share this address with the page, so that each tab signs in for itself: wharf login",
    );
    problem.field = Some("X-Wharf-Page".to_owned());
    problem
}

impl Caller {
    /// Who asks, where somebody has to.
    pub(crate) fn actor(&self) -> Result<&Actor, Refused> {
        self.0.as_ref().ok_or_else(|| Refused(Problem::new(ErrorCode::Unauthenticated, "this needs a token")))
    }
}
